//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A pinging is the traffic of a load of kind ping: one frame at a time on each connection.
type pinging struct {
	*traffic
	pingers  []pinger
	measured atomic.Bool // whether frames that arrive now count
	stopped  atomic.Bool
	arrived  atomic.Int64 // frames
}

// A pinger is a connection with its current frame. Payloads begin with its index in pingers.
type pinger struct {
	arrived chan struct{}

	mu      sync.Mutex
	due     bool // whether a payload was sent and has not arrived
	payload []byte
	sent    time.Time
	took    []time.Duration
}

// indexDigits is the number of digits of the index at the beginning of a payload.
const indexDigits = 4

func runPing(t *traffic) (r result, err error) {
	p := &pinging{traffic: t, pingers: make([]pinger, t.Conns)}
	for i := range p.pingers {
		payload := newPayload(&t.load, 0)
		copy(payload, fmt.Sprintf("%0*d", indexDigits, i))
		p.pingers[i].payload = payload
		p.pingers[i].arrived = make(chan struct{}, 1)
	}
	go t.accept(p.read)
	conns, err := t.dial()
	if err != nil {
		return r, err
	}
	var sending sync.WaitGroup
	for i, conn := range conns {
		sending.Go(func() {
			if err := p.send(&p.pingers[i], conn); err != nil {
				t.failed(fmt.Errorf("sender: %w", err))
			}
		})
	}
	if err := t.pass(t.Warmup); err != nil {
		return r, err
	}
	p.measured.Store(true)
	r, err = t.observe(func() float64 { return float64(p.arrived.Load()) })
	p.measured.Store(false)
	if err != nil {
		return r, err
	}
	p.stopped.Store(true)
	ended := make(chan struct{})
	go func() {
		sending.Wait()
		close(ended)
	}()
	if err := t.await(ended, func() error { return fmt.Errorf("a frame has not arrived after %v", patience) }); err != nil {
		return r, err
	}
	return r, p.latencies(&r)
}

// send sends frames, each after the previous one has arrived.
func (p *pinging) send(g *pinger, conn *net.TCPConn) error {
	var line []byte
	for number := 0; !p.stopped.Load(); number++ {
		g.mu.Lock()
		setNumber(g.payload, number)
		line = appendLine(line[:0], g.payload, p.Escaped)
		g.due, g.sent = true, time.Now()
		g.mu.Unlock()
		if _, err := conn.Write(line); err != nil {
			return err
		}
		select {
		case <-g.arrived:
		case <-p.ctx.Done():
			return nil
		}
	}
	return conn.CloseWrite()
}

func (p *pinging) read(conn net.Conn) error {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, headerSize+p.Size)
	for {
		if err := readHeader(r, p.Size); err != nil {
			if p.stopped.Load() {
				return nil
			}
			return fmt.Errorf("after a frame: %w", err)
		}
		payload, err := r.Peek(p.Size)
		if err != nil {
			return fmt.Errorf("the stream ended inside a frame: %w", err)
		}
		now := time.Now()
		index, err := strconv.Atoi(string(payload[:indexDigits]))
		if err != nil || index >= len(p.pingers) {
			return fmt.Errorf("corrupt frame: got %.100q, want a number below %d first", payload, len(p.pingers))
		}
		if err := p.pingers[index].arrive(payload, now, p.measured.Load()); err != nil {
			return err
		}
		_, _ = r.Discard(p.Size) // can't fail: the bytes are buffered
		p.arrived.Add(1)
	}
}

// arrive compares a payload with the payload that is due.
func (g *pinger) arrive(payload []byte, now time.Time, measured bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.due || !bytes.Equal(payload, g.payload) {
		return fmt.Errorf("corrupt frame: got %q, want %q once", payload, g.payload)
	}
	g.due = false
	if measured {
		g.took = append(g.took, now.Sub(g.sent))
	}
	g.arrived <- struct{}{} // never blocks, since only one payload is due
	return nil
}

// latencies adds the percentiles of all pingers to r.
func (p *pinging) latencies(r *result) error {
	var all []time.Duration
	for i := range p.pingers {
		all = append(all, p.pingers[i].took...)
	}
	if len(all) == 0 {
		return fmt.Errorf("no frame arrived in %v", p.Length)
	}
	slices.Sort(all)
	r.P50 = all[len(all)/2].Seconds()
	r.P99 = all[len(all)*99/100].Seconds()
	return nil
}
