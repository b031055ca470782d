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

// DefaultWindow is the default of [StationOptions].Window.
const DefaultWindow = 30 * time.Second

// receiveRetry is how long a Station waits after a temporary error of Receive.
const receiveRetry = 100 * time.Millisecond

// StationOptions are ready as their zero value: no key, no callbacks.
type StationOptions struct {
	// Key signs all packets that are sent. With a key, packets that are not signed with it are ignored. A key has at least
	// MinKey bytes, including the last newline of a key file. nil: no key. NewStation copies Key.
	Key []byte
	// Window is how far the time of a signed announcement may be from the local clock; 0: DefaultWindow.
	Window time.Duration
	// Now is the clock by which packets are dated and judged; nil: time.Now. Intervals and times to live do not depend
	// on it.
	Now func() time.Time
	// Ignored, unless nil, is called for each ignored packet, with the reason: an error of this package. Copies of a packet
	// that was heard before are ignored too. Ignored must not block, since nothing is received meanwhile, and must not call
	// the Station or its members.
	Ignored func(from Origin, err error)
	// Failed, unless nil, is called when the Transport fails to send or receive. The Station goes on and tries again, since
	// an interface that is down may come back. Failed may be called by several goroutines at the same time.
	Failed func(err error)
}

// A Station sends and receives for the Announcers, Browsers and Resolvers of a process. It is safe for concurrent use.
type Station struct {
	transport Transport
	options   StationOptions
	key       *key

	mu      sync.RWMutex
	members []member
	closed  bool           // no member may join any more
	present sync.WaitGroup // counts members
	done    chan struct{}  // closed when members must leave

	received, sent, receiveFailed, sendFailed  atomic.Int64
	malformed, otherVersion, unsigned, forgery atomic.Int64
}

// A member receives the messages of a Station.
type member interface {
	// heard is called by the receiving goroutine for each message. It must not block, and must not retain m or its slices.
	// An error says why the message was ignored.
	heard(m *message, from Origin) error
}

// NewStation returns a Station on transport. Run closes transport.
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

// Run receives packets until ctx is done. Then it ends the Run methods of all Announcers, Browsers and Resolvers, waits for
// them, so that goodbyes are sent, and closes the Transport. It returns the error of that Close. If the Transport was closed
// before, Run ends the members likewise and returns net.ErrClosed, wrapped. Run may be called once.
func (s *Station) Run(ctx context.Context) error {
	var err error // of receive
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

// receive receives packets until the Transport is closed.
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
		case <-s.done: // Run closes the Transport soon
			retry.Stop()
		}
	}
}

// hear parses a packet, checks its signature, and passes it to the members.
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

// join adds m as a member until leave is called. It returns false if the Station has ended.
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

// now returns the time as a packet encodes it: milliseconds since 1970, from 0 to maxSent.
func (s *Station) now() int64 { return min(max(s.options.Now().UnixMilli(), 0), maxSent) }

// send completes and sends a packet. It reports a failure to Failed only, since members send again later anyway.
func (s *Station) send(packet []byte) {
	s.sent.Add(1)
	if err := s.transport.Send(finish(packet, s.key)); err != nil {
		s.sendFailed.Add(1)
		if s.options.Failed != nil {
			s.options.Failed(fmt.Errorf("send: %w", err))
		}
	}
}

// StationStats are counts of packets since NewStation.
type StationStats struct {
	Sent, SendFailed         int64 // SendFailed: those of Sent that failed on at least one interface
	Received, ReceiveFailed  int64 // Received includes ignored packets
	Malformed, OtherVersions int64 // see ErrMalformed and ErrVersion
	Unsigned, Forged         int64 // see ErrUnsigned and ErrForged
}

// Stats returns the current counts.
func (s *Station) Stats() StationStats {
	return StationStats{
		Sent: s.sent.Load(), SendFailed: s.sendFailed.Load(),
		Received: s.received.Load(), ReceiveFailed: s.receiveFailed.Load(),
		Malformed: s.malformed.Load(), OtherVersions: s.otherVersion.Load(),
		Unsigned: s.unsigned.Load(), Forged: s.forgery.Load(),
	}
}
