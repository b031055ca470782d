//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// runIdle opens all connections, sends one frame on each, and then measures the CPU time and memory that the idle relay uses.
func runIdle(t *traffic) (r result, err error) {
	payload := newPayload(&t.load, 0)
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
	var arrivals sync.WaitGroup
	arrivals.Add(t.Conns)
	var arrived atomic.Int64
	go t.accept(func(conn net.Conn) error {
		got := make([]byte, len(frame))
		if _, err := io.ReadFull(conn, got); err != nil {
			return err
		}
		if !bytes.Equal(got, frame) {
			return fmt.Errorf("corrupt frame: got %q, want %q", got, frame)
		}
		arrived.Add(1)
		arrivals.Done()
		return nil
	})
	conns, err := t.dial()
	if err != nil {
		return r, err
	}
	line := appendLine(nil, payload, t.Escaped)
	for _, conn := range conns {
		if _, err := conn.Write(line); err != nil {
			return r, err
		}
	}
	all := make(chan struct{})
	go func() {
		arrivals.Wait()
		close(all)
	}()
	err = t.await(all, func() error { return fmt.Errorf("of %d frames %d arrived", t.Conns, arrived.Load()) })
	if err != nil {
		return r, err
	}
	if err := t.pass(t.Warmup); err != nil { // the relay is not idle before
		return r, err
	}
	if r, err = t.observe(func() float64 { return 0 }); err != nil {
		return r, err
	}
	r.PSS, err = pssOf(t.PID)
	return r, err
}
