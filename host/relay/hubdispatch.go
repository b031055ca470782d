package relay

import (
	"hash/maphash"
	"slices"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A dispatcher passes what one member sends on to all receivers, encoded once for each codec among them. It is for one
// goroutine.
type dispatcher struct {
	member   *Member
	longest  int // bytes of the longest payload from the member
	encoders map[codeccall.Codec]codeccall.Direction
	audience *audience     // that the encoders are for
	hashes   []uint64      // of the payloads at hand, if a receiver remembers them
	late     []backlog     // of receivers whose queues had no room for all of the batch at hand
	room     chan struct{} // gets a token when one of them may have room
	waiting  account       // for stalled ones
	joined   []byte        // payloads as datagrams, one after the other
	ends     []uint32      // of these
}

func (d *dispatcher) begin(m *Member, longest int) {
	d.member, d.longest, d.room = m, longest, make(chan struct{}, 1)
}

func (d *dispatcher) close() {
	for _, encoder := range d.encoders {
		encoder.Close()
	}
	d.encoders = nil
}

// send passes the payloads of b on. Its error is a *Violation that is not skipped, after all receivers that could got
// theirs, or says that there was no memory.
func (d *dispatcher) send(b *batch) error {
	audience := d.member.hub.listeners()
	if audience != d.audience {
		d.forget(audience)
	}
	d.hashes = d.hashes[:0]
	if audience.recents {
		for i := range b.found.Refs {
			d.hashes = append(d.hashes, maphash.Bytes(d.member.hub.seed, b.payload(i)))
		}
	}
	var failed error
	for i := range audience.groups {
		g := &audience.groups[i]
		if !g.hears(d.member) {
			continue
		}
		if err := d.sendGroup(g, b); failed == nil {
			failed = err
		}
	}
	d.catchUp()
	return failed
}

// forget closes the encoders of codecs that audience doesn't have.
func (d *dispatcher) forget(audience *audience) {
	d.audience = audience
	for codec, encoder := range d.encoders {
		if !slices.ContainsFunc(audience.groups, func(g group) bool { return g.codec == codec }) {
			encoder.Close()
			delete(d.encoders, codec)
		}
	}
}

func (b *batch) payload(i int) []byte {
	payloads := codeccall.Encode{Wire: b.shown, Data: b.found.Data, Refs: b.found.Refs}
	return payloads.At(i)
}

func (d *dispatcher) sendGroup(g *group, b *batch) error {
	if g.codec == nil {
		return d.sendPlain(g, b)
	}
	encoder := d.encoders[g.codec]
	if encoder == nil {
		if d.encoders == nil {
			d.encoders = map[codeccall.Codec]codeccall.Direction{}
		}
		encoder = g.codec.Open()
		d.encoders[g.codec] = encoder
	}
	b.out.More, b.out.RoomNeeded = false, 0
	var failed error
	for refs := b.found.Refs; len(refs) > 0; {
		fits := fitting(refs, d.longest, g.longest)
		fault := (*codecs.Fault)(nil)
		if fits > 0 {
			b.in.Refs = refs[:fits]
			ok, err := d.encodeOnce(g, encoder, b)
			taken := b.out.Taken()
			if ok {
				b.encoded(d.member.account)
				err = d.deliver(g, b.out.Wire, b.out.Ends, len(b.found.Refs)-len(refs))
			}
			b.written(d.member.account)
			if !ok {
				g.starve(len(refs))
				if d.member.over() {
					d.member.counts.framesNotDelivered.Add(int64(len(refs)))
				}
			}
			if !ok || err != nil {
				return err
			}
			fits -= taken
			refs, fault = refs[taken:], b.out.Fault
		}
		if fault == nil && fits == 0 && len(refs) > 0 {
			fault = tooLongFor(g.longest)
		}
		if fault == nil {
			continue
		}
		if err := d.cannotCarry(g, b, len(b.found.Refs)-len(refs), fault); err != nil && failed == nil {
			failed = err
		}
		refs = refs[1:]
	}
	return failed
}

// encodeOnce makes one call. It is not ok when nothing can be encoded for the group; the error is one of memory.
func (d *dispatcher) encodeOnce(g *group, encoder codeccall.Direction, b *batch) (ok bool, err error) {
	wanted := 0
	if b.out.More && len(b.out.Ends) == 0 {
		wanted = b.out.RoomNeeded
	}
	if err := b.encodeInto(d.member.ctx, d.member.account, wanted); err != nil {
		return false, err
	}
	b.in.Wire, b.in.Data, b.in.Room, b.in.RoomNeeded = b.shown, b.found.Data, b.wireRoom, b.out.RoomNeeded
	if err := encoder.Encode(d.member.ctx, &b.in, &b.out); err != nil {
		if d.member.over() {
			return false, nil
		}
		for _, r := range g.receivers {
			if m := r.member.Load(); m != nil {
				_ = m.codecFailed("encode", err, ToMember)
			}
		}
		return false, nil
	}
	return true, nil
}

// sendPlain sends each payload as it is.
func (d *dispatcher) sendPlain(g *group, b *batch) error {
	for at := 0; at < len(b.found.Refs); {
		d.joined, d.ends = d.joined[:0], d.ends[:0]
		first := at
		for at < len(b.found.Refs) && (at == first || len(d.joined)+int(b.found.Refs[at].Len) <= floodRead) {
			d.joined = append(d.joined, b.payload(at)...)
			d.ends = append(d.ends, uint32(len(d.joined)))
			at++
		}
		if err := d.deliver(g, d.joined, d.ends, first); err != nil {
			return err
		}
	}
	if cap(d.joined) > keepBytes {
		d.joined = nil
	}
	return nil
}

// deliver gives frames to the queues of the group; index is the first one's among the payloads at hand.
func (d *dispatcher) deliver(g *group, wire []byte, ends []uint32, index int) error {
	p, err := newParcel(d.member.ctx, d.member.hub.queued, wire, ends, g.codec == nil)
	if err != nil {
		return err
	}
	frames := 0
	if p != nil {
		frames = p.frames
		defer p.letGo()
	}
	for _, r := range g.receivers {
		if !r.hears(d.member) {
			continue
		}
		r.tally.empties.Add(int64(len(ends) - frames))
		if p == nil {
			continue
		}
		if r.recent != nil {
			d.remember(r, ends, index, g.codec == nil)
		}
		d.offer(r, p.whole())
	}
	return nil
}

// starve counts frames that outboxes did not get because there was no memory or their codec failed.
func (g *group) starve(frames int) {
	for _, r := range g.receivers {
		if r.lasts {
			r.tally.starved.Add(int64(frames))
		}
	}
}

// remember adds the frames that are about to be sent to r to the recent ones of r.
func (d *dispatcher) remember(r *receiver, ends []uint32, index int, empties bool) {
	now := time.Now()
	for i, end := range ends {
		if empties || end != before(ends, i) {
			r.recent.sent(d.hashes[index+i], now)
		}
	}
}

// cannotCarry deals with payload index of b, which the framing of a group refused. It returns the violation, unless that
// is skipped.
func (d *dispatcher) cannotCarry(g *group, b *batch, index int, fault *codecs.Fault) error {
	m := d.member
	m.counts.uncarried.Add(1)
	for _, r := range g.receivers {
		if r.member.Load() != m && r.hears(m) {
			r.tally.unrepresentable.Add(1)
		}
	}
	v, payload := b.unrepresentable(m.ctx, m.config.Codec, FromMember, index, fault)
	v.limit(g.longest)
	v.show(payload, fault.At, m.keeps.wireBytes)
	v.Skipped = m.endless || m.skips()
	m.keeps.whole(v, payload)
	if v.Skipped {
		return nil
	}
	return v
}
