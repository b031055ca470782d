//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// A flooding is the traffic of a load of kind flood. It sends block after block on all connections, and waits at the end until everything
// has arrived.
type flooding struct {
	*traffic
	block   *block
	stopped atomic.Bool
	sent    atomic.Int64 // payload bytes
	arrived atomic.Int64 // payload bytes
	sending sync.WaitGroup
	reading sync.WaitGroup
}

func runFlood(t *traffic) (r result, err error) {
	f := &flooding{traffic: t, block: newBlock(&t.load)}
	f.reading.Add(t.Conns)
	go t.accept(func(conn net.Conn) error {
		defer f.reading.Done()
		return f.read(conn)
	})
	conns, err := t.dial()
	if err != nil {
		return r, err
	}
	for _, conn := range conns {
		f.sending.Go(func() {
			if err := f.send(conn); err != nil {
				t.failed(fmt.Errorf("sender: %w", err))
			}
		})
	}
	if err := t.pass(t.Warmup); err != nil {
		return r, err
	}
	if r, err = t.observe(func() float64 { return float64(f.arrived.Load()) / float64(t.Size) }); err != nil {
		return r, err
	}
	if r.Frames == 0 {
		return r, fmt.Errorf("nothing arrived in %v", t.Length)
	}
	return r, f.finish()
}

// finish ends the streams, and returns an error if anything was lost.
func (f *flooding) finish() error {
	f.stopped.Store(true)
	ended := make(chan struct{})
	go func() {
		f.sending.Wait()
		f.reading.Wait()
		close(ended)
	}()
	err := f.await(ended, func() error {
		return fmt.Errorf("of %d payload bytes %d arrived, and then neither more nor the end", f.sent.Load(), f.arrived.Load())
	})
	if err != nil {
		return err
	}
	if sent, arrived := f.sent.Load(), f.arrived.Load(); sent != arrived {
		return fmt.Errorf("of %d payload bytes %d arrived, and then the end", sent, arrived)
	}
	return nil
}

func (f *flooding) send(conn *net.TCPConn) error {
	size := int64(len(f.block.payloads) * f.Size)
	for !f.stopped.Load() {
		f.sent.Add(size)
		if _, err := conn.Write(f.block.lines); err != nil {
			return err
		}
	}
	return conn.CloseWrite()
}

const (
	sinkBuffer  = 256 * kib
	comparedAt  = 64 * kib // bytes compared at a time, so that long payloads need no buffer of their own
	countedFrom = 64 * kib // payload bytes counted at a time: counting each payload would cost as much as reading it
)

// read reads a stream to its end, frame by frame, as any receiver would.
func (f *flooding) read(conn net.Conn) error {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, sinkBuffer)
	counted := int64(0)
	for number := 0; ; number++ {
		due := f.block.payloads[number%len(f.block.payloads)]
		if err := readHeader(r, len(due)); err != nil {
			f.arrived.Add(counted)
			if err == io.EOF {
				return nil
			}
			return fmt.Errorf("frame %d: %w", number, err)
		}
		for len(due) > 0 {
			part, err := r.Peek(min(len(due), comparedAt))
			if err != nil {
				return fmt.Errorf("frame %d: the stream ended inside: %w", number, err)
			}
			if !bytes.Equal(part, due[:len(part)]) {
				return fmt.Errorf("corrupt frame %d: got %.100q, want %.100q", number, part, due[:len(part)])
			}
			_, _ = r.Discard(len(part)) // can't fail: the bytes are buffered
			due = due[len(part):]
			if counted += int64(len(part)); counted >= countedFrom {
				f.arrived.Add(counted)
				counted = 0
			}
		}
	}
}
