package relay

import (
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// perDatagramByte is the charge for each byte of a datagram while it is passed on: a byte of a payload that is built, and a byte
// of its copy.
const perDatagramByte = 2

// datagramLanes is how many datagrams of a batch are decoded at once. Each is a call of its own, since its end is part of
// what it means; side by side, they share their way to the codec's process.
const datagramLanes = 64

// A datagramReceiver turns batches of datagrams into batches of payloads. It is for the goroutine of a member's reader.
// It has as many lanes as were needed at once so far: one for a member whose datagrams come one by one.
type datagramReceiver struct {
	port  *datagramPort
	lanes []*datagramLane
	found []foundIn // for each datagram of a batch, where there is a codec
	// datagrams is the batch at hand.
	datagrams []Datagram
	garbage   garbage
}

// A datagramLane makes the calls for one datagram at a time.
type datagramLane struct {
	decoder codeccall.Direction
	in      codeccall.Decode
	out     codeccall.Decoded
}

// foundIn is what became of one datagram.
type foundIn struct {
	payloads []byte
	ends     []uint32 // of each in payloads
	places   []place  // likewise
	skipped  int      // empty frames
	faults   []faultIn
	charge   int64 // the cost of its results beyond the charge of the batch
	starved  bool  // there was no memory for it
	err      error // of the codec
}

// A place is where a payload is in its datagram.
type place struct {
	at    int32
	built bool // the payload is not part of the datagram's bytes; its frame begins at at or later
}

// A faultIn is a fault in a datagram, from whose first byte its positions count.
type faultIn struct {
	fault   codecs.Fault
	frame   int // frames before it
	dropped int // bytes of the datagram, from the faulty frame's first on
}

func (r *datagramReceiver) close() {
	for i := range r.lanes {
		r.lanes[i].decoder.Close()
	}
}

// pass decodes datagrams and sends their payloads to the others.
func (r *datagramReceiver) pass(all []Datagram) {
	p := r.port
	r.datagrams = all
	size := 0
	for i := range all {
		size += len(all[i].Bytes)
	}
	charge := perDatagramByte * int64(size)
	if err := p.account.take(p.ctx, charge); err != nil {
		p.counts.starved.Add(int64(len(all)))
		return
	}
	defer func() { p.account.give(charge) }()
	b := newBatch(p.account, min(size, floodRead))
	now := time.Now()
	if p.config.Codec == nil {
		for i := range all {
			if !all[i].Own {
				b = r.add(b, i, all[i].Bytes, place{}, now)
			}
		}
		r.send(b)
		return
	}
	r.decode(all)
	failed := error(nil)
	for i := range all {
		found := &r.found[i]
		if !all[i].Own {
			b = r.gather(b, i, found, now)
		}
		if failed == nil {
			failed = found.err
		}
		charge += found.charge
		found.reset()
	}
	r.send(b)
	if failed != nil && !p.over() {
		_ = p.codecFailed("decode", failed, FromMember)
	}
}

// decode makes the calls for all datagrams, several at a time.
func (r *datagramReceiver) decode(all []Datagram) {
	for len(r.found) < len(all) {
		r.found = append(r.found, foundIn{})
	}
	for len(r.lanes) < min(len(all), datagramLanes) {
		r.lanes = append(r.lanes, &datagramLane{decoder: r.port.config.Codec.Open()})
	}
	var next atomic.Int32
	work := func(lane *datagramLane) {
		for i := int(next.Add(1)) - 1; i < len(all); i = int(next.Add(1)) - 1 {
			if !all[i].Own {
				lane.decode(r.port, all[i].Bytes, &r.found[i])
			}
		}
	}
	var others sync.WaitGroup
	for i := 1; i < min(len(all), len(r.lanes)); i++ {
		others.Go(func() { work(r.lanes[i]) })
	}
	work(r.lanes[0])
	others.Wait()
}

// gather adds to b what was found in a datagram, and returns the batch to go on with.
func (r *datagramReceiver) gather(b *batch, number int, found *foundIn, now time.Time) *batch {
	p := r.port
	p.counts.empties.Add(int64(found.skipped))
	for i, end := range found.ends {
		b = r.add(b, number, found.payloads[before(found.ends, i):end], found.places[i], now)
	}
	for i := range found.faults {
		r.violated(&r.datagrams[number], &found.faults[i])
	}
	if found.starved || found.err != nil {
		p.counts.starved.Add(1)
	}
	return b
}

// add adds a payload to b, unless it is an echo of what we sent.
func (r *datagramReceiver) add(b *batch, number int, payload []byte, at place, now time.Time) *batch {
	p, one := r.port, &r.datagrams[number]
	if p.recent != nil && !p.recent.heard(maphash.Bytes(p.hub.seed, payload), one.Source, one.Interface, now) {
		p.counts.suppressed.Add(1)
		return b
	}
	p.counts.framesIn.Add(1)
	p.counts.payloadBytes.Add(int64(len(payload)))
	if len(b.found.Refs) == codecs.MaxPayloads || len(b.found.Refs) > 0 && len(b.found.Data)+len(payload) > b.room {
		r.send(b)
		b = newBatch(p.account, baseRead)
	}
	if len(payload) > b.room {
		if err := b.decodeInto(p.ctx, p.account, len(payload)); err != nil {
			p.counts.starved.Add(1)
			return b
		}
	}
	b.found.Refs = append(b.found.Refs, codecs.Ref{Off: uint32(len(b.found.Data)), Len: uint32(len(payload))})
	b.found.Data = append(b.found.Data, payload...)
	b.origins = append(b.origins, origin{int32(number), at})
	return b
}

// send sends what was gathered to the others, and frees it.
func (r *datagramReceiver) send(b *batch) {
	p := r.port
	if len(b.found.Refs) > 0 && !p.over() {
		b.datagrams = r.datagrams
		if err := p.dispatcher.send(b); err != nil {
			p.counts.starved.Add(int64(len(b.found.Refs)))
		}
	}
	b.free(p.account)
}

// violated reports a fault in a datagram.
func (r *datagramReceiver) violated(one *Datagram, fault *faultIn) {
	p := r.port
	p.counts.violations.Add(1)
	if errors.Is(fault.fault.Err, codecs.ErrTruncated) {
		p.counts.droppedTails.Add(1)
	}
	p.counts.bytesSkipped.Add(int64(fault.dropped))
	v := wireViolation(FromMember, 0, int64(fault.frame), &fault.fault, one.Bytes, p.dispatcher.longest, p.keeper().wireBytes)
	v.Skipped, v.Source = true, one.Source
	p.keeper().whole(v, one.Bytes[fault.fault.Offset:fault.fault.Offset+fault.dropped])
}

// decode decodes one datagram.
func (l *datagramLane) decode(p *datagramPort, wire []byte, found *foundIn) {
	defer func() {
		if cap(l.out.Data) > 2*baseRead {
			l.out.Data = nil
		}
	}()
	l.in = codeccall.Decode{Wire: wire, EOF: true, Room: max(len(wire), smallRead), State: l.in.State[:0]}
	at := 0 // of l.in.Wire in the datagram
	for {
		// While violations have cost too much, the first one ends its datagram, since the senders of datagrams can't be made to wait.
		skips := p.skips() && !p.receiver.garbage.spent()
		l.in.Skips = 0
		if skips {
			l.in.Skips = codeccall.MaxSkips
		}
		if err := l.decoder.Decode(p.ctx, &l.in, &l.out); err != nil {
			found.err = err
			return
		}
		if points := pointsOf(&l.out); skips && points > 0 {
			p.receiver.garbage.charge(points)
		}
		if !found.take(p.account, at, l.in.Wire, &l.out, perDatagramByte*int64(len(wire))) {
			found.starved = true
			return
		}
		onwards := l.out.Consumed
		if fault := l.out.Fault; fault != nil {
			goesOn := skips && fault.Resume != codecs.Never && fault.Resume < len(l.in.Wire)
			onwards = len(l.in.Wire)
			if goesOn {
				onwards = fault.Resume
			}
			found.violated(at, fault, onwards)
			if !goesOn {
				return
			}
		} else if !l.out.More {
			return
		}
		if l.out.RoomNeeded > l.in.Room {
			if !p.account.try(int64(l.out.RoomNeeded)) {
				found.starved = true
				return
			}
			found.charge += int64(l.out.RoomNeeded)
			l.in.Room = l.out.RoomNeeded
		}
		l.in.RoomNeeded = l.out.RoomNeeded
		at += onwards
		l.in.Wire, l.in.State = l.in.Wire[onwards:], append(l.in.State[:0], l.out.State...)
		l.in.Examined = max(0, l.out.Examined-onwards)
		if l.out.Fault != nil {
			l.in.Examined = 0
		}
	}
}

// take copies the payloads of a result, whose wire begins at at in the datagram. The bytes that the result dropped at the front
// belong to the last fault. take returns false, and copies nothing, if the result needs more than was paid for the datagram and
// there is no memory for it.
func (f *foundIn) take(a *memoryAccount, at int, wire []byte, out *codeccall.Decoded, paid int64) bool {
	size := int64(len(f.payloads)+len(out.Data)) + perFrame*int64(len(f.ends)+len(out.Refs))
	for _, ref := range out.Refs {
		size += int64(ref.Len)
	}
	if more := size - paid - f.charge; more > 0 {
		more = max(more, f.charge) // double the charge, so that few results have to ask
		if !a.try(more) {
			return false
		}
		f.charge += more
	}
	payloads := codeccall.Encode{Wire: wire, Data: out.Data, Refs: out.Refs}
	last := at // the earliest beginning of the frame of a payload that was built
	if n := len(f.faults); n > 0 {
		f.faults[n-1].dropped += out.Dropped
	}
	skipped := out.SkippedFaults
	for i := range len(out.Refs) + 1 {
		for ; len(skipped) > 0 && skipped[0].Payloads == i; skipped = skipped[1:] {
			end := skipped[0].Resume + skipped[0].Dropped
			f.violated(at, &skipped[0].Fault, end)
			last = at + end
		}
		if i == len(out.Refs) {
			break
		}
		f.payloads = append(f.payloads, payloads.At(i)...)
		f.ends = append(f.ends, uint32(len(f.payloads)))
		if ref := out.Refs[i]; int(ref.Off) < len(wire) {
			f.places = append(f.places, place{at: int32(at) + int32(ref.Off)})
			last = at + int(ref.Off+ref.Len)
		} else {
			f.places = append(f.places, place{at: int32(last), built: true})
		}
	}
	f.skipped += out.Skipped
	return true
}

// violated notes a fault of the call that showed the datagram from at on. The bytes from the fault's offset to end are dropped.
func (f *foundIn) violated(at int, fault *codecs.Fault, end int) {
	one := faultIn{fault: *fault, frame: len(f.ends), dropped: end - fault.Offset}
	one.fault.Offset += at
	one.fault.At += at
	f.faults = append(f.faults, one)
}

func (f *foundIn) reset() {
	*f = foundIn{payloads: f.payloads[:0], ends: f.ends[:0], places: f.places[:0], faults: f.faults[:0]}
	if cap(f.payloads) > 2*largePark {
		f.payloads = nil
	}
	if cap(f.ends) > 4096 {
		f.ends, f.places = nil, nil
	}
}
