//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"
)

// deafLetter, in place of a session's direction in a payload, makes the server read nothing more for deafTime.
const (
	deafLetter = 'n'
	deafTime   = 5 * time.Second
)

// A neighbor is a peer that misbehaves. How its own connection ends does not matter.
type neighbor struct {
	count func(*tally) *atomic.Int64
	act   func(ctx context.Context, w *world, r *route, conn *net.TCPConn, random *rand.Rand)
}

var neighbors = []neighbor{
	{func(t *tally) *atomic.Int64 { return &t.garbage }, sendGarbage},
	{func(t *tally) *atomic.Int64 { return &t.unfinished }, leaveUnfinished},
	{func(t *tally) *atomic.Int64 { return &t.deaf }, floodTheDeaf},
	{func(t *tally) *atomic.Int64 { return &t.resets }, resetAtOnce},
}

// annoy makes the neighbor connect again and again.
func (w *world) annoy(ctx context.Context, n neighbor, random *rand.Rand) error {
	for pause(ctx, time.Duration(random.IntN(200))*time.Millisecond) {
		if w.draining.Load() {
			continue
		}
		r := w.routes[random.IntN(len(w.routes)-1)]
		conn, err := w.connect(ctx, r)
		if err != nil {
			continue
		}
		n.count(&w.tally).Add(1)
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		n.act(ctx, w, r, conn, random)
		_ = conn.SetLinger(0)
		_ = conn.Close()
		stop()
	}
	return nil
}

func sendGarbage(_ context.Context, _ *world, _ *route, conn *net.TCPConn, random *rand.Rand) {
	b := make([]byte, 1+random.IntN(64<<10))
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	_, _ = conn.Write(b)
	_, _ = io.Copy(io.Discard, conn)
}

// leaveUnfinished sends 70 kB of a frame, and waits.
func leaveUnfinished(ctx context.Context, w *world, r *route, conn *net.TCPConn, random *rand.Rand) {
	wire := r.from.append(nil, bytes.Repeat([]byte("a"), 100_000))
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	_, _ = conn.Write(wire[:70_000])
	for range 10 + random.IntN(40) {
		if w.draining.Load() || !pause(ctx, 100*time.Millisecond) {
			return
		}
	}
}

// floodTheDeaf sends frames and makes the server not read them.
func floodTheDeaf(_ context.Context, w *world, r *route, conn *net.TCPConn, random *rand.Rand) {
	payload := fmt.Appendf(nil, "%016x %c %08d ", 1, deafLetter, 0)
	payload = append(payload, w.payloads.text[:random.IntN(1000)]...)
	wire := r.from.append(nil, payload)
	_ = conn.SetDeadline(time.Now().Add(deafTime))
	for !w.draining.Load() {
		if _, err := conn.Write(wire); err != nil {
			return
		}
	}
}

func resetAtOnce(_ context.Context, _ *world, r *route, conn *net.TCPConn, random *rand.Rand) {
	if random.IntN(2) == 0 {
		_, _ = conn.Write(r.from.append(nil, []byte("never mind"))[:5])
	}
}

// attack sends deadly payloads, each in a new connection.
func (w *world) attack(ctx context.Context, r *route, random *rand.Rand) error {
	for pause(ctx, time.Duration(200+random.IntN(600))*time.Millisecond) {
		if w.draining.Load() {
			continue
		}
		conn, err := w.connect(ctx, r)
		if err != nil {
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(conn, "good\n"+deadly+"\n"); err == nil {
			w.tally.deadlyPayloads.Add(1)
			_, err := io.Copy(io.Discard, conn)
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				w.tally.wrong(&w.tally.hung, "attacker on %s: not ended within %v", r.name, patience)
			}
		}
		_ = conn.Close()
	}
	return nil
}

// standBy sends lines, one at a time, on a route with a fragile plugin, and records how long each takes to come back.
func (w *world) standBy(ctx context.Context, r *route) error {
	for ctx.Err() == nil {
		conn, err := w.connect(ctx, r)
		if err != nil {
			continue
		}
		if err := w.chat(ctx, conn, r); err != nil && ctx.Err() == nil {
			w.tally.wrong(&w.tally.bystanders, "bystander on %s: %v", r.name, err)
		}
	}
	return nil
}

func (w *world) chat(ctx context.Context, conn net.Conn, route *route) error {
	list := &w.tally.attacked
	if route.calm {
		list = &w.tally.calm
	}
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	for n := 0; ctx.Err() == nil && !w.draining.Load(); n++ {
		line := fmt.Sprintf("line %d\n", n)
		sent := time.Now()
		if err := conn.SetDeadline(sent.Add(patience)); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, line); err != nil {
			return err
		}
		got, err := r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("after %d lines: %w", n, err)
		}
		if got != line {
			w.tally.wrong(&w.tally.corrupt, "bystander: got %q, want %q", got, line)
		}
		w.tally.took(list, time.Since(sent))
		pause(ctx, 2*time.Millisecond)
	}
	return hangUp(conn, r)
}
