package relay

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecstream"
)

// Datagrams is a place where datagrams come from and go to. Receive is called from one goroutine at a time, and so is
// Send; Close from any.
type Datagrams interface {
	// Receive waits for datagrams and fills in as many as there are, at least one unless there is an error. Their bytes
	// stay as they are until the next call. Datagrams that were cut on their way are not among them.
	Receive(into []Datagram) (n int, err error)
	// Send sends each frame as a datagram of its own, and returns how many it sent from the front. An error concerns the
	// next one; if it wraps ErrNotSent, that one is given up, and otherwise the member is over. Frames are not kept.
	Send(frames [][]byte) (n int, err error)
	// Close wakes blocked calls. It may be called again.
	Close() error
}

// ErrNotSent says that one datagram could not be sent, but others may be.
var ErrNotSent = errors.New("datagram not sent")

// A Datagram is one that has arrived.
type Datagram struct {
	Bytes     []byte
	Source    netip.AddrPort
	Interface int  // where it arrived, as a number that is the interface's as long as it exists; 0: not known
	Own       bool // it is known to be one that we sent
}

// A DatagramMember describes a member that is a place of datagrams.
type DatagramMember struct {
	MemberConfig
	Datagrams Datagrams
	// MaxDatagram is the longest datagram that can be sent, in bytes; 0: 65507, as for UDP over IPv4. A longer frame is
	// reported as a violation (ErrTooLong), and not sent.
	MaxDatagram int
	// Answers says that what comes is for this member alone, from a flow or a peer that was dialed: no host that relays
	// repeats there what it heard. Then frames are not remembered, and identical ones all pass.
	Answers bool
}

// What a UDP datagram over IPv4 can hold at most, and how many are received or sent in one call: few at first, and more
// when they come faster.
const (
	maxDatagram   = 65507
	datagramBatch = 128
	firstBatch    = 4
)

// Datagrams prepares a member, which owns its Datagrams once Run is called. It fails with a codec that uses state.
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

	taken  []frameRange
	frames [][]byte
}

func (p *datagramTransport) open() {
	longest := codecs.MaxFrame
	if p.config.Codec != nil {
		longest = p.config.Codec.Properties().MaxFrame
	}
	p.dispatcher.begin(p.Member, longest)
	p.receiver.transport, p.receiver.garbage = p, newGarbage()
}

// receive is the reader.
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
		p.count(arrived[:n])
		p.pass(arrived[:n])
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

// transmit is the writer.
func (p *datagramTransport) transmit() {
	for {
		p.taken = p.queue.dequeue(p.taken[:0])
		if len(p.taken) == 0 {
			break
		}
		err := p.sendSegments(p.taken)
		for i, s := range p.taken {
			s.letGo()
			p.taken[i] = frameRange{}
		}
		if err != nil {
			return
		}
	}
	if p.drained() {
		p.end(p.finalReason(), nil, Neither) // there is no peer to wait for, but a Receive to wake
	}
}

func (p *datagramTransport) sendSegments(all []frameRange) error {
	p.frames = p.frames[:0]
	for _, s := range all {
		for i := range s.len() {
			frame := s.frame(i)
			if len(frame) > p.longest {
				p.tooLong(frame)
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

// sendFrames sends what was gathered. An error means that the member is over.
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
		p.counts.datagramsOut.Add(int64(n))
		p.counts.framesOut.Add(int64(n))
		rest = rest[n:]
		switch {
		case err == nil || len(rest) == 0:
		case errors.Is(err, ErrNotSent):
			p.counts.notSent.Add(1)
			rest = rest[1:]
		default:
			return p.failed("send", err, ToMember)
		}
	}
	return nil
}

// tooLong reports a frame that no datagram can hold.
func (p *datagramTransport) tooLong(frame []byte) {
	p.counts.unrepresentable.Add(1)
	fault := codecstream.TooLong(p.longest)
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

// unread is false: datagrams are whole, and which of them came before an end is nothing that a peer could know.
func (p *datagramTransport) unread() bool { return false }

// stalled is false: the system takes a datagram, or drops it, at once.
func (p *datagramTransport) stalled() bool { return false }

func (p *datagramTransport) cut()   { _ = p.datagrams.Close() }
func (p *datagramTransport) close() { _ = p.datagrams.Close() }
