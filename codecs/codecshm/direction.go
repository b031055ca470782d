//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"context"
	"fmt"
	"unsafe"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// quickCall is the size in bytes up to which a call is expected to be answered faster than its caller could park.
const quickCall = 8 << 10

// A direction makes the calls of one flow, all on one lane.
type direction struct {
	plane      *Plane
	lane       *lane
	number     uint32
	properties codeccall.Properties

	decoder, encoder *call // nil before the first call
}

func newCall(kind, codec uint32) *call {
	c := &call{wake: make(chan error, 1), spinner: spinner{budget: maxSpin}}
	c.kind, c.codec = kind, codec
	return c
}

func flag(set bool) uint32 {
	if set {
		return 1
	}
	return 0
}

// Decode implements codeccall.Direction.
func (d *direction) Decode(ctx context.Context, in *codeccall.Decode, out *codeccall.Decoded) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.decoder == nil {
		d.decoder = newCall(kindDecode, d.number)
	}
	c := d.decoder
	out.Return()
	shown, where, err := d.plane.show(in.Wire, in.Lent)
	if err != nil {
		return err
	}
	if shown != nil {
		defer shown.End()
	}
	entries, skips := min(len(in.Wire), codecs.MaxPayloads), min(in.Skips, len(in.Wire), codeccall.MaxSkips)
	faultsAt, faultsSize := aligned(entries*refSize), faultRoom(skips)
	result, dataAt, err := d.plane.answerRoom(faultsAt+faultsSize, in.Room)
	if err != nil {
		return err
	}
	c.wire, c.refs = where, place{}
	c.entries, c.data = result.place(0, entries*refSize), result.place(dataAt, in.Room)
	c.faults = result.place(faultsAt, faultsSize)
	c.eof, c.examined, c.state = flag(in.EOF), uint32(in.Examined), in.State
	c.quick = len(in.Wire) <= quickCall
	err = d.lane.do(c)
	c.state = nil
	if err == nil {
		err = c.verdict(entries, in.Room)
	}
	skipped := out.SkippedFaults[:0]
	if err == nil && c.answer.faults > 0 {
		skipped, err = c.takeSkipped(skipped, result.bytes[faultsAt:faultsAt+faultsSize])
	}
	if err != nil {
		result.End()
		return err
	}
	a := &c.answer
	*out = codeccall.Decoded{
		Refs: append(out.Refs[:0], refsIn(result.bytes[:int(a.entries)*refSize])...), Data: out.Data[:0],
		Consumed: int(a.consumed), Examined: int(a.examined), Need: int(a.need), More: a.bits&bitMore != 0,
		RoomNeeded: int(a.roomNeeded), Skipped: int(a.skipped), Dropped: int(a.dropped), State: append(out.State[:0], c.after...),
		SkippedFaults: skipped,
	}
	data := result.bytes[dataAt : dataAt+int(a.size) : dataAt+int(a.size)]
	if in.Borrow && len(data) > 0 {
		out.Lent, out.Data = result, data
	} else {
		out.Data = append(out.Data, data...)
		result.End()
	}
	if a.bits&bitFault != 0 {
		out.Fault = c.fault()
	}
	if err := in.Check(&d.properties, out); err != nil {
		out.Return()
		return err
	}
	return nil
}

// Encode implements codeccall.Direction.
func (d *direction) Encode(ctx context.Context, in *codeccall.Encode, out *codeccall.Encoded) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.encoder == nil {
		d.encoder = newCall(kindEncode, d.number)
	}
	c := d.encoder
	out.Return()
	batch, err := d.plane.handOver(c, in)
	if err != nil {
		return err
	}
	defer batch.End()
	tableSize := len(in.Refs) * endSize
	result, dataAt, err := d.plane.answerRoom(tableSize, in.Room)
	if err != nil {
		return err
	}
	c.entries, c.data, c.faults = result.place(0, tableSize), result.place(dataAt, in.Room), place{}
	c.eof, c.state = flag(in.EOF), in.State
	c.quick = c.wire.length <= quickCall
	err = d.lane.do(c)
	c.state = nil
	if err == nil {
		err = c.verdict(len(in.Refs), in.Room)
	}
	if err != nil {
		result.End()
		return err
	}
	a := &c.answer
	*out = codeccall.Encoded{
		Wire: out.Wire[:0], Ends: append(out.Ends[:0], endsIn(result.bytes[:int(a.entries)*endSize])...),
		More: a.bits&bitMore != 0, RoomNeeded: int(a.roomNeeded), State: append(out.State[:0], c.after...),
	}
	wire := result.bytes[dataAt : dataAt+int(a.size) : dataAt+int(a.size)]
	if in.Borrow && len(wire) > 0 {
		out.Lent, out.Wire = result, wire
	} else {
		out.Wire = append(out.Wire, wire...)
		result.End()
	}
	if a.bits&bitFault != 0 {
		out.Fault = c.fault()
	}
	if err := in.Check(&d.properties, out); err != nil {
		out.Return()
		return err
	}
	return nil
}

// Close implements codeccall.Direction.
func (d *direction) Close() {}

// show returns the place where the process can read wire. If wire lies in lent memory, that is where it lies; otherwise
// show copies it into a block, which the caller must end. Empty wire has no place.
func (p *Plane) show(wire []byte, lent codeccall.Loan) (*block, place, error) {
	if len(wire) == 0 {
		return nil, place{}, nil
	}
	if b, ok := lent.(*block); ok && b.arena == &p.in {
		if from, ok := within(b.bytes, wire); ok {
			return nil, b.place(from, len(wire)), nil
		}
	}
	b := p.in.get(len(wire))
	if b == nil {
		return nil, place{}, p.short(&p.in)
	}
	copy(b.bytes, wire)
	return b, b.place(0, len(wire)), nil
}

// within returns where in memory piece begins, and whether piece lies in memory.
func within(memory, piece []byte) (from int, ok bool) {
	from = int(uintptr(unsafe.Pointer(unsafe.SliceData(piece))) - uintptr(unsafe.Pointer(unsafe.SliceData(memory))))
	return from, from >= 0 && from+len(piece) <= len(memory)
}

// handOver puts the payloads of in where the process can read them, and sets their places in c. The caller ends the block.
func (p *Plane) handOver(c *call, in *codeccall.Encode) (*block, error) {
	tableSize := len(in.Refs) * refSize
	if b, ok := in.Lent.(*block); ok && b.arena == &p.in && len(in.Data) == 0 {
		if from, ok := within(b.bytes, in.Wire); ok {
			batch := p.in.get(max(tableSize, 1))
			if batch == nil {
				return nil, p.short(&p.in)
			}
			copy(refsIn(batch.bytes[:tableSize]), in.Refs)
			c.wire, c.refs = b.place(from, len(in.Wire)), batch.place(0, tableSize)
			return batch, nil
		}
	}
	at := aligned(tableSize)
	size := in.PayloadBytes()
	batch := p.in.get(max(at+size, 1))
	if batch == nil {
		return nil, p.short(&p.in)
	}
	table, bytes := refsIn(batch.bytes[:tableSize]), batch.bytes[at:at+size]
	n := 0
	for i, r := range in.Refs {
		source := in.Wire
		from := int(r.Off)
		if from+int(r.Len) > len(source) {
			source, from = in.Data, from-len(in.Wire)
		}
		table[i] = codecs.Ref{Off: uint32(n), Len: r.Len}
		n += copy(bytes[n:], source[from:from+int(r.Len)])
	}
	c.wire, c.refs = batch.place(at, size), batch.place(0, tableSize)
	return batch, nil
}

// answerRoom returns a block for a result: a table and after it, at dataAt, room for bytes.
func (p *Plane) answerRoom(tableSize, room int) (b *block, dataAt int, err error) {
	dataAt = aligned(tableSize)
	if b = p.out.get(max(dataAt+room, 1)); b == nil {
		return nil, 0, p.short(&p.out)
	}
	return b, dataAt, nil
}

// short returns the error of a call for which a has no memory.
func (p *Plane) short(a *arena) error {
	if p.over.Load() {
		return errGoneBefore
	}
	if err := a.failure(); err != nil {
		return fmt.Errorf("%w: shared memory: %w", codeccall.ErrCodecFailed, err)
	}
	return errGoneBefore
}

// verdict returns nil if the answer of c is a result. It returns an error if the codec failed, or if the answer does not
// fit into its place, which has room for that many entries and bytes.
func (c *call) verdict(entries, room int) error {
	a := &c.answer
	switch {
	case a.bits&bitFailed != 0:
		return fmt.Errorf("%w: %s", codeccall.ErrCodecFailed, c.text)
	case uint64(a.entries) > uint64(entries) || uint64(a.size) > uint64(room):
		return codeccall.Misbehaved("%d entries and %d bytes in room for %d and %d", a.entries, a.size, entries, room)
	case a.stateLen > codecs.MaxState || a.textLen > maxText:
		return codeccall.Misbehaved("state of %d bytes, text of %d", a.stateLen, a.textLen)
	case max(a.consumed, a.examined, a.need, a.roomNeeded, a.skipped, a.dropped) > codecs.MaxWire:
		return codeccall.Misbehaved("positions %d, %d, %d, %d, %d and %d",
			a.consumed, a.examined, a.need, a.roomNeeded, a.skipped, a.dropped)
	case a.bits&bitFault != 0 && (a.faultKind == 0 || int(a.faultKind) >= len(codeccall.FaultKinds)):
		return codeccall.Misbehaved("fault of kind %d", a.faultKind)
	}
	return nil
}

// takeSkipped appends to skipped the skipped faults in place, and copies everything before it checks it.
func (c *call) takeSkipped(skipped []codeccall.SkippedFault, place []byte) ([]codeccall.SkippedFault, error) {
	a := &c.answer
	wants, faults := faultsIn(place)
	if uint64(a.faults) > uint64(len(faults)) || uint64(a.wants) > uint64(len(wants)) {
		return skipped, codeccall.Misbehaved("%d faults skipped, which want %d texts, in room for %d", a.faults, a.wants, len(faults))
	}
	c.wants = c.wants[:0]
	for i := range wants[:a.wants] {
		want := wants[i]
		if want.length > codeccall.MaxWant {
			return skipped, codeccall.Misbehaved("a skipped fault wants %d bytes of text, more than %d", want.length, codeccall.MaxWant)
		}
		c.wants = append(c.wants, string(want.text[:want.length]))
	}
	c.skips = append(c.skips[:0], faults[:a.faults]...)
	for i := range c.skips {
		f := &c.skips[i]
		if f.kind == 0 || int(f.kind) >= len(codeccall.FaultKinds) || uint64(f.want) >= uint64(len(c.wants)) {
			return skipped, codeccall.Misbehaved("skipped fault of kind %d, which wants text %d of %d", f.kind, f.want, len(c.wants))
		}
		if max(f.offset, f.at, f.resume, f.payloads, f.dropped) > codecs.MaxWire {
			return skipped, codeccall.Misbehaved("skipped fault at %d, %d, %d and %d", f.offset, f.at, f.resume, f.payloads)
		}
		skipped = append(skipped, codeccall.SkippedFault{Payloads: int(f.payloads), Dropped: int(f.dropped), Fault: codecs.Fault{
			Offset: int(f.offset), At: int(f.at), Err: codeccall.FaultKinds[f.kind], Want: c.wants[f.want], Resume: int(f.resume),
			Announced: f.announced,
		}})
	}
	return skipped, nil
}

// fault returns the fault in the answer of c.
func (c *call) fault() *codecs.Fault {
	a := &c.answer
	return &codecs.Fault{
		Offset: int(a.faultOffset), At: int(a.faultAt), Err: codeccall.FaultKinds[a.faultKind], Want: c.text, Resume: int(a.faultResume),
		Announced: a.announced,
	}
}
