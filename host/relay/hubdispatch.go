package relay

import (
	"hash/maphash"
	"slices"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecstream"
)

// A dispatcher passes the payloads of one member to all receivers. It encodes them once for each codec among the receivers. Only one
// goroutine uses it.
type dispatcher struct {
	member      *Member
	longest     int // the member's longest payload, in bytes
	encoders    map[codeccall.Codec]*codecstream.Encoder
	frames      groupFrames   // for the current group
	receiverSet *receiverSet  // the receivers that the encoders are for
	hashes      []uint64      // of the payloads of the current batch, if a receiver has an echoFilter
	late        []backlog     // of receivers whose queues had no room for all of the current batch
	room        chan struct{} // gets a token when one of these queues may have room
	waiting     account       // the time spent waiting for stalled receivers
	joined      []byte        // payloads that are sent as datagrams, one after the other
	ends        []uint32      // the ends of these payloads in joined
}

func (d *dispatcher) begin(m *Member, longest int) {
	d.member, d.longest, d.room = m, longest, make(chan struct{}, 1)
}

func (d *dispatcher) close() {
	for _, encoder := range d.encoders {
		encoder.Direction.Close()
	}
	d.encoders = nil
}

// send passes the payloads of b to all receivers. It returns a *Violation that is not skipped, after all receivers whose framing can
// carry the payloads have got them; or an error if there was no memory.
func (d *dispatcher) send(b *batch) error {
	audience := d.member.hub.listeners()
	if audience != d.receiverSet {
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

// forget closes the encoders of codecs that no receiver in audience has.
func (d *dispatcher) forget(audience *receiverSet) {
	d.receiverSet = audience
	for codec, encoder := range d.encoders {
		if !slices.ContainsFunc(audience.groups, func(g group) bool { return g.codec == codec }) {
			encoder.Direction.Close()
			delete(d.encoders, codec)
		}
	}
}

func (b *batch) payload(i int) []byte {
	payloads := codeccall.Encode{Wire: b.shown, Data: b.found.Data, Refs: b.found.Refs}
	return payloads.At(i)
}

// sendGroup sends the payloads of b to the receivers of g.
func (d *dispatcher) sendGroup(g *group, b *batch) error {
	if g.codec == nil {
		return d.sendPlain(g, b)
	}
	encoder := d.encoders[g.codec]
	if encoder == nil {
		if d.encoders == nil {
			d.encoders = map[codeccall.Codec]*codecstream.Encoder{}
		}
		encoder = &codecstream.Encoder{Direction: g.codec.Open(), MaxFrame: g.longest, Longest: d.longest}
		d.encoders[g.codec] = encoder
	}
	d.frames = groupFrames{dispatcher: d, group: g, batch: b}
	payloads := b.payloads()
	done, err := encoder.Encode(d.member.ctx, &payloads, &d.frames)
	if err == nil {
		return d.frames.violation
	}
	lost := len(b.found.Refs) - done
	g.countStarved(lost)
	if d.member.over() {
		d.member.counts.framesNotDelivered.Add(int64(lost))
	}
	if d.frames.failed {
		return err
	}
	d.codecFailed(g, err)
	return nil
}

// codecFailed ends the members that are receivers of g, whose codec failed.
func (d *dispatcher) codecFailed(g *group, err error) {
	if d.member.over() {
		return // its context ended the call
	}
	for _, r := range g.receivers {
		if m := r.member.Load(); m != nil {
			_ = m.codecFailed("encode", err, ToMember)
		}
	}
}

// groupFrames adds the encoded frames of one codec to the queues of its group.
type groupFrames struct {
	dispatcher *dispatcher
	group      *group
	batch      *batch
	failed     bool  // an error is due to a lack of memory, and not to the codec
	violation  error // the first violation that is not skipped
}

// Prepare provides room for the result of a call.
func (s *groupFrames) Prepare(in *codeccall.Encode) (*codeccall.Encoded, error) {
	d, b := s.dispatcher, s.batch
	if err := b.encodeInto(d.member.ctx, d.member.account, in.RoomNeeded); err != nil {
		s.failed = true
		return nil, err
	}
	in.Room = b.wireRoom
	return &b.out, nil
}

// Frames adds the result of a call to the queues.
func (s *groupFrames) Frames(out *codeccall.Encoded, first int) (done int, err error) {
	d, b := s.dispatcher, s.batch
	b.encoded(d.member.account)
	defer b.written(d.member.account)
	if err := d.deliver(s.group, out.Wire, out.Ends, first); err != nil {
		s.failed = true
		return 0, err
	}
	return len(out.Ends), nil
}

// Refused reports a payload that the framing of the group can't carry. Encoding goes on with the other payloads.
func (s *groupFrames) Refused(index int, fault *codecs.Fault) error {
	if err := s.dispatcher.cannotCarry(s.group, s.batch, index, fault); s.violation == nil {
		s.violation = err
	}
	return nil
}

// sendPlain sends each payload, unframed, as a datagram.
func (d *dispatcher) sendPlain(g *group, b *batch) error {
	for at := 0; at < len(b.found.Refs); {
		d.joined, d.ends = d.joined[:0], d.ends[:0]
		first := at
		for at < len(b.found.Refs) && (at == first || len(d.joined)+int(b.found.Refs[at].Len) <= maxHeapRead) {
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

// deliver adds frames to the queues of the group. index is the index of the first frame's payload in the current batch.
func (d *dispatcher) deliver(g *group, wire []byte, ends []uint32, index int) error {
	p, err := newSharedFrames(d.member.ctx, d.member.hub.queued, wire, ends, g.codec == nil)
	if err != nil {
		return err
	}
	frames := 0
	if p != nil {
		frames = p.frames
		defer p.release()
	}
	for _, r := range g.receivers {
		if !r.hears(d.member) {
			continue
		}
		r.tally.empties.Add(int64(len(ends) - frames))
		if p == nil {
			continue
		}
		if r.echoFilter != nil {
			d.remember(r, ends, index, g.codec == nil)
		}
		d.offer(r, p.whole())
	}
	return nil
}

// countStarved counts frames that the outboxes of g did not get because there was no memory or because their codec failed.
func (g *group) countStarved(frames int) {
	for _, r := range g.receivers {
		if r.ofOutbox {
			r.tally.starved.Add(int64(frames))
		}
	}
}

// remember adds frames that are about to be sent to r to the echoFilter of r.
func (d *dispatcher) remember(r *receiver, ends []uint32, index int, empties bool) {
	now := time.Now()
	for i, end := range ends {
		if empties || end != before(ends, i) {
			r.echoFilter.sent(d.hashes[index+i], now)
		}
	}
}

// cannotCarry reports payload index of b, which the framing of g refused. It returns the violation, or nil if the violation is
// skipped.
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
