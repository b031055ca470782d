package relay

import (
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecstream"
)

// perDatagramByte is the charge, in bytes, for each byte of a datagram while it is passed on: one byte for a payload that is built,
// and one for its copy.
const perDatagramByte = 2

// datagramLanes is how many datagrams of a batch are decoded at the same time. Each datagram is a call of its own, since decoding
// depends on where it ends. Concurrent calls can share messages to the codec's process.
const datagramLanes = 64

// A datagramReceiver decodes batches of datagrams into batches of payloads. Only the goroutine of a member's reader uses it. It has
// as many lanes as the largest batch so far has needed: one if datagrams have always arrived one at a time.
type datagramReceiver struct {
	transport *datagramTransport
	lanes     []*datagramLane
	found     []datagramResult // for each datagram of a batch, if there is a codec
	// datagrams is the current batch.
	datagrams []Datagram
	garbage   garbage
}

// A datagramLane decodes one datagram at a time, each as a stream of its own.
type datagramLane struct {
	transport *datagramTransport
	decoder   codecstream.Decoder
	out       codeccall.Decoded
	size      int    // length of the datagram, in bytes
	rest      []byte // the part of the datagram that is not consumed
	room      int    // for payloads that are built, in bytes
	skips     bool   // the call under way may skip faults
	found     *datagramResult
}

// A datagramResult is the result of decoding one datagram.
type datagramResult struct {
	payloads []byte
	ends     []uint32       // the end of each payload in payloads
	places   []payloadPlace // the place of each payload in the datagram
	skipped  int            // number of empty frames
	faults   []datagramFault
	charge   int64 // bytes charged for the result beyond the charge of the batch
	starved  bool  // there was no memory for it
	err      error // the codec's error
}

// A payloadPlace is the place of a payload in its datagram.
type payloadPlace struct {
	at    int32
	built bool // the payload is not part of the datagram's bytes; its frame begins at at or later
}

// A datagramFault is a fault in a datagram. Its positions count from the first byte of the datagram.
type datagramFault struct {
	fault   codecs.Fault
	frame   int // number of frames before it
	dropped int // bytes that are dropped, from the first byte of the faulty frame on
}

func (r *datagramReceiver) close() {
	for i := range r.lanes {
		r.lanes[i].decoder.Direction.Close()
	}
}

// pass decodes datagrams and sends their payloads to the other members.
func (r *datagramReceiver) pass(all []Datagram) {
	p := r.transport
	r.datagrams = all
	size := 0
	for i := range all {
		size += len(all[i].Bytes)
	}
	charge := perDatagramByte * int64(size)
	if err := p.account.acquire(p.ctx, charge); err != nil {
		p.counts.starved.Add(int64(len(all)))
		return
	}
	defer func() { p.account.give(charge) }()
	b := newBatch(p.account, min(size, maxHeapRead))
	now := time.Now()
	if p.config.Codec == nil {
		for i := range all {
			if !all[i].Own {
				b = r.add(b, i, all[i].Bytes, payloadPlace{}, now)
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

// decode decodes all datagrams, several at a time.
func (r *datagramReceiver) decode(all []Datagram) {
	for len(r.found) < len(all) {
		r.found = append(r.found, datagramResult{})
	}
	for len(r.lanes) < min(len(all), datagramLanes) {
		direction := r.transport.config.Codec.Open()
		r.lanes = append(r.lanes, &datagramLane{transport: r.transport, decoder: codecstream.Decoder{Direction: direction}})
	}
	var next atomic.Int32
	work := func(lane *datagramLane) {
		for i := int(next.Add(1)) - 1; i < len(all); i = int(next.Add(1)) - 1 {
			if !all[i].Own {
				lane.decode(all[i].Bytes, &r.found[i])
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

// gather adds the payloads of a datagram to b, and reports its faults. It returns the batch to use from now on.
func (r *datagramReceiver) gather(b *batch, number int, found *datagramResult, now time.Time) *batch {
	p := r.transport
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

// add adds a payload to b, unless the echoFilter suppresses it. It returns the batch to use from now on: b, or a new one if b was
// full.
func (r *datagramReceiver) add(b *batch, number int, payload []byte, at payloadPlace, now time.Time) *batch {
	p, one := r.transport, &r.datagrams[number]
	if p.echoFilter != nil && !p.echoFilter.heard(maphash.Bytes(p.hub.seed, payload), one.Source, one.Interface, now) {
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

// send sends the payloads of b to the other members, and frees b.
func (r *datagramReceiver) send(b *batch) {
	p := r.transport
	if len(b.found.Refs) > 0 && !p.over() {
		b.datagrams = r.datagrams
		if err := p.dispatcher.send(b); err != nil {
			p.counts.starved.Add(int64(len(b.found.Refs)))
		}
	}
	b.free(p.account)
}

// violated reports a fault in a datagram.
func (r *datagramReceiver) violated(one *Datagram, fault *datagramFault) {
	p := r.transport
	p.counts.violations.Add(1)
	if errors.Is(fault.fault.Err, codecs.ErrTruncated) {
		p.counts.droppedTails.Add(1)
	}
	p.counts.bytesSkipped.Add(int64(fault.dropped))
	v := wireViolation(FromMember, &codecstream.Fault{Fault: &fault.fault, Wire: one.Bytes, Frame: int64(fault.frame)},
		p.dispatcher.longest, p.keeper().wireBytes)
	v.Skipped, v.Source = true, one.Source
	p.keeper().whole(v, one.Bytes[fault.fault.Offset:fault.fault.Offset+fault.dropped])
}

// decode decodes one datagram.
func (l *datagramLane) decode(wire []byte, found *datagramResult) {
	l.size, l.rest, l.room, l.found = len(wire), wire, max(len(wire), smallRead), found
	l.decoder.Reset()
	err := l.decoder.Decode(l.transport.ctx, l, l, true)
	if found.starved = errors.Is(err, errStarved); !found.starved {
		found.err = err
	}
	l.rest, l.found = nil, nil
	if cap(l.out.Data) > 2*baseRead {
		l.out.Data = nil
	}
}

// errStarved means that there was no memory for the payloads of a datagram.
var errStarved = errors.New("relay: no memory for a datagram")

// Bytes returns the part of the datagram that is not consumed.
func (l *datagramLane) Bytes() []byte { return l.rest }

// Consume drops the first n bytes of that part.
func (l *datagramLane) Consume(n int) { l.rest = l.rest[n:] }

// Prepare provides room for the result of a call.
func (l *datagramLane) Prepare(in *codeccall.Decode) (*codeccall.Decoded, error) {
	if in.RoomNeeded > l.room {
		if !l.transport.account.try(int64(in.RoomNeeded)) {
			return nil, errStarved
		}
		l.found.charge += int64(in.RoomNeeded)
		l.room = in.RoomNeeded
	}
	in.Room = l.room
	// After too many violations, the first violation ends its datagram, since the senders of datagrams can't be made to wait.
	if l.skips = l.transport.skips() && !l.transport.receiver.garbage.spent(); l.skips {
		in.Skips = codeccall.MaxSkips
	}
	return &l.out, nil
}

// Found copies the payloads of a result.
func (l *datagramLane) Found(r *codecstream.Result) error {
	if points := pointsOf(r.Decoded); l.skips && points > 0 {
		l.transport.receiver.garbage.charge(points)
	}
	if !l.found.add(l.transport.account, r, perDatagramByte*int64(l.size)) {
		return errStarved
	}
	return nil
}

// Fault notes a fault. If decoding does not go on after the fault, the rest of the datagram is dropped with it.
func (l *datagramLane) Fault(f *codecstream.Fault) (goOn bool, err error) {
	goOn = l.skips && !f.Final && f.Offset+len(f.Dropped) < len(f.Wire)
	if !goOn {
		f.Dropped = f.Wire[f.Offset:]
	}
	l.found.violated(f)
	return goOn, nil
}

// Drop has nothing to do: a datagram has arrived whole.
func (l *datagramLane) Drop([]byte) {}

// add copies the payloads of a result. It counts the bytes that the result dropped at its front as part of the last fault. If the
// result needs more memory than the paid bytes that were charged for the datagram, and no more is free, add copies nothing and
// returns false.
func (f *datagramResult) add(a *memoryAccount, r *codecstream.Result, paid int64) bool {
	size := int64(len(f.payloads)+len(r.Data)) + perFrame*int64(len(f.ends)+len(r.Refs))
	for _, ref := range r.Refs {
		size += int64(ref.Len)
	}
	if more := size - paid - f.charge; more > 0 {
		more = max(more, f.charge) // at least doubles the charge, so that few results need another
		if !a.try(more) {
			return false
		}
		f.charge += more
	}
	at := int(r.Offset) // the position of the result in the datagram
	last := at          // the earliest position where the frame of a built payload can begin
	if n := len(f.faults); n > 0 {
		f.faults[n-1].dropped += r.Dropped
	}
	next := 0 // index of the next skipped fault
	for i := range len(r.Refs) + 1 {
		for ; next < len(r.SkippedFaults) && r.SkippedFaults[next].Payloads == i; next++ {
			fault := r.SkippedFault(next)
			f.violated(&fault)
			last = at + fault.Offset + len(fault.Dropped)
		}
		if i == len(r.Refs) {
			break
		}
		f.payloads = append(f.payloads, r.Payload(i)...)
		f.ends = append(f.ends, uint32(len(f.payloads)))
		if ref := r.Refs[i]; int(ref.Off) < len(r.Wire) {
			f.places = append(f.places, payloadPlace{at: int32(at) + int32(ref.Off)})
			last = at + int(ref.Off+ref.Len)
		} else {
			f.places = append(f.places, payloadPlace{at: int32(last), built: true})
		}
	}
	f.skipped += r.Skipped
	return true
}

// violated notes a fault.
func (f *datagramResult) violated(fault *codecstream.Fault) {
	one := datagramFault{fault: *fault.Fault, frame: len(f.ends), dropped: len(fault.Dropped)}
	one.fault.Offset += int(fault.Begin)
	one.fault.At += int(fault.Begin)
	f.faults = append(f.faults, one)
}

func (f *datagramResult) reset() {
	*f = datagramResult{payloads: f.payloads[:0], ends: f.ends[:0], places: f.places[:0], faults: f.faults[:0]}
	if cap(f.payloads) > 2*largePark {
		f.payloads = nil
	}
	if cap(f.ends) > 4096 {
		f.ends, f.places = nil, nil
	}
}
