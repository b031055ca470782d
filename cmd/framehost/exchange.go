package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// A halfCloser is a connection that can end one of its directions.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// An exchange sends payloads on a connection, which it owns. It prints the replies that arrive meanwhile and afterwards.
type exchange struct {
	conn    halfCloser
	peer    string        // its address
	timeout time.Duration // 0: none
	sent    atomic.Bool   // everything was sent
}

// run sends the payloads that encode writes, encoded with out, and prints the replies, decoded with back. It returns when both directions
// have ended, or with the error that ended them early. It also prints a reply that arrives after sending has failed.
func (x *exchange) run(parent context.Context, encode encodeFunc, out, back *namedCodec, stdout io.Writer) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	defer x.conn.Close()
	defer context.AfterFunc(ctx, x.abort)()
	sending := make(chan error, 1)
	go func() {
		err := x.send(ctx, encode, out)
		if errors.As(err, new(*payloadFault)) {
			cancel(err) // the peer must not mistake a part for everything
		}
		sending <- err
	}()
	received := x.receive(ctx, back, stdout)
	if received != nil {
		cancel(received)
	}
	sent := <-sending
	switch {
	case parent.Err() != nil:
		return failed(parent.Err())
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		return sent
	}
}

// abort wakes reads and writes. It resets the connection if the transport can, so that the peer sees no clean end.
func (x *exchange) abort() {
	if tcp, ok := x.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails for closed connections only
	}
	_ = x.conn.Close()
}

func (x *exchange) send(ctx context.Context, encode encodeFunc, codec *namedCodec) error {
	w := newFrameWriter(x, codec)
	defer w.close()
	if err := encode(ctx, w); err != nil {
		return err
	}
	if err := x.conn.CloseWrite(); err != nil {
		return failed(err)
	}
	x.sent.Store(true)
	x.allowRead()
	return nil
}

func (x *exchange) receive(ctx context.Context, codec *namedCodec, stdout io.Writer) error {
	w := bufio.NewWriterSize(stdout, readSize)
	r := frameReader{source: x, codec: codec, settled: w.Flush, frame: func(_ int64, payload []byte) error {
		_, _ = w.Write(payload) // the next write returns the error again
		return w.WriteByte('\n')
	}}
	err := r.run(ctx)
	if fault := (*wireFault)(nil); errors.As(err, &fault) {
		err = fmt.Errorf("reply: %w", err)
	}
	return errors.Join(faultyOrFailed(err, nil), failed(w.Flush()))
}

// Write sends p.
func (x *exchange) Write(p []byte) (int, error) {
	if x.timeout > 0 {
		_ = x.conn.SetWriteDeadline(time.Now().Add(x.timeout)) // if this fails, so does the write
	}
	n, err := x.conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%s took no byte for %s", x.peer, x.timeout)
	}
	return n, err
}

// Read reads into p. The timeout applies only after everything was sent; before that, the peer may be silent.
func (x *exchange) Read(p []byte) (int, error) {
	n, err := x.conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%s sent no byte for %s, and did not end the connection", x.peer, x.timeout)
	}
	if x.sent.Load() {
		x.allowRead()
	}
	return n, err
}

func (x *exchange) allowRead() {
	if x.timeout > 0 {
		_ = x.conn.SetReadDeadline(time.Now().Add(x.timeout)) // if this fails, so does the read
	}
}
