package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultWindow is how far a signed packet's time may be from ours.
const DefaultWindow = 30 * time.Second

// receiveRetry is how long a Station waits after Receive failed for a reason that should pass.
const receiveRetry = 100 * time.Millisecond

// StationOptions are ready as their zero value: no key, and nobody to tell.
type StationOptions struct {
	// Key signs what is sent, and then packets that it did not sign are ignored. At least MinKey bytes, all of which
	// count: a key file's last newline too. nil: no key. It is copied.
	Key []byte
	// Window is how far the time of a signed announcement may be from ours; 0: DefaultWindow.
	Window time.Duration
	// Now is the clock that packets are dated and judged by; nil: time.Now. Intervals and times to live do not depend
	// on it.
	Now func() time.Time
	// Ignored, unless nil, is told of packets that were ignored, and why: the errors of this package. What is heard twice
	// is among them. It must not block, since nothing is received meanwhile, nor call the Station or its members.
	Ignored func(from Origin, err error)
	// Failed, unless nil, is told when the Transport could not send or receive. That is tried again; an interface
	// that is down comes back. It may be called by several goroutines at the same time.
	Failed func(err error)
}

// A Station sends and receives for the Announcers, Browsers and Resolvers of a process. It is safe for concurrent use.
type Station struct {
	transport Transport
	options   StationOptions
	key       *key

	mu      sync.RWMutex
	members []member
	closed  bool           // no more members
	present sync.WaitGroup // a count for each member
	done    chan struct{}  // closed when members have to leave

	received, sent, receiveFailed, sendFailed  atomic.Int64
	malformed, otherVersion, unsigned, forgery atomic.Int64
}

// A member is told of messages by the goroutine that receives. It never blocks, and keeps nothing of m. The error says
// why the message was ignored.
type member interface {
	heard(m *message, from Origin) error
}

// NewStation returns a Station on transport, which Run will close.
func NewStation(transport Transport, options StationOptions) (*Station, error) {
	key, err := newKey(options.Key)
	if err != nil {
		return nil, err
	}
	switch {
	case options.Window < 0:
		return nil, fmt.Errorf("window: got %v, want a positive time", options.Window)
	case options.Window == 0:
		options.Window = DefaultWindow
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Station{transport: transport, options: options, key: key, done: make(chan struct{})}, nil
}

// Run receives until ctx is done. Then it ends the Run of each Announcer, Browser and Resolver, waits for them, so that
// the goodbyes are sent, and closes the Transport. It returns nil, or net.ErrClosed, wrapped, if the Transport was closed
// by somebody else. It is called once.
func (s *Station) Run(ctx context.Context) error {
	var err error // of receiving
	ended := make(chan struct{})
	go func() { err = s.receive(); close(ended) }()
	select {
	case <-ctx.Done():
	case <-ended:
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	close(s.done)
	s.present.Wait()
	select {
	case <-ended:
		return fmt.Errorf("discovery: receive: %w", err)
	default:
	}
	closeErr := s.transport.Close()
	<-ended
	return closeErr
}

// receive hears packets until the Transport is closed.
func (s *Station) receive() error {
	buf := make([]byte, MaxPacket+1)
	for {
		n, from, err := s.transport.Receive(buf)
		switch {
		case err == nil:
			s.hear(buf[:n], from)
			continue
		case errors.Is(err, net.ErrClosed):
			return err
		}
		s.receiveFailed.Add(1)
		if s.options.Failed != nil {
			s.options.Failed(fmt.Errorf("receive: %w", err))
		}
		retry := time.NewTimer(receiveRetry)
		select {
		case <-retry.C:
		case <-s.done: // Close comes next
			retry.Stop()
		}
	}
}

// hear judges a packet and passes it on.
func (s *Station) hear(packet []byte, from Origin) {
	s.received.Add(1)
	m, err := parse(packet)
	if err == nil && s.key != nil {
		err = s.key.check(packet, &m)
	}
	if err != nil {
		s.ignored(from, err)
		return
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, member := range s.members {
		if err := member.heard(&m, from); err != nil {
			s.ignored(from, err)
		}
	}
}

func (s *Station) ignored(from Origin, err error) {
	switch {
	case errors.Is(err, ErrMalformed):
		s.malformed.Add(1)
	case errors.Is(err, ErrVersion):
		s.otherVersion.Add(1)
	case errors.Is(err, ErrUnsigned):
		s.unsigned.Add(1)
	case errors.Is(err, ErrForged):
		s.forgery.Add(1)
	}
	if s.options.Ignored != nil {
		s.options.Ignored(from, err)
	}
}

// join has m told of messages until leave is called. It is not ok if the Station has ended.
func (s *Station) join(m member) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	s.members = append(s.members, m)
	s.present.Add(1)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := slices.Index(s.members, m)
		s.members = slices.Delete(s.members, i, i+1)
		s.present.Done()
	}, true
}

// begin returns the start of a packet, dated now.
func (s *Station) begin(k kind, id ID, sequence uint64) []byte {
	return appendHeader(make([]byte, 0, MaxPacket), k, id, sequence, s.now())
}

// now returns the time in a packet's terms.
func (s *Station) now() int64 { return min(max(s.options.Now().UnixMilli(), 0), maxSent) }

// send completes and sends a packet. Whoever sends does so again later, so a failure is only told.
func (s *Station) send(packet []byte) {
	s.sent.Add(1)
	if err := s.transport.Send(finish(packet, s.key)); err != nil {
		s.sendFailed.Add(1)
		if s.options.Failed != nil {
			s.options.Failed(fmt.Errorf("send: %w", err))
		}
	}
}

// StationStats count packets since the Station was made.
type StationStats struct {
	Sent, SendFailed         int64 // SendFailed of Sent failed on at least one interface
	Received, ReceiveFailed  int64 // Received includes what was ignored
	Malformed, OtherVersions int64 // see ErrMalformed and ErrVersion
	Unsigned, Forged         int64 // see ErrUnsigned and ErrForged
}

// Stats returns what has been counted.
func (s *Station) Stats() StationStats {
	return StationStats{
		Sent: s.sent.Load(), SendFailed: s.sendFailed.Load(),
		Received: s.received.Load(), ReceiveFailed: s.receiveFailed.Load(),
		Malformed: s.malformed.Load(), OtherVersions: s.otherVersion.Load(),
		Unsigned: s.unsigned.Load(), Forged: s.forgery.Load(),
	}
}
