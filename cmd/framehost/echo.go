package main

import (
	"context"
	"io"
	"net"
	"sync"
)

// An echo is a TCP server that sends back all bytes that it receives. It ends its direction when the client has ended its own. It is the
// upstream of the embedded default configuration.
type echo struct {
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
}

// startEcho listens on address, HOST:PORT. The caller closes the echo.
func startEcho(ctx context.Context, address string) (*echo, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	e := &echo{listener: listener, conns: map[net.Conn]struct{}{}}
	e.work.Go(e.accept)
	return e, nil
}

func (e *echo) accept() {
	for {
		conn, err := e.listener.Accept()
		if err != nil {
			return
		}
		if e.add(conn) {
			e.work.Go(func() { e.serve(conn) })
		}
	}
}

// add registers conn, or closes it if the echo is ending.
func (e *echo) add(conn net.Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		_ = conn.Close()
		return false
	}
	e.conns[conn] = struct{}{}
	return true
}

func (e *echo) serve(conn net.Conn) {
	_, _ = io.Copy(conn, conn) // the peer notices errors of the connection itself
	_ = conn.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, conn)
}

// close closes the listener and all connections.
func (e *echo) close() {
	e.mu.Lock()
	e.closed = true
	_ = e.listener.Close()
	for conn := range e.conns {
		_ = conn.Close()
	}
	e.mu.Unlock()
	e.work.Wait()
}
