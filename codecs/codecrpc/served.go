package codecrpc

import (
	"fmt"
	"sync"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecshm"
)

// served is a call in a plugin process, from its first part to the last part of its answer. It is reused for other calls.
type served struct {
	id     uint64
	head   callHead
	codec  *codecshm.Configured // nil: the call was refused
	state  [codecs.MaxState]byte
	resend bool

	// Received: either in message, if the call has only one part, or in buffer, which begins with the kept bytes.
	message incoming
	data    []byte
	buffer  []byte
	refs    []codecs.Ref
	left    uint32 // bytes that have not arrived
	total   uint64 // sum of the lengths

	runner  codeccall.Runner
	decoded codeccall.Decoded
	encoded codeccall.Encoded

	// Sent.
	answer   answerHead
	reply    []byte
	refsOut  []codecs.Ref
	endsOut  []uint32
	dataOut  int
	countOut int
	headOut  bool
}

var servedPool = sync.Pool{New: func() any { return new(served) }}

// release returns the call to the pool.
func (c *served) release() {
	c.message.free()
	*c = served{buffer: c.buffer[:0], refs: c.refs[:0], runner: c.runner}
	servedPool.Put(c)
}

// begin reads the head of the call. A call that is refused, or whose kept bytes this process no longer has, is received
// nevertheless. begin checks the totals before memory is allocated.
func (c *served) begin(l *serverLane, p *part) error {
	c.id = p.id
	if err := c.head.parse(p.head); err != nil {
		return fmt.Errorf("call %d: %w", p.id, err)
	}
	h := &c.head
	c.left = h.dataSize
	if len(h.state) > codecs.MaxState || h.payloads > codecs.MaxPayloads {
		return fmt.Errorf("%w: call %d: state of %d bytes, %d payloads", errMalformed, p.id, len(h.state), h.payloads)
	}
	h.state = append(c.state[:0], h.state...)
	c.codec = l.lookup(h.codec)
	if c.codec == nil {
		c.refuse("codec %d was not configured", h.codec)
		return nil
	}
	most := h.kind.maxData(c.codec.MaxFrame, c.codec.MaxWire)
	if size := uint64(h.kept) + uint64(h.dataSize); size > most {
		c.refuse("call of %d bytes, more than %d", size, most)
		return nil
	}
	if most := h.kind.maxRoom(c.codec.MaxFrame, c.codec.MaxWire); uint64(h.room) > most {
		c.refuse("call with room for %d bytes, more than %d", h.room, most)
		return nil
	}
	if h.kind == kindDecode && (h.stream != 0 || h.kept > 0) {
		kept := l.kept.claim(h.stream, h.keptOf, int(h.kept))
		if h.kept > 0 && kept == nil {
			c.resend = true
			return nil
		}
		if h.kept > 0 {
			c.buffer = kept
		}
	}
	return nil
}

func (c *served) refuse(format string, args ...any) {
	c.codec = nil
	c.answer.err = fmt.Appendf(nil, format, args...)
}

// addPart adds a part. If the call has only this part, its bytes stay in the message m, which the call then owns.
func (c *served) addPart(p *part, m *incoming) error {
	if uint64(len(p.data)) > uint64(c.left) {
		return fmt.Errorf("%w: call %d has more than the %d bytes it announced", errMalformed, c.id, c.head.dataSize)
	}
	c.left -= uint32(len(p.data))
	for lengths := p.numbers[0]; len(lengths) > 0; {
		n, rest, err := nextNumber(lengths)
		if err != nil {
			return err
		}
		lengths = rest
		if len(c.refs) == int(c.head.payloads) || c.total+uint64(n) > uint64(c.head.dataSize) {
			return fmt.Errorf("%w: call %d has more payloads than it announced", errMalformed, c.id)
		}
		c.refs = append(c.refs, codecs.Ref{Off: uint32(c.total), Len: n})
		c.total += uint64(n)
	}
	switch {
	case c.codec == nil || c.resend:
	case p.hasHead && c.left == 0 && c.head.kept == 0 && c.complete():
		c.data = p.data
		c.message, *m = *m, incoming{}
	default:
		if cap(c.buffer) < len(c.buffer)+len(p.data) {
			most := int(c.head.kind.maxData(c.codec.MaxFrame, c.codec.MaxWire))
			size := max(len(c.buffer)+len(p.data)+int(c.left), min(2*cap(c.buffer), most))
			c.buffer = append(make([]byte, 0, size), c.buffer...)
		}
		c.buffer = append(c.buffer, p.data...)
		c.data = c.buffer
	}
	if c.complete() && c.head.kind == kindEncode && c.total != uint64(c.head.dataSize) {
		return fmt.Errorf("%w: call %d has payloads of %d bytes in %d", errMalformed, c.id, c.total, c.head.dataSize)
	}
	return nil
}

func (c *served) complete() bool { return c.left == 0 && len(c.refs) == int(c.head.payloads) }

// run makes the call, and prepares its answer.
func (c *served) run(l *serverLane) {
	var err error
	h := &c.head
	switch {
	case c.resend:
		c.answer = answerHead{resend: true}
		return
	case c.codec == nil:
		return
	case h.kind == kindDecode && uint64(h.examined) <= uint64(len(c.data)):
		err = c.decode(l)
	case h.kind == kindEncode:
		err = c.encode()
	default:
		err = fmt.Errorf("%w: call of kind %d, examined %d of %d bytes", errMalformed, h.kind, h.examined, len(c.data))
	}
	if err != nil {
		c.refsOut, c.endsOut, c.reply = nil, nil, nil
		text := []byte(codeccall.FailedText(err))
		c.answer = answerHead{err: text[:min(len(text), maxError)]}
	}
}

func (c *served) decode(l *serverLane) error {
	h := &c.head
	in := codeccall.Decode{Wire: c.data, Examined: int(h.examined), EOF: h.eof, State: h.state, Room: int(h.room),
		Skips: int(min(h.skips, codeccall.MaxSkips))}
	out := &c.decoded
	if err := c.runner.Decode(c.codec.Framing, c.codec.MaxFrame, &in, out); err != nil {
		return err
	}
	properties := codeccall.Properties{MaxFrame: c.codec.MaxFrame, MaxWire: c.codec.MaxWire}
	if err := in.Check(&properties, out); err != nil {
		return err
	}
	c.answer = answerHead{
		dataSize: uint32(len(out.Data)), payloads: uint32(len(out.Refs)), consumed: uint32(out.Consumed),
		examined: uint32(out.Examined), need: uint32(min(out.Need, codecs.MaxWire)), more: out.More,
		roomNeeded: uint32(out.RoomNeeded), skipped: uint32(out.Skipped), dropped: uint32(out.Dropped), state: out.State,
		fault: out.Fault, faults: out.SkippedFaults,
	}
	c.refsOut, c.reply = out.Refs, out.Data
	if left := len(c.data) - out.Consumed; left >= keepFrom && !h.eof && out.Fault == nil && h.stream != 0 {
		if len(c.buffer) == 0 { // all bytes are in the message
			c.buffer = append(c.buffer, c.data[out.Consumed:]...)
		} else {
			c.buffer = c.buffer[:copy(c.buffer, c.buffer[out.Consumed:])]
		}
		if l.kept.keep(h.stream, c.id, c.buffer) {
			c.buffer = nil
		}
	}
	return nil
}

func (c *served) encode() error {
	h := &c.head
	in := codeccall.Encode{Data: c.data, Refs: c.refs, EOF: h.eof, State: h.state, Room: int(h.room)}
	out := &c.encoded
	if err := c.runner.Encode(c.codec.Framing, &in, out); err != nil {
		return err
	}
	properties := codeccall.Properties{MaxFrame: c.codec.MaxFrame, MaxWire: c.codec.MaxWire}
	if err := in.Check(&properties, out); err != nil {
		return err
	}
	c.answer = answerHead{
		dataSize: uint32(len(out.Wire)), payloads: uint32(len(out.Ends)), more: out.More,
		roomNeeded: uint32(out.RoomNeeded), state: out.State, fault: out.Fault,
	}
	c.endsOut, c.reply = out.Ends, out.Wire
	return nil
}

// nextPart returns the next message of the answer, and whether it is the last.
func (c *served) nextPart() (*outgoing, bool) {
	left := len(c.reply) - c.dataOut
	countLeft := len(c.refsOut) + len(c.endsOut) - c.countOut
	m := newOutgoing(min(maxPart, left+10*countLeft+1024+len(c.answer.err)+skippedRoom(c.answer.faults)))
	b := appendUint(*m.bytes, 1, c.id)
	if !c.headOut {
		b = appendNested(b, 2, c.answer.append)
		c.headOut = true
	}
	from := c.countOut
	n := min(countLeft, partRoom/4/10)
	if len(c.refsOut) > 0 {
		b = appendPacked(b, 4, n, func(i int) uint32 { return c.refsOut[from+i].Off })
		b = appendPacked(b, 5, n, func(i int) uint32 { return c.refsOut[from+i].Len })
	} else {
		b = appendPacked(b, 6, n, func(i int) uint32 { return c.endsOut[from+i] })
	}
	c.countOut += n
	countLeft -= n
	if n := min(left, partRoom-len(b)); n > 0 {
		b = appendDataHeader(b, n)
		b = append(b, c.reply[c.dataOut:c.dataOut+n]...)
		c.dataOut += n
	}
	*m.bytes = b
	return m, c.dataOut == len(c.reply) && countLeft == 0
}
