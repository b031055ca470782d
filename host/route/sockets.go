package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/datagram"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

const (
	// socketBatch is how many datagrams a hub receives in one call. Each has room for the longest datagram; most of that
	// memory is never written to, so the system need not provide it.
	socketBatch = 128
	// flowBatch is the same for the upstream socket of a flow. It is small because there are many flows.
	flowBatch = 1

	longestDatagram = 1 << 16

	// readAgainAfter is the pause after a socket failed to receive.
	readAgainAfter = 100 * time.Millisecond
)

// sockets makes one or two sockets a relay.Datagrams: it receives from in and sends through out, which may be the same.
type sockets struct {
	route     *Route
	in        *datagram.Conn
	out       *datagram.Conn // nil: nothing is sent
	admission endpoint.Admission

	arrived []datagram.Datagram
	release func() // releases the memory of arrived
	leaving []datagram.Datagram
	results []error // of the frames in the last batch that Send has not reported yet

	ctx   context.Context
	end   context.CancelFunc
	close sync.Once
}

func newSockets(r *Route, batch int) *sockets {
	s := &sockets{route: r}
	s.arrived, s.release = r.datagramBuffers(batch)
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

// datagramBuffers returns buffers for batch datagrams, or for as many as fit into a sixteenth of limits.memory if that is
// fewer, but for at least one. Their memory is charged to the route until release is called.
func (r *Route) datagramBuffers(batch int) (arrived []datagram.Datagram, release func()) {
	if limit := r.shared.MemoryLimit; limit > 0 {
		batch = max(1, min(batch, int(limit/16/longestDatagram)))
	}
	memory := make([]byte, batch*longestDatagram)
	arrived = make([]datagram.Datagram, batch)
	for i := range arrived {
		arrived[i].Payload = memory[i*longestDatagram : i*longestDatagram : (i+1)*longestDatagram]
	}
	return arrived, r.memory.Charge(int64(len(memory)))
}

// Receive implements relay.Datagrams.
func (s *sockets) Receive(into []relay.Datagram) (int, error) {
	for {
		n, err := s.in.ReadBatch(s.arrived[:min(len(into), len(s.arrived))])
		if errors.Is(err, net.ErrClosed) {
			return 0, err
		}
		if err != nil {
			s.route.failures.Log(s.route.log.Warn, "datagrams could not be received", "error", err)
			if !pause(s.ctx, readAgainAfter) {
				return 0, net.ErrClosed
			}
			continue
		}
		taken := 0
		for i := range s.arrived[:n] {
			d := &s.arrived[i]
			if !s.route.admits(&s.admission, d) {
				continue
			}
			into[taken] = relay.Datagram{Bytes: d.Payload, Source: d.Remote, Interface: d.Interface, Own: isEcho(d)}
			taken++
		}
		if taken > 0 {
			return taken, nil
		}
	}
}

// isEcho reports whether d is a broadcast or multicast that this host sent. Unicast from this host does not count: one route
// sends it to another on purpose.
func isEcho(d *datagram.Datagram) bool { return d.Own && d.Cast != datagram.Unicast }

// admits reports whether the address that sent d may send. If not, it counts and logs the refusal.
func (r *Route) admits(a *endpoint.Admission, d *datagram.Datagram) bool {
	why := a.Denies(d.Remote.Addr())
	if why == "" {
		return true
	}
	r.mu.Lock()
	r.refused++
	r.mu.Unlock()
	r.refusals.Log(r.log.Warn, "datagram refused", "source", d.Remote, "reason", string(relay.Refused), "why", why)
	return false
}

// Send implements relay.Datagrams. The first call sends all frames in one batch and returns at the first that failed. Each
// further call, with the frames after the failed one, sends nothing and returns at the next failure of that batch.
func (s *sockets) Send(frames [][]byte) (int, error) {
	if len(s.results) == 0 {
		s.leaving = s.leaving[:0]
		for _, frame := range frames {
			s.leaving = append(s.leaving, datagram.Datagram{Payload: frame})
		}
		err := s.out.WriteBatch(s.leaving)
		for i := range s.leaving {
			s.results = append(s.results, s.leaving[i].Err)
		}
		clear(s.leaving)
		if err != nil {
			return 0, err
		}
	}
	for i, err := range s.results {
		if err != nil {
			s.results = s.results[i+1:]
			return i, fmt.Errorf("%w: %w", relay.ErrNotSent, err)
		}
	}
	n := len(s.results)
	s.results = s.results[:0]
	return n, nil
}

// Close implements relay.Datagrams.
func (s *sockets) Close() error {
	var err error
	s.close.Do(func() {
		s.end()
		s.release()
		if s.in != nil {
			err = s.in.Close()
		}
		if s.out != nil && s.out != s.in {
			err = errors.Join(err, s.out.Close())
		}
	})
	return err
}

func (s *sockets) status(name string) *control.DatagramStatus {
	status := &control.DatagramStatus{Endpoint: name}
	addSocket(status, s.in)
	if s.out != s.in {
		addSocket(status, s.out)
	}
	return status
}

// addSocket adds the counts of c, which may be nil, to s.
func addSocket(s *control.DatagramStatus, c *datagram.Conn) {
	if c == nil {
		return
	}
	stats := c.Stats()
	s.DroppedBySystem += stats.Dropped
	s.Truncated += stats.Truncated
	s.Elsewhere += stats.Elsewhere
	s.Strangers += stats.Strangers
	s.CopiesSent += stats.Sent
	s.CopiesNotSent += stats.Unsent
}

// listenDatagrams opens a UDP listener.
func (r *Route) listenDatagrams(ctx context.Context, e *config.Endpoint, address string, exclusive bool) (*datagram.Conn, error) {
	options, err := r.datagramOptions(e)
	if err != nil {
		return nil, err
	}
	options.Groups, options.Exclusive = e.UDP.Groups, exclusive
	return datagram.Listen(ctx, address, options)
}

// dialDatagrams opens a UDP endpoint that sends.
func (r *Route) dialDatagrams(ctx context.Context, e *config.Endpoint) (*datagram.Conn, error) {
	options, err := r.datagramOptions(e)
	if err != nil {
		return nil, err
	}
	options.TTL = e.UDP.TTL
	return datagram.Dial(ctx, e.Dial.HostPort(), options)
}

func (r *Route) datagramOptions(e *config.Endpoint) (datagram.Options, error) {
	interfaces, err := r.shared.Interfaces.Watcher()
	if err != nil {
		return datagram.Options{}, err
	}
	log := r.log.With("endpoint", describe(e))
	return datagram.Options{
		Interfaces: e.UDP.Interfaces, ReceiveBuffer: int(e.UDP.ReceiveBuffer), Watch: interfaces, Origins: &r.shared.origins,
		Truncated: func(from netip.AddrPort, size, room int) {
			r.cuts.Log(log.Warn, "datagram dropped: the kernel has truncated it", "source", from, "bytes", size, "room", room)
		},
		SendFailed: func(to netip.AddrPort, err error) {
			switch {
			case err == nil && to.IsValid():
				log.Info("datagrams are sent again", "to", to)
			case err == nil:
				log.Info("datagrams are sent again")
			case to.IsValid():
				log.Warn("datagrams are not sent", "to", to, "error", err)
			default:
				log.Warn("datagrams are not sent", "error", err)
			}
		},
		Changed: func(use datagram.Use, gone bool, err error) {
			switch {
			case err != nil:
				log.Warn("interface can't be used", "interface", use.Interface, "use", use, "error", err)
			case gone:
				log.Warn("interface is gone, or its address", "interface", use.Interface, "no_more", use)
			default:
				log.Info("interface is there", "interface", use.Interface, "now", use)
			}
		},
	}, nil
}

// withPort returns the host of a with the port that was chosen for it.
func withPort(a *config.Address, port uint16) string {
	return net.JoinHostPort(a.Host, strconv.Itoa(int(port)))
}
