package relay

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// Datagrams is a source and destination of datagrams, such as a socket. One goroutine at a time calls Receive, and one at a time
// calls Send. Any goroutine may call Close at any time.
type Datagrams interface {
	// Receive waits for datagrams and stores as many as have arrived, up to len(into): at least one, unless there is an error.
	// Their bytes stay valid until the next call. Receive leaves out datagrams that were truncated.
	Receive(into []Datagram) (n int, err error)
	// Send sends each frame as a datagram of its own, in order, and returns how many it sent. An error concerns the frame after
	// these. If the error wraps ErrNotSent, only that frame is dropped; any other error ends the member. Send does not keep the
	// frames.
	Send(frames [][]byte) (n int, err error)
	// Close closes the source and wakes blocked calls. It may be called more than once.
	Close() error
}

// ErrNotSent means that one datagram could not be sent, but others may be.
var ErrNotSent = errors.New("datagram not sent")

// A Datagram is a datagram that has arrived.
type Datagram struct {
	Bytes     []byte
	Source    netip.AddrPort
	Interface int  // a number of the interface on which it arrived, constant while that interface exists; 0: unknown
	Own       bool // it is known to be a datagram that we sent
}

// A DatagramMember describes a member that sends and receives datagrams.
type DatagramMember struct {
	MemberConfig
	Datagrams Datagrams
	// MaxDatagram is the longest datagram that can be sent, in bytes; 0: 65507, as for UDP over IPv4. A longer frame is not
	// sent, and is reported as a violation (ErrTooLong).
	MaxDatagram int
	// Answers says that all datagrams that arrive are meant for this member alone: they come from a flow, or from a peer that
	// was dialed. So they include no echoes from another relaying host. Then the member does not remember frames, and identical
	// frames all pass.
	Answers bool
}

const (
	maxDatagram   = 65507 // the longest UDP datagram over IPv4, in bytes
	datagramBatch = 128   // the most datagrams that one call receives or sends
	firstBatch    = 4     // the most that a call receives at first; this grows when datagrams arrive faster
)

// Datagrams prepares a member that sends and receives datagrams. The member owns config.Datagrams from the call of Run on. Datagrams
// returns an error if the codec uses state.
func (h *Hub) Datagrams(config DatagramMember) (*Member, error) {
	m, err := h.newMember(config.MemberConfig, nil)
	if err != nil {
		return nil, err
	}
	if config.MaxDatagram == 0 {
		config.MaxDatagram = maxDatagram
	}
	if (config.Use == Both || config.Use == "") && !config.Answers {
		m.echoFilter = newEchoFilter(nil)
	}
	m.endless = true
	m.transport = &datagramTransport{Member: m, datagrams: config.Datagrams, longest: config.MaxDatagram, answers: config.Answers}
	return m, nil
}

// A datagramTransport is a member that sends and receives datagrams.
type datagramTransport struct {
	*Member
	datagrams Datagrams
	longest   int
	answers   bool

	receiver   datagramReceiver
	dispatcher dispatcher

	taken   []frameRange
	handled int // how many frames of taken were sent, or are counted as not sent
	frames  [][]byte
}

func (p *datagramTransport) open() {
	longest := codecs.MaxFrame
	if p.config.Codec != nil {
		longest = p.config.Codec.Properties().MaxFrame
	}
	p.dispatcher.begin(p.Member, longest)
	p.receiver.transport, p.receiver.garbage = p, newGarbage()
}

// receive is the loop of the reader.
func (p *datagramTransport) receive() {
	if p.config.Use != SendOnly {
		defer p.receiver.close()
		defer p.dispatcher.close()
	}
	arrived := make([]Datagram, firstBatch)
	for {
		n, err := p.datagrams.Receive(arrived)
		if p.over() {
			return
		}
		if n > 0 {
			p.count(arrived[:n])
			p.pass(arrived[:n])
		}
		if n == len(arrived) && n < datagramBatch {
			arrived = make([]Datagram, 2*n)
		}
		if err != nil {
			_ = p.failed("receive", err, FromMember)
			return
		}
	}
}

func (p *datagramTransport) count(all []Datagram) {
	for _, one := range all {
		if one.Own {
			p.counts.own.Add(1)
		} else {
			p.counts.datagramsIn.Add(1)
			p.counts.bytesRead.Add(int64(len(one.Bytes)))
		}
	}
	now := p.clock.now()
	p.readAt.Store(now)
}

func (p *datagramTransport) discard(all []Datagram) {
	for _, one := range all {
		p.counts.bytesDiscarded.Add(int64(len(one.Bytes)))
	}
}

func (p *datagramTransport) pass(all []Datagram) {
	if p.config.Use == SendOnly || !p.hub.enter(p.Member) {
		p.discard(all)
		return
	}
	p.receiver.pass(all)
	p.hub.exit(p.Member)
}

// transmit is the loop of the writer.
func (p *datagramTransport) transmit() {
	for {
		p.taken = p.queue.dequeue(p.taken[:0])
		if len(p.taken) == 0 {
			break
		}
		p.handled = 0
		err := p.sendSegments(p.taken)
		for i, s := range p.taken {
			n := min(p.handled, s.len())
			p.handled -= n
			p.queue.drop(frameRange{s.sharedFrames, s.from + n, s.to})
			s.release()
			p.taken[i] = frameRange{}
		}
		if err != nil {
			return
		}
	}
	if p.drained() {
		p.end(p.finalReason(), nil, Neither) // wakes Receive; there is no peer to wait for
	}
}

func (p *datagramTransport) sendSegments(all []frameRange) error {
	p.frames = p.frames[:0]
	for _, s := range all {
		for i := range s.len() {
			frame := s.frame(i)
			if len(frame) > p.longest {
				if err := p.sendFrames(); err != nil {
					return err
				}
				p.tooLong(frame)
				p.handled++
				continue
			}
			if p.frames = append(p.frames, frame); len(p.frames) == datagramBatch {
				if err := p.sendFrames(); err != nil {
					return err
				}
			}
		}
	}
	return p.sendFrames()
}

// sendFrames sends the frames in p.frames. An error means that the member is over.
func (p *datagramTransport) sendFrames() error {
	defer func() {
		clear(p.frames)
		p.frames = p.frames[:0]
	}()
	for rest := p.frames; len(rest) > 0; {
		if p.over() {
			return errOver
		}
		n, err := p.datagrams.Send(rest)
		for _, frame := range rest[:n] {
			p.counts.bytesWritten.Add(int64(len(frame)))
		}
		p.handled += n
		p.counts.datagramsOut.Add(int64(n))
		p.counts.framesOut.Add(int64(n))
		rest = rest[n:]
		switch {
		case err == nil || len(rest) == 0:
		case errors.Is(err, ErrNotSent):
			p.counts.notSent.Add(1)
			p.handled++
			rest = rest[1:]
		default:
			return p.failed("send", err, ToMember)
		}
	}
	return nil
}

// tooLong reports a frame that is longer than a datagram may be.
func (p *datagramTransport) tooLong(frame []byte) {
	p.counts.unrepresentable.Add(1)
	fault := codeccall.PayloadTooLong(p.longest)
	fault.Want = fmt.Sprintf("a frame of at most %d bytes, for a datagram", p.longest)
	v := &Violation{ // positions count from the start of the frame, since the frame is not part of a sender's stream
		Direction: ToMember, Payload: true, At: int64(fault.At), PayloadAt: int64(fault.At), Frame: p.counts.framesOut.Load(),
		Err: fault.Err, Want: fault.Want, Skipped: true,
	}
	v.show(frame, fault.At, p.keeper().wireBytes)
	p.keeper().whole(v, frame)
}

func (p *datagramTransport) failed(operation string, err error, d Direction) error {
	return p.fail(IOError, fmt.Errorf("relay: %s: %s: %w", d, operation, err), d)
}

func (p *datagramTransport) forAll() bool { return !p.answers }

// unread returns false: datagrams are whole, and a peer can't know which of them arrived before an end.
func (p *datagramTransport) unread() bool { return false }

// stalled returns false: the system accepts or drops a datagram at once.
func (p *datagramTransport) stalled() bool { return false }

func (p *datagramTransport) cut()   { _ = p.datagrams.Close() }
func (p *datagramTransport) close() { _ = p.datagrams.Close() }
