package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/framehost/framehost/codecs/codeccall"
)

// A demoPeer is one end of a connection to the relay. It records the bytes on its wire. The two ends take turns, so the bytes since the
// last string are the frame of the next string.
type demoPeer struct {
	who     string
	conn    *net.TCPConn
	writer  *frameWriter
	written bytes.Buffer
	heard   chan demoFrame
	ended   error // how listen ended; set when heard is closed
	work    sync.WaitGroup
}

// A demoFrame is a string and its bytes on a wire.
type demoFrame struct {
	payload string
	wire    []byte
}

// newDemoPeer returns a peer that owns conn. The caller closes the peer. The end of ctx closes conn.
func newDemoPeer(ctx context.Context, who string, conn net.Conn, codec codeccall.Codec) *demoPeer {
	p := &demoPeer{who: who, conn: conn.(*net.TCPConn), heard: make(chan demoFrame, 1)} // the demo only has TCP
	p.writer = newFrameWriter(io.MultiWriter(conn, &p.written), codec)
	p.work.Go(func() { p.listen(ctx, codec) })
	return p
}

func (p *demoPeer) close() {
	_ = p.conn.Close()
	p.work.Wait()
	p.writer.close()
}

// listen decodes what arrives until the other side ends its direction.
func (p *demoPeer) listen(ctx context.Context, codec codeccall.Codec) {
	defer close(p.heard)
	defer context.AfterFunc(ctx, func() { _ = p.conn.Close() })()
	var received bytes.Buffer
	r := frameReader{source: io.TeeReader(p.conn, &received), codec: codec, frame: func(_ int64, payload []byte) error {
		frame := demoFrame{string(payload), slices.Clone(received.Bytes())}
		received.Reset()
		select {
		case p.heard <- frame:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	p.ended = r.run(ctx)
}

// say sends one string.
func (p *demoPeer) say(ctx context.Context, payload string) (demoFrame, error) {
	var batch payloads
	batch.add([]byte(payload))
	if err := p.writer.write(ctx, &batch); err != nil {
		return demoFrame{}, fmt.Errorf("%s sends %q: %w", p.who, payload, err)
	}
	frame := demoFrame{payload, slices.Clone(p.written.Bytes())}
	p.written.Reset()
	return frame, nil
}

// hear waits for one string.
func (p *demoPeer) hear(ctx context.Context) (demoFrame, error) {
	select {
	case frame, ok := <-p.heard:
		if !ok {
			return frame, fmt.Errorf("%s: the connection ended: %w", p.who, errOrEnd(p.ended))
		}
		return frame, nil
	case <-ctx.Done():
		return demoFrame{}, fmt.Errorf("%s: nothing arrived: %w", p.who, ctx.Err())
	}
}

func errOrEnd(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// hang ends this side's direction of the connection.
func (p *demoPeer) hang(ctx context.Context) error {
	return errors.Join(p.writer.end(ctx), p.conn.CloseWrite())
}

// end waits for the clean end of the other side's direction.
func (p *demoPeer) end(ctx context.Context) error {
	select {
	case frame, ok := <-p.heard:
		if ok {
			return fmt.Errorf("%s: got %q, want the end", p.who, frame.payload)
		}
		return p.ended
	case <-ctx.Done():
		return fmt.Errorf("%s: the end did not arrive: %w", p.who, ctx.Err())
	}
}
