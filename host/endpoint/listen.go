package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync"
	"syscall"
	"time"
)

// ListenOptions are ready as their zero value.
type ListenOptions struct {
	// Mode is the permissions of a Unix socket's file: a user with write permission may connect. The file never has wider
	// permissions, not even while Listen creates it. 0: the process's umask decides. Any other value is an error for tcp and
	// on Windows.
	Mode fs.FileMode
	// Keepalive applies to each connection.
	Keepalive Keepalive
	// Admission decides which connections are accepted.
	Admission Admission
	// Refused, unless nil, is called with each connection that Admission refused, after its reset, and with the reason.
	Refused func(remote net.Addr, reason string)
	// AcceptFailed, unless nil, is called when the system fails to accept a connection, for example because no descriptors
	// are left. Accept tries again after wait.
	AcceptFailed func(err error, wait time.Duration)
}

// A Listener accepts connections.
type Listener struct {
	addr    Address
	options ListenOptions
	socket  listenSocket
	waiting sync.RWMutex // read-locked by each Accept that waits for the socket
	closed  chan struct{}
	end     sync.Once
	endErr  error
}

// listenSocket is what *net.TCPListener and *unixListener have in common. Close frees the address.
type listenSocket interface {
	net.Listener
	syscall.Conn
	SetDeadline(time.Time) error
}

// Listen listens on addr. An error begins with "listen " and the URL of addr. ctx limits Listen alone, not the Listener.
//
// tcp: an empty host means all addresses, IPv4 and IPv6. Port 0 means a free port.
//
// unix: if the file is a socket without a listening process, left by a process that crashed, Listen replaces it. To find
// out, Listen connects to the socket. It is an error if a process listens there, if the file is not a socket, or if Listen
// can't find out. Close removes the file, unless another file has replaced it. Processes that start at the same time don't
// remove each other's sockets.
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

// Addr returns the address that l listens on. If port 0 was asked for, Addr has the port that the system chose.
func (l *Listener) Addr() Address { return l.addr }

// Accept waits for a connection that the Admission accepts, and returns it. Meanwhile Accept removes refused connections
// from the backlog. If the system fails to accept, Accept tries again after 5 milliseconds; the wait doubles with each
// further failure, up to one second. The only error is net.ErrClosed, after Close or Transfer. Accept is safe for
// concurrent use.
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
	case <-l.closed: // after Transfer, the socket belongs to another Listener
		return nil, net.ErrClosed
	default:
	}
	nc, err := l.socket.Accept()
	if err != nil {
		select {
		case <-l.closed: // err comes from the deadline that Transfer set, or from the shutdown in Close
			return nil, net.ErrClosed
		default:
		}
	}
	return nc, err
}

// Transfer ends l and returns a new Listener with the same socket and other options. The socket goes on listening, so no
// connection is refused; the new Listener accepts those that l has not accepted. If options.Mode is not 0 and differs from
// that of l, the socket's file gets it. If that fails, Transfer returns the error and a Listener that works. After Close,
// Transfer returns nil and net.ErrClosed.
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
		err = l.socket.(*unixListener).chmod(options.Mode) // only a Unix socket has a mode
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
	if err != nil { // only for a closed socket, and s is not shared yet
		leave()
		_ = s.Close()
		return nil
	}
	c.limits = l.options.Admission.Limit
	return c
}

// Close ends listening: Accept returns net.ErrClosed. Accepted connections go on; connections in the backlog are reset.
// Further calls do nothing and return the result of the first call.
func (l *Listener) Close() error {
	l.end.Do(func() {
		close(l.closed)
		stopListening(l.socket)
		l.endErr = bare(l.socket.Close())
	})
	return l.endErr
}
