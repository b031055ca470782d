//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A world is framehost with all its peers.
type world struct {
	settings settings
	self     string // path of this program
	dir      string // directory of all files that chaos writes
	temp     string // the temporary directory of framehost
	file     string // its configuration
	socket   string // its control socket
	payloads *payloads
	tally    tally
	progress io.Writer
	log      *os.File // nil: the log is not kept
	routes   []*route
	fragile  []*route // routes with fragile plugins; the calm ones get no deadly payloads
	servers  []net.Listener

	// gate is read-locked to dial framehost or to ask for its status, and locked by a drain.
	gate     sync.RWMutex
	draining atomic.Bool
	process  *process
	variant  variation

	mu   sync.Mutex
	next uint64
	live map[uint64]*session
}

func newWorld(ctx context.Context, s settings, progress io.Writer) (w *world, err error) {
	w = &world{settings: s, payloads: newPayloads(s.seed), progress: progress, live: map[uint64]*session{}}
	w.tally.began = time.Now()
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if w.dir, err = os.MkdirTemp("", "chaos"); err != nil {
		return nil, err
	}
	w.temp, w.file = filepath.Join(w.dir, "temp"), filepath.Join(w.dir, "framehost.yaml")
	w.socket = filepath.Join(w.dir, "control.sock")
	if err := os.Mkdir(w.temp, 0o700); err != nil {
		return nil, err
	}
	if s.keep != "" {
		if w.log, err = os.Create(s.keep); err != nil {
			return nil, err
		}
	}
	if w.settings.programs == "" {
		w.settings.programs = w.dir
		fmt.Fprintln(progress, "building framehost")
		if err := build(ctx, w.dir); err != nil {
			return nil, err
		}
	}
	return w, w.addRoutes()
}

// addRoutes adds a route from each codec on each data plane to the next codec on the other data plane, a spare route, and the routes with
// fragile plugins.
func (w *world) addRoutes() error {
	for i := range framings {
		for k, plane := range planes {
			to, other := &framings[(i+1)%len(framings)], planes[1-k]
			r := &route{
				name: framings[i].plugin + "-" + plane,
				from: codec{&framings[i], pluginName(&framings[i], plane), plane}, to: codec{to, pluginName(to, other), other},
			}
			w.routes = append(w.routes, r)
		}
	}
	spare := *w.routes[0]
	spare.name, spare.spare = "spare", true
	w.routes = append(w.routes, &spare)
	for _, plane := range planes {
		w.fragile = append(w.fragile, &route{name: "fragile-" + plane}, &route{name: "calm-" + plane, calm: true})
	}
	for _, r := range append(w.fragile, w.routes...) {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		server, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			_ = free.Close()
			return err
		}
		r.address, r.server = free.Addr().String(), server.Addr().String()
		w.servers = append(w.servers, free, server)
	}
	for i := 0; i < len(w.servers); i += 2 { // not earlier, so that the system gives out no port twice
		_ = w.servers[i].Close()
	}
	return nil
}

func (w *world) close() {
	for _, l := range w.servers {
		_ = l.Close()
	}
	if w.process != nil {
		w.process.kill()
	}
	if w.log != nil {
		_ = w.log.Close()
	}
	_ = os.RemoveAll(w.dir)
}

// run starts framehost and all its peers, and ends them when the least numbers in the settings are reached or ctx ends.
func (w *world) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := w.begin(ctx); err != nil {
		return err
	}
	defer w.serveAll(ctx)()
	var all sync.WaitGroup
	enough, stop := context.WithCancel(ctx)
	defer stop()
	fail := func(f func(context.Context) error) {
		all.Go(func() {
			if err := f(enough); err != nil && enough.Err() == nil {
				cancel(err)
			}
		})
	}
	for i, r := range w.routes {
		if r.spare {
			continue
		}
		p := &prober{world: w, route: r}
		k := &killer{world: w, prober: p, plugin: r.from.plugin, random: rand.New(rand.NewPCG(w.settings.seed, uint64(100+i)))}
		fail(p.run)
		fail(k.run)
	}
	for i := range w.settings.sessions {
		fail(func(ctx context.Context) error { return w.visit(ctx, uint64(i)) })
	}
	for i := range 2 * len(neighbors) {
		n := neighbors[i%len(neighbors)]
		random := rand.New(rand.NewPCG(w.settings.seed, uint64(1000+i)))
		fail(func(ctx context.Context) error { return w.annoy(ctx, n, random) })
	}
	for i, r := range w.fragile {
		random := rand.New(rand.NewPCG(w.settings.seed, uint64(2000+i)))
		if !r.calm {
			fail(func(ctx context.Context) error { return w.attack(ctx, r, random) })
		}
		for range 2 {
			fail(func(ctx context.Context) error { return w.standBy(ctx, r) })
		}
	}
	err := w.conduct(enough)
	stop()
	if err != nil {
		cancel(err)
	}
	all.Wait()
	if err == nil && ctx.Err() == nil {
		err = w.drain(ctx, false)
	}
	return errors.Join(err, context.Cause(ctx))
}

// conduct reloads and drains framehost until the least numbers in the settings are reached or ctx ends.
func (w *world) conduct(ctx context.Context) error {
	random := rand.New(rand.NewPCG(w.settings.seed, 3))
	for {
		if !pause(ctx, time.Duration(300+random.IntN(1200))*time.Millisecond) {
			return context.Cause(ctx)
		}
		frames, deaths, drains := w.tally.frames.Load(), w.tally.deaths(), w.tally.drains.Load()
		fmt.Fprintf(w.progress, "%5.0f s: %d frames, %d deaths, %d reloads, %d drains\n",
			time.Since(w.tally.began).Seconds(), frames, deaths, w.tally.reloads.Load(), drains)
		if frames >= w.settings.frames && deaths >= w.settings.deaths && drains >= w.settings.drains {
			return nil
		}
		done := min(float64(frames)/float64(w.settings.frames), float64(deaths)/float64(w.settings.deaths))
		var err error
		if drains < w.settings.drains && done > float64(drains+1)/float64(w.settings.drains+1) {
			if err = w.drain(ctx, drains%2 == 0); err == nil {
				err = w.begin(ctx)
			}
		} else {
			err = w.reload()
		}
		if err != nil {
			return err
		}
	}
}

// begin starts framehost.
func (w *world) begin(ctx context.Context) (err error) {
	if err := os.WriteFile(w.file, []byte(w.configuration(w.variant)), 0o600); err != nil {
		return err
	}
	w.process, err = start(ctx, filepath.Join(w.settings.programs, "framehost"), w.file, w.socket, w.temp, w.read)
	if err == nil && w.draining.Swap(false) {
		w.gate.Unlock()
	}
	return err
}

// read checks a log line for errors that must not happen.
func (w *world) read(e entry) {
	if w.log != nil {
		_, _ = fmt.Fprintln(w.log, e.text)
	}
	switch {
	case strings.HasPrefix(e.Message, "panic: "), strings.HasPrefix(e.Message, "fatal error: "), strings.Contains(e.Message, "DATA RACE"):
		w.tally.wrong(&w.tally.alarms, "log: %s", e.text)
	case e.Reason == "codec_failed" && !strings.HasPrefix(e.Route, "fragile"):
		w.tally.wrong(&w.tally.convicted, "log: %s", e.text)
	}
}

func (w *world) reload() error {
	w.gate.RLock()
	defer w.gate.RUnlock()
	w.variant.n++
	w.variant.spare = !w.variant.spare
	if err := os.WriteFile(w.file, []byte(w.configuration(w.variant)), 0o600); err != nil {
		return err
	}
	w.tally.reloads.Add(1)
	return w.process.reload()
}

// drain ends framehost with SIGTERM. The gate stays locked until framehost has been started again. If cut is true, some sessions go on
// until framehost cuts them.
func (w *world) drain(ctx context.Context, cut bool) error {
	random := rand.New(rand.NewPCG(w.settings.seed, uint64(10+w.tally.drains.Load())))
	w.draining.Store(true) // probers and bystanders leave
	w.gate.Lock()
	for _, s := range w.sessions() { // the system resets connections that framehost has not accepted when the listener closes
		select {
		case <-s.attached:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(patience):
		}
	}
	stay := 0
	if cut {
		stay = 4 // more than one, because some of them may have sent all their frames
	}
	for _, s := range w.sessions() {
		switch {
		case stay > 0:
			stay--
			s.mood.Store(int32(stubborn))
		case random.IntN(4) == 0:
			s.mood.Store(int32(silent))
		default:
			s.mood.Store(int32(hurried))
		}
	}
	children := childrenOf(w.process.cmd.Process.Pid)
	code, err := w.process.drain()
	if err != nil {
		return err
	}
	w.tally.drains.Add(1)
	if code > 1 || code == 1 && !cut {
		w.tally.wrong(&w.tally.exits, "framehost ended with exit code %d", code)
	}
	w.process = nil
	w.lookAround(children)
	return nil
}

// lookAround checks that framehost left no files and no processes.
func (w *world) lookAround(children []int) {
	files, err := os.ReadDir(w.temp)
	if err != nil {
		w.tally.wrong(&w.tally.leftovers, "%v", err)
	}
	for _, f := range files {
		w.tally.wrong(&w.tally.leftovers, "left in the temporary directory: %s", f.Name())
	}
	for _, pid := range children {
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
			w.tally.wrong(&w.tally.leftovers, "left running: process %d, %s", pid, strings.TrimSpace(string(name)))
		}
	}
}

// childrenOf returns the numbers of the child processes of a process.
func childrenOf(pid int) (children []int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for field := range strings.FieldsSeq(string(text)) {
		var child int
		if json.Unmarshal([]byte(field), &child) == nil {
			children = append(children, child)
		}
	}
	return children
}

func (w *world) sessions() (all []*session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.live {
		all = append(all, s)
	}
	return all
}

// visit runs sessions, one at a time, until ctx ends.
func (w *world) visit(ctx context.Context, visitor uint64) error {
	random := rand.New(rand.NewPCG(w.settings.seed, 5000+visitor))
	for pause(ctx, time.Duration(random.IntN(50))*time.Millisecond) {
		s, conn := w.open(ctx, random)
		if s == nil {
			continue
		}
		s.run(context.WithoutCancel(ctx), conn)
		w.mu.Lock()
		delete(w.live, s.id)
		w.mu.Unlock()
	}
	return nil
}

// open begins a session. It returns nil if ctx has ended or if framehost refused the connection.
func (w *world) open(ctx context.Context, random *rand.Rand) (*session, net.Conn) {
	w.gate.RLock()
	defer w.gate.RUnlock()
	if ctx.Err() != nil {
		return nil, nil
	}
	r := w.routes[random.IntN(len(w.routes)-1)] // the last one is spare
	conn, err := w.dial(r)
	if err != nil {
		return nil, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	s := newSession(w, w.next, r, random)
	w.live[s.id] = s
	return s, conn
}

// dial connects to framehost. The caller has the gate read-locked, and then framehost must not refuse.
func (w *world) dial(r *route) (*net.TCPConn, error) {
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		w.tally.wrong(&w.tally.refused, "route %s: %v", r.name, err)
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// connect read-locks the gate and calls dial. After an error it pauses for 100 ms before it returns.
func (w *world) connect(ctx context.Context, r *route) (*net.TCPConn, error) {
	w.gate.RLock()
	defer w.gate.RUnlock()
	conn, err := w.dial(r)
	if err != nil {
		pause(ctx, 100*time.Millisecond)
	}
	return conn, err
}

// serveAll accepts the connections that framehost makes. stop ends all servers.
func (w *world) serveAll(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for i, r := range append(w.fragile, w.routes...) {
		serve := func(conn net.Conn) { w.serve(ctx, r, conn) }
		if i < len(w.fragile) {
			serve = func(conn net.Conn) { echo(ctx, conn) }
		}
		l := w.servers[2*i+1]
		all.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				all.Go(func() { serve(conn) })
			}
		})
	}
	return func() {
		cancel()
		for _, l := range w.servers {
			_ = l.Close()
		}
		all.Wait()
	}
}

// serve serves a connection according to its first payload.
func (w *world) serve(ctx context.Context, r *route, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	reader := bufio.NewReaderSize(conn, 32<<10)
	first, err := r.to.read(reader)
	if err != nil {
		return
	}
	id, letter, ok := sessionOf(first)
	switch {
	case !ok:
	case letter == probeLetter:
		for err == nil {
			if _, err = conn.Write(r.to.append(nil, first)); err == nil {
				first, err = r.to.read(reader)
			}
		}
		if errors.Is(err, io.EOF) {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
	case letter == deafLetter:
		pause(ctx, deafTime)
	default:
		w.mu.Lock()
		s := w.live[id]
		w.mu.Unlock()
		if s != nil {
			s.serve(ctx, conn, reader, first)
		}
	}
}

// echo sends back everything that it receives.
func echo(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := io.Copy(conn, conn); err == nil {
		_ = conn.(*net.TCPConn).CloseWrite()
	}
}
