package codecrpc

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// This file writes and reads the messages of a lane, instead of generated code: a part's bytes are copied directly from
// the caller's memory into the message and from the message into the caller's memory, and a call allocates nothing. The
// encoding is that of codecpb; a test compares the two.

const (
	maxPart  = 256 << 10 // bytes of a message
	partRoom = maxPart - 8<<10
	maxError = 4 << 10 // bytes of AnswerHead.error
)

var errMalformed = errors.New("malformed message")

type kind uint32

const (
	kindDecode kind = 1
	kindEncode kind = 2
)

// callHead is codecpb.CallHead.
type callHead struct {
	kind     kind
	codec    uint32
	dataSize uint32
	payloads uint32
	eof      bool
	state    []byte
	room     uint32
	examined uint32
	stream   uint64
	kept     uint32
	keptOf   uint64
	skips    uint32
}

func (h *callHead) append(b []byte) []byte {
	b = appendUint(b, 1, uint64(h.kind))
	b = appendUint(b, 2, uint64(h.codec))
	b = appendUint(b, 3, uint64(h.dataSize))
	b = appendUint(b, 4, uint64(h.payloads))
	b = appendBool(b, 5, h.eof)
	b = appendBytes(b, 6, h.state)
	b = appendUint(b, 7, uint64(h.room))
	b = appendUint(b, 8, uint64(h.examined))
	b = appendUint(b, 9, h.stream)
	b = appendUint(b, 10, uint64(h.kept))
	b = appendUint(b, 11, h.keptOf)
	return appendUint(b, 12, uint64(h.skips))
}

func (h *callHead) parse(b []byte) error {
	*h = callHead{}
	return eachField(b, func(num protowire.Number, v uint64, data []byte) (err error) {
		switch num {
		case 1:
			h.kind = kind(v)
		case 2:
			h.codec, err = uint32Of(v)
		case 3:
			h.dataSize, err = uint32Of(v)
		case 4:
			h.payloads, err = uint32Of(v)
		case 5:
			h.eof = v != 0
		case 6:
			h.state = data
		case 7:
			h.room, err = uint32Of(v)
		case 8:
			h.examined, err = uint32Of(v)
		case 9:
			h.stream = v
		case 10:
			h.kept, err = uint32Of(v)
		case 11:
			h.keptOf = v
		case 12:
			h.skips, err = uint32Of(v)
		}
		return err
	})
}

// answerHead is codecpb.AnswerHead.
type answerHead struct {
	dataSize   uint32
	payloads   uint32
	consumed   uint32
	examined   uint32
	need       uint32
	more       bool
	roomNeeded uint32
	skipped    uint32
	state      []byte
	fault      *codecs.Fault
	resend     bool
	err        []byte
	dropped    uint32
	faults     []codeccall.SkippedFault
	wants      []string // the different Wants of faults, while they are parsed
}

func (h *answerHead) append(b []byte) []byte {
	b = appendUint(b, 1, uint64(h.dataSize))
	b = appendUint(b, 2, uint64(h.payloads))
	b = appendUint(b, 3, uint64(h.consumed))
	b = appendUint(b, 4, uint64(h.examined))
	b = appendUint(b, 5, uint64(h.need))
	b = appendBool(b, 6, h.more)
	b = appendUint(b, 7, uint64(h.roomNeeded))
	b = appendUint(b, 8, uint64(h.skipped))
	b = appendBytes(b, 9, h.state)
	if h.fault != nil {
		b = appendNested(b, 10, func(b []byte) []byte { return appendFault(b, h.fault) })
	}
	b = appendBool(b, 11, h.resend)
	b = appendBytes(b, 12, h.err)
	b = appendUint(b, 13, uint64(h.dropped))
	return appendSkipped(b, h.faults)
}

// parse reads a head, which must not have more than skips skipped faults. It reuses the memory of h.faults.
func (h *answerHead) parse(b []byte, skips int) error {
	*h = answerHead{faults: h.faults[:0], wants: h.wants[:0]}
	return eachField(b, func(num protowire.Number, v uint64, data []byte) (err error) {
		switch num {
		case 1:
			h.dataSize, err = uint32Of(v)
		case 2:
			h.payloads, err = uint32Of(v)
		case 3:
			h.consumed, err = uint32Of(v)
		case 4:
			h.examined, err = uint32Of(v)
		case 5:
			h.need, err = uint32Of(v)
		case 6:
			h.more = v != 0
		case 7:
			h.roomNeeded, err = uint32Of(v)
		case 8:
			h.skipped, err = uint32Of(v)
		case 9:
			h.state = data
		case 10:
			h.fault, err = parseFault(data)
		case 11:
			h.resend = v != 0
		case 12:
			h.err = data
		case 13:
			h.dropped, err = uint32Of(v)
		case 14:
			if len(h.wants) == codeccall.MaxWants || len(data) > codeccall.MaxWant {
				return fmt.Errorf("%w: text %d of what faults want, of %d bytes", errMalformed, len(h.wants), len(data))
			}
			h.wants = append(h.wants, string(data))
		case 15:
			if len(h.faults) == skips {
				return fmt.Errorf("%w: more than %d faults were skipped", errMalformed, skips)
			}
			var fault codeccall.SkippedFault
			fault, err = parseSkipped(data, h.wants)
			h.faults = append(h.faults, fault)
		}
		return err
	})
}

// appendSkipped appends the different Wants of the skipped faults, and then the faults.
func appendSkipped(b []byte, skipped []codeccall.SkippedFault) []byte {
	if len(skipped) == 0 {
		return b
	}
	var texts [codeccall.MaxWants]string
	wants := texts[:0]
	for i := range skipped {
		if !slices.Contains(wants, skipped[i].Want) {
			wants = append(wants, skipped[i].Want)
			b = protowire.AppendString(protowire.AppendTag(b, 14, protowire.BytesType), skipped[i].Want)
		}
	}
	for i := range skipped {
		f := &skipped[i]
		b = appendNested(b, 15, func(b []byte) []byte {
			b = appendUint(b, 1, uint64(codeccall.FaultNumber(f.Err)))
			b = appendUint(b, 2, uint64(f.Offset))
			b = appendUint(b, 3, uint64(f.At))
			b = appendUint(b, 4, uint64(slices.Index(wants, f.Want)))
			b = appendUint(b, 5, uint64(f.Resume))
			b = appendUint(b, 6, uint64(f.Payloads))
			b = appendUint(b, 7, uint64(f.Dropped))
			return appendUint(b, 8, f.Announced)
		})
	}
	return b
}

// skippedRoom returns the greatest number of bytes that appendSkipped appends.
func skippedRoom(skipped []codeccall.SkippedFault) int {
	return 48*len(skipped) + min(len(skipped), codeccall.MaxWants)*(codeccall.MaxWant+4)
}

// parseSkipped reads a skipped fault, whose Want is one of wants, the texts that preceded it.
func parseSkipped(b []byte, wants []string) (f codeccall.SkippedFault, err error) {
	var numbers [8]uint32
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return f, fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		b = b[n:]
		var v uint64
		if typ == protowire.VarintType {
			v, n = protowire.ConsumeVarint(b)
		} else {
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return f, fmt.Errorf("%w: skipped fault: %w", errMalformed, protowire.ParseError(n))
		}
		b = b[n:]
		switch {
		case typ != protowire.VarintType:
		case int(num) < len(numbers):
			if numbers[num], err = uint32Of(v); err != nil {
				return f, err
			}
		case num == 8:
			f.Announced = v
		}
	}
	kind, want := numbers[1], numbers[4]
	if kind == 0 || int(kind) >= len(codeccall.FaultKinds) || int64(want) >= int64(len(wants)) {
		return f, fmt.Errorf("%w: skipped fault of kind %d, which wants text %d of %d", errMalformed, kind, want, len(wants))
	}
	f.Err, f.Want = codeccall.FaultKinds[kind], wants[want]
	f.Offset, f.At, f.Resume = int(numbers[2]), int(numbers[3]), int(numbers[5])
	f.Payloads, f.Dropped = int(numbers[6]), int(numbers[7])
	return f, nil
}

// part is a received Call or Answer. Its slices refer to the memory of the message.
type part struct {
	id      uint64
	hasHead bool
	head    []byte
	data    []byte
	numbers [3][]byte // packed; in a Call: lengths; in an Answer: offsets, lengths, ends
}

// parse reads a Call or an Answer, whose packed numbers begin at field 4. Each field may occur only once.
func (p *part) parse(b []byte) error {
	*p = part{}
	if len(b) > maxPart {
		return fmt.Errorf("%w: %d bytes, more than %d", errMalformed, len(b), maxPart)
	}
	seen := 0
	return eachField(b, func(num protowire.Number, v uint64, data []byte) error {
		if num > 6 {
			return nil
		}
		if seen&(1<<num) != 0 {
			return fmt.Errorf("%w: field %d occurs twice", errMalformed, num)
		}
		seen |= 1 << num
		if isNumber := data == nil; isNumber != (num == 1) {
			return fmt.Errorf("%w: field %d has a wrong type; numbers have to be packed", errMalformed, num)
		}
		switch num {
		case 1:
			p.id = v
		case 2:
			p.hasHead, p.head = true, data
		case 3:
			p.data = data
		default:
			p.numbers[num-4] = data
		}
		return nil
	})
}

// eachField calls f with each field of a message: its number, and its value or its bytes. data is nil only for a field
// with a value. Fields of other types are skipped.
func eachField(b []byte, f func(num protowire.Number, v uint64, data []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		b = b[n:]
		var v uint64
		var data []byte
		known := true
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
			known = false
		}
		if n < 0 {
			return fmt.Errorf("%w: field %d: %w", errMalformed, num, protowire.ParseError(n))
		}
		b = b[n:]
		if known {
			if err := f(num, v, data); err != nil {
				return err
			}
		}
	}
	return nil
}

// nextNumber returns the first of the packed numbers, and the rest.
func nextNumber(packed []byte) (uint32, []byte, error) {
	v, n := protowire.ConsumeVarint(packed)
	if n < 0 || v > math.MaxUint32 {
		return 0, nil, fmt.Errorf("%w: packed numbers", errMalformed)
	}
	return uint32(v), packed[n:], nil
}

func uint32Of(v uint64) (uint32, error) {
	if v > math.MaxUint32 {
		return 0, fmt.Errorf("%w: %d is more than 32 bits", errMalformed, v)
	}
	return uint32(v), nil
}

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), 1)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

// appendNested appends a field of bytes, which body appends. It appends the length after the bytes and then moves it
// to their front, because the length is not known before.
func appendNested(b []byte, num protowire.Number, body func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	from := len(b)
	b = body(b)
	var size [10]byte
	n := protowire.AppendVarint(size[:0], uint64(len(b)-from))
	b = append(b, n...)
	copy(b[from+len(n):], b[from:])
	copy(b[from:], n)
	return b
}

// appendPacked appends the numbers number(0) to number(count-1) as a packed field.
func appendPacked(b []byte, num protowire.Number, count int, number func(i int) uint32) []byte {
	if count == 0 {
		return b
	}
	size := 0
	for i := range count {
		size += protowire.SizeVarint(uint64(number(i)))
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	for i := range count {
		b = protowire.AppendVarint(b, uint64(number(i)))
	}
	return b
}

func appendFault(b []byte, f *codecs.Fault) []byte {
	b = appendUint(b, 1, uint64(codeccall.FaultNumber(f.Err)))
	b = appendUint(b, 2, uint64(f.Offset))
	b = appendUint(b, 3, uint64(f.At))
	b = appendBytes(b, 4, []byte(f.Want))
	b = appendUint(b, 5, uint64(int64(f.Resume)))
	return appendUint(b, 6, f.Announced)
}

func parseFault(b []byte) (*codecs.Fault, error) {
	f := &codecs.Fault{}
	err := eachField(b, func(num protowire.Number, v uint64, data []byte) error {
		switch num {
		case 1:
			if v == 0 || v >= uint64(len(codeccall.FaultKinds)) {
				return fmt.Errorf("%w: fault of kind %d", errMalformed, v)
			}
			f.Err = codeccall.FaultKinds[v]
		case 2, 3:
			at, err := uint32Of(v)
			if err != nil {
				return err
			}
			if num == 2 {
				f.Offset = int(at)
			} else {
				f.At = int(at)
			}
		case 4:
			f.Want = string(data)
		case 5:
			if f.Resume = int(int64(v)); int64(f.Resume) != int64(v) {
				f.Resume = codecs.Never // Resume does not fit in an int of 32 bits
			}
		case 6:
			f.Announced = v
		}
		return nil
	})
	if err == nil && f.Err == nil {
		err = fmt.Errorf("%w: fault without a kind", errMalformed)
	}
	return f, err
}

// A gatherer reads the payloads of an Encode as one sequence of bytes, piece by piece.
type gatherer struct {
	batch codecs.Batch
	next  int // index of the payload to read from
	from  int // position in that payload
}

func newGatherer(in *codeccall.Encode) gatherer {
	return gatherer{batch: codecs.Batch{Wire: in.Wire, Data: in.Data, Refs: in.Refs}}
}

// append appends the next n bytes to b. At least n bytes must be left.
func (g *gatherer) append(b []byte, n int) []byte {
	for n > 0 {
		piece := g.batch.At(g.next)[g.from:]
		if len(piece) > n {
			piece = piece[:n]
			g.from += n
		} else {
			g.next++
			g.from = 0
		}
		b = append(b, piece...)
		n -= len(piece)
	}
	return b
}
