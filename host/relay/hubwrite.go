package relay

import (
	"errors"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecstream"
)

// transmit is the loop of a stream's writer.
func (p *streamTransport) transmit() {
	for {
		p.taken = p.queue.dequeue(p.taken[:0])
		if len(p.taken) == 0 {
			break
		}
		frames := framesOf(p.taken)
		p.wrote = 0
		err := p.writeSegments(p.taken)
		if err == nil {
			err = p.acknowledged()
		}
		left := without(p.taken, p.wrote)
		p.Member.counts.framesOut.Add(int64(frames - framesOf(left)))
		p.queue.putBack(left)
		clear(p.taken)
		if err != nil {
			return
		}
	}
	if p.over() || p.writeEnd() != nil {
		return
	}
	p.wroteAll.Store(p.clock.now())
	switch {
	case p.inputEnded.Load() != 0:
		p.end(p.finalReason(), nil, Neither) // wakes the reader if it watches the connection
	case p.drained():
		p.clock.wake() // the member lingers
	}
}

// joinBelow is the size, in bytes, from which a separate write costs less than copying.
const joinBelow = 16 << 10

// writeSegments writes all ranges, and joins short ones into fewer writes.
func (p *streamTransport) writeSegments(all []frameRange) error {
	for len(all) > 0 {
		n, size := 1, all[0].size()
		for size < joinBelow && n < len(all) && all[n].size() < joinBelow {
			size += all[n].size()
			n++
		}
		if err := p.writeJoined(all[:n], size); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// writeJoined writes all, which has size bytes, in one write. If there is no memory to join them, it writes each range separately.
func (p *streamTransport) writeJoined(all []frameRange, size int) error {
	if len(all) == 1 {
		return p.write(all[0].bytes())
	}
	length := roundUp(size)
	if !p.Member.account.try(int64(length)) {
		for _, s := range all {
			if err := p.write(s.bytes()); err != nil {
				return err
			}
		}
		return nil
	}
	joined := newBuffer(length, int64(length))
	defer joined.free(p.Member.account)
	n := 0
	for _, s := range all {
		n += copy(joined.b[n:], s.bytes())
	}
	return p.write(joined.b[:n])
}

// writeEnd encodes and writes the end of the stream, and ends our direction.
func (p *streamTransport) writeEnd() error {
	if p.config.Use == ReceiveOnly {
		if p.drained() && !p.shutdown {
			_ = p.link.CloseWrite() // may make the peer end sooner; an error has no consequences
		}
		return nil
	}
	if err := p.encodeEnd(); err != nil {
		return err
	}
	return p.closeWrite()
}

// encodeEnd encodes and writes the end of the stream.
func (p *streamTransport) encodeEnd() error {
	encoder := codecstream.Encoder{Direction: p.config.Codec.Open()}
	defer encoder.Direction.Close()
	_, err := encoder.End(p.Member.ctx, &codecstream.Payloads{}, &memberEnd{transport: p})
	if err == nil || errors.Is(err, errOver) {
		return err
	}
	if p.over() {
		return errOver
	}
	return p.Member.codecFailed("encode", err, ToMember)
}

// memberEnd writes the encoded end of a member's stream.
type memberEnd struct {
	transport *streamTransport
	out       codeccall.Encoded
}

// Prepare provides room for the result of a call.
func (e *memberEnd) Prepare(in *codeccall.Encode) (*codeccall.Encoded, error) {
	in.Room = max(smallRead, in.RoomNeeded)
	return &e.out, nil
}

// Frames writes the result of a call.
func (e *memberEnd) Frames(out *codeccall.Encoded, _ int) (int, error) {
	return 0, e.transport.write(out.Wire)
}

// Refused does nothing: there are no payloads.
func (e *memberEnd) Refused(int, *codecs.Fault) error { return nil }

// write writes all of b. An error means that the member is over.
func (p *streamTransport) write(b []byte) error {
	n, err := p.life.write(b)
	p.wrote += n
	return err
}
