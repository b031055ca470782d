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
	"sync"
	"syscall"
	"time"
)

// probeLetter, in place of a session's direction in a payload, makes the server echo the frame.
const probeLetter = 'p'

// A prober sends frames through a plugin, one at a time, and waits for each to come back.
type prober struct {
	*world
	route *route

	mu      sync.Mutex
	since   time.Time            // time of the last await
	answers chan<- time.Duration // gets the time until a frame sent after since came back; -1: not known; nil: no await is pending
}

// await measures the time from now until a frame that is sent after now has come back. It returns a channel that gets the time, or -1 if
// the connection ends first.
func (p *prober) await() <-chan time.Duration {
	answers := make(chan time.Duration, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since, p.answers = time.Now(), answers
	return answers
}

// passed records that a frame sent at sent has come back. If ok is false, no more frames will come back on the connection.
func (p *prober) passed(sent time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.answers == nil || ok && sent.Before(p.since):
		return
	case ok:
		p.answers <- time.Since(p.since)
	default:
		p.answers <- -1
	}
	p.answers = nil
}

func (p *prober) run(ctx context.Context) error {
	for ctx.Err() == nil {
		conn, err := p.connect(ctx, p.route)
		if err != nil {
			continue
		}
		err = p.converse(ctx, conn)
		p.passed(time.Time{}, false)
		if err != nil && ctx.Err() == nil {
			p.tally.wrong(&p.tally.innocents, "prober of %s: %v", p.route.name, err)
		}
	}
	return nil
}

// converse sends frames until ctx ends or the host begins to drain.
func (p *prober) converse(ctx context.Context, conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	var payload, wire []byte
	for n := 0; ctx.Err() == nil && !p.draining.Load(); n++ {
		payload = fmt.Appendf(payload[:0], "%016x %c %08d \\\n\x1b", 0, probeLetter, n)
		wire = p.route.from.append(wire[:0], payload)
		sent := time.Now()
		if err := conn.SetDeadline(sent.Add(patience)); err != nil {
			return err
		}
		if _, err := conn.Write(wire); err != nil {
			return err
		}
		got, err := p.route.from.read(r)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, payload) {
			p.tally.wrong(&p.tally.corrupt, "prober of %s: got %q, want %q", p.route.name, got, payload)
		}
		p.passed(sent, true)
		pause(ctx, 2*time.Millisecond)
	}
	return hangUp(conn, r)
}

// hangUp ends a connection so that both ends see a clean end of the stream.
func hangUp(conn net.Conn, r io.Reader) error {
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, r)
	return err
}

// A killer kills or stops the processes of a plugin.
type killer struct {
	*world
	prober *prober
	plugin string
	random *rand.Rand
}

func (k *killer) run(ctx context.Context) error {
	for pause(ctx, time.Duration(50+k.random.IntN(600))*time.Millisecond) {
		pid := k.pid(ctx)
		if pid == 0 {
			continue
		}
		switch n := k.random.IntN(20); {
		case n < 16:
			k.measure(ctx, &k.tally.recoveries, func() bool { return k.signal(pid, syscall.SIGKILL, &k.tally.kills) })
		case n < 17:
			k.measure(ctx, &k.tally.resumes, func() bool { return k.signal(pid, syscall.SIGSTOP, &k.tally.stops) })
		case n < 19:
			if k.signal(pid, syscall.SIGSTOP, &k.tally.hiccups) {
				pause(ctx, time.Duration(k.random.IntN(300))*time.Millisecond)
				_ = syscall.Kill(pid, syscall.SIGCONT)
			}
		default:
			k.stopAtStart(ctx, pid)
		}
	}
	return nil
}

// pid returns the process number of the plugin, or 0 if it has no process or the number can't be found out now.
func (k *killer) pid(ctx context.Context) int {
	if k.draining.Load() {
		return 0
	}
	k.gate.RLock()
	defer k.gate.RUnlock()
	pid, err := k.process.pidOf(ctx, k.plugin)
	if err != nil && !errors.Is(err, context.Canceled) && ctx.Err() == nil {
		k.tally.wrong(&k.tally.hung, "%v", err)
	}
	return pid
}

// signal sends s to a process and adds 1 to count. It returns false if the process has ended.
func (k *killer) signal(pid int, s syscall.Signal, count interface{ Add(int64) int64 }) bool {
	if syscall.Kill(pid, s) != nil {
		return false
	}
	count.Add(1)
	return true
}

// measure calls end, which ends a process, and adds to list the time until the next frame has come back. If end returns false, it adds
// nothing.
func (k *killer) measure(ctx context.Context, list *[]time.Duration, end func() bool) {
	answers := k.prober.await()
	if !end() {
		return
	}
	select {
	case took := <-answers:
		if took >= 0 {
			k.tally.took(list, took)
		}
	case <-ctx.Done():
	}
}

// stopAtStart kills the process, stops the next one while it comes up, and kills that a little later.
func (k *killer) stopAtStart(ctx context.Context, pid int) {
	if !k.signal(pid, syscall.SIGKILL, &k.tally.kills) {
		return
	}
	for range 200 {
		next := k.pid(ctx)
		if next != 0 && next != pid {
			if k.signal(next, syscall.SIGSTOP, &k.tally.stopsAtStart) {
				pause(ctx, 300*time.Millisecond)
				_ = syscall.Kill(next, syscall.SIGKILL)
			}
			return
		}
		if !pause(ctx, 10*time.Millisecond) {
			return
		}
	}
}
