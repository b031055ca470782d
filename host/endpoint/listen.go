package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// ListenOptions are ready as their zero value.
type ListenOptions struct {
	// Mode is who may connect to a Unix socket, as permissions of its file: those who may write. The socket never has
	// wider ones. 0: what the process's umask leaves. It is an error for tcp and on Windows.
	Mode fs.FileMode
	// Keepalive applies to each connection.
	Keepalive Keepalive
	// Admission decides which connections are accepted.
	Admission Admission
	// Refused, unless nil, is told of each connection that was refused and reset, and why.
	Refused func(remote net.Addr, reason string)
	// AcceptFailed, unless nil, is told when the system fails to accept, for want of descriptors for instance, and after
	// how long that is tried again.
	AcceptFailed func(err error, wait time.Duration)
}

// A Listener accepts connections.
type Listener struct {
	addr    Address
	options ListenOptions
	socket  listenSocket
	waiting sync.RWMutex // held for reading by each Accept that waits for the socket
	closed  chan struct{}
	end     sync.Once
	endErr  error
}

// listenSocket is what *net.TCPListener and *unixListener have in common. Close gives the address free.
type listenSocket interface {
	net.Listener
	syscall.Conn
	SetDeadline(time.Time) error
}

// Listen listens on addr. An error begins with "listen " and the URL of addr. ctx is for making the listener only.
//
// tcp: without a host, or with an empty one, it takes IPv4 and IPv6; port 0 is a free port.
//
// unix: a socket file on which nobody listens, left behind by a process that crashed, is replaced. To find out, Listen
// connects to it. It is an error if somebody listens, if it is anything but a socket, or if that can't be found out. Close
// removes the file, unless it has become another one meanwhile. Processes that start at the same time don't remove
// each other's sockets.
func Listen(ctx context.Context, addr Address, options ListenOptions) (*Listener, error) {
	l, err := listen(ctx, addr, options)
	if err != nil {
		return nil, fmt.Errorf("listen %s: %w", addr, err)
	}
	return l, nil
}

func listen(ctx context.Context, addr Address, options ListenOptions) (*Listener, error) {
	if err := addr.check(); err != nil {
		return nil, err
	}
	l := &Listener{addr: addr, options: options, closed: make(chan struct{})}
	if addr.Network == "unix" {
		s, err := listenUnix(ctx, addr.Address, options.Mode)
		if err != nil {
			return nil, bare(err)
		}
		l.socket = s
		return l, nil
	}
	if options.Mode != 0 {
		return nil, fmt.Errorf("got mode %#o, want none: only the file of a Unix socket has one", options.Mode)
	}
	config := net.ListenConfig{KeepAlive: -1} // Go's default of 15s would replace "off"
	config.SetMultipathTCP(false)
	s, err := config.Listen(ctx, "tcp", addr.Address)
	if err != nil {
		return nil, bare(err)
	}
	l.addr.Address = s.Addr().String()
	l.socket = s.(*net.TCPListener)
	return l, nil
}

// Addr returns where l listens, with the port that was chosen for port 0.
func (l *Listener) Addr() Address { return l.addr }

// Accept waits for a connection that is admitted and returns it. Connections that are refused don't end it, and are
// taken out of the backlog as long as somebody is in Accept; nor does a failing system, which is asked again after a
// wait of 5 milliseconds to one second. The only error is net.ErrClosed, after Close or Transfer. Accept may be called
// concurrently.
func (l *Listener) Accept() (*Conn, error) {
	const shortest, longest = 5 * time.Millisecond, time.Second
	wait := shortest
	for {
		nc, err := l.accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, net.ErrClosed
		}
		if err == nil {
			wait = shortest
			if c := l.admit(nc.(socket)); c != nil {
				return c, nil
			}
			continue
		}
		if l.options.AcceptFailed != nil {
			l.options.AcceptFailed(bare(err), wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.closed:
			timer.Stop()
			return nil, net.ErrClosed
		}
		wait = min(2*wait, longest)
	}
}

// accept waits for one connection.
func (l *Listener) accept() (net.Conn, error) {
	l.waiting.RLock()
	defer l.waiting.RUnlock()
	select {
	case <-l.closed: // perhaps the socket is another Listener's
		return nil, net.ErrClosed
	default:
	}
	nc, err := l.socket.Accept()
	if err != nil {
		select {
		case <-l.closed: // the deadline of Transfer, or what a socket that was shut down answers
			return nil, net.ErrClosed
		default:
		}
	}
	return nc, err
}

// Transfer ends l and returns another Listener with its socket, and other options: no connection is refused meanwhile. What
// l has not accepted comes to the other one. Where options.Mode differs the file gets it; an error is of that alone, and the
// listener is good. After Close, the error is net.ErrClosed and there is none.
func (l *Listener) Transfer(options ListenOptions) (to *Listener, err error) {
	l.end.Do(func() {
		close(l.closed)
		_ = l.socket.SetDeadline(time.Unix(1, 0)) // wakes Accept; fails only on a closed socket
		l.waiting.Lock()
		defer l.waiting.Unlock()
		_ = l.socket.SetDeadline(time.Time{})
		to = &Listener{addr: l.addr, options: options, socket: l.socket, closed: make(chan struct{})}
	})
	switch {
	case to == nil:
		return nil, net.ErrClosed
	case options.Mode != 0 && options.Mode != l.options.Mode:
		err = os.Chmod(l.addr.Address, options.Mode)
	}
	return to, err
}

// admit makes a Conn of s, or resets it and returns nil.
func (l *Listener) admit(s socket) *Conn {
	leave, reason := l.options.Admission.admit(ipOf(s.RemoteAddr()))
	if reason != "" {
		reset(s)
		if l.options.Refused != nil {
			l.options.Refused(s.RemoteAddr(), reason)
		}
		return nil
	}
	l.options.Keepalive.apply(s)
	c, err := newConn(s, leave)
	if err != nil { // s is closed, which nobody but us could have done
		leave()
		_ = s.Close()
		return nil
	}
	c.limits = l.options.Admission.Limit
	return c
}

// Close ends listening: Accept returns net.ErrClosed. Connections that were accepted go on; those that wait in the
// backlog are reset. To do it again does nothing and returns what the first call did.
func (l *Listener) Close() error {
	l.end.Do(func() {
		close(l.closed)
		stopListening(l.socket)
		l.endErr = bare(l.socket.Close())
	})
	return l.endErr
}
