//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"
)

const loadRole = "load"

// A kind is a kind of load: it decides which frames are sent and what is measured.
type kind string

const (
	flood kind = "flood" // as many frames as the relay accepts
	ping  kind = "ping"  // one frame at a time on each connection
	idle  kind = "idle"  // one frame in all on each connection
)

// A load describes the traffic that a relay must carry.
type load struct {
	Kind           kind
	Conns          int
	Size           int // of a payload, in bytes
	Escapes        int // percentage of its bytes that need an escape
	Escaped        bool
	Warmup, Length time.Duration
}

// A target is the relay that a load is sent to.
type target struct {
	Address string
	PID     int
}

// A result has the figures measured in Seconds. A figure that the kind of load does not measure is zero.
type result struct {
	Seconds  float64
	Frames   float64 // frames that arrived, with the fraction of an unfinished one
	CPU      float64 // seconds of CPU time that the relay's processes used
	P50, P99 float64 // seconds from sending a frame to its arrival
	PSS      int64   // memory of the relay's processes, in bytes
}

// A loadProcess is a process that sends a load and receives it as the sink.
type loadProcess struct {
	cmd    *exec.Cmd
	in     *json.Encoder
	out    *json.Decoder
	sink   string // address where the sink listens
	cancel context.CancelFunc
}

// startLoad starts the process of a load. The load begins with measure.
func startLoad(ctx context.Context, l load) (p *loadProcess, err error) {
	settings, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	p = &loadProcess{}
	ctx, p.cancel = context.WithCancel(ctx)
	p.cmd = exec.CommandContext(ctx, self, loadRole, string(settings))
	p.cmd.Stderr = os.Stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.in, p.out = json.NewEncoder(stdin), json.NewDecoder(bufio.NewReader(stdout))
	if err := p.out.Decode(&p.sink); err != nil {
		p.end()
		return nil, fmt.Errorf("load: %w", err)
	}
	return p, nil
}

// measure sends the load to a relay. It returns when the load and all its connections have ended.
func (p *loadProcess) measure(t target) (r result, err error) {
	if err := p.in.Encode(t); err != nil {
		return r, fmt.Errorf("load: %w", err)
	}
	var a answer
	if err := p.out.Decode(&a); err != nil {
		return r, fmt.Errorf("load: %w", err)
	}
	if a.Failed != "" {
		return r, errors.New(a.Failed)
	}
	return a.Result, nil
}

// An answer is the output of a load's process.
type answer struct {
	Result result
	Failed string // why there is no result
}

func (p *loadProcess) end() {
	p.cancel()
	_ = p.cmd.Wait()
}

// runLoad is the main function of a load's process.
func runLoad(args []string) error {
	if len(args) != 1 {
		return errors.New("want its settings")
	}
	var l load
	if err := json.Unmarshal([]byte(args[0]), &l); err != nil {
		return err
	}
	sink, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(sink.Addr().String()); err != nil {
		return err
	}
	var t target
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		return err
	}
	measures := map[kind]func(*traffic) (result, error){flood: runFlood, ping: runPing, idle: runIdle}
	var a answer
	if a.Result, err = measures[l.Kind](newTraffic(l, t, sink)); err != nil {
		a.Failed = err.Error()
	}
	return out.Encode(a)
}

// A traffic is a load under way. The process ends after it, which closes everything that it opened.
type traffic struct {
	load
	target
	sink   net.Listener
	ctx    context.Context // ends with the first error, which is its cause
	failed context.CancelCauseFunc
}

func newTraffic(l load, t target, sink net.Listener) *traffic {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &traffic{load: l, target: t, sink: sink, ctx: ctx, failed: cancel}
}

// accept calls read with each accepted connection, in a new goroutine.
func (t *traffic) accept(read func(net.Conn) error) {
	for range t.Conns {
		conn, err := t.sink.Accept()
		if err != nil {
			t.failed(err)
			return
		}
		go func() {
			if err := read(conn); err != nil {
				t.failed(fmt.Errorf("sink: %w", err))
			}
		}()
	}
}

// dial opens all connections to the relay.
func (t *traffic) dial() (conns []*net.TCPConn, err error) {
	for range t.Conns {
		conn, err := net.DialTimeout("tcp", t.Address, patience)
		if err != nil {
			return nil, err
		}
		conns = append(conns, conn.(*net.TCPConn))
	}
	return conns, nil
}

// pass waits for d, or until something fails.
func (t *traffic) pass(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-t.ctx.Done():
		return context.Cause(t.ctx)
	}
}

// await waits until what is closed, or something fails. After patience, it returns the result of otherwise.
func (t *traffic) await(what <-chan struct{}, otherwise func() error) error {
	select {
	case <-what:
		return nil
	case <-t.ctx.Done():
		return context.Cause(t.ctx)
	case <-time.After(patience):
		return otherwise()
	}
}

// observe returns the frames that the relay carries, and the CPU time that it uses, during t.Length. carried counts frames.
func (t *traffic) observe(carried func() float64) (r result, err error) {
	before, err := cpuOf(t.PID)
	if err != nil {
		return r, err
	}
	began, frames := time.Now(), carried()
	if err := t.pass(t.Length); err != nil {
		return r, err
	}
	r.Seconds, r.Frames = time.Since(began).Seconds(), carried()-frames
	after, err := cpuOf(t.PID)
	if err != nil {
		return r, err
	}
	r.CPU, err = cpuBetween(before, after)
	return r, err
}
