package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/pluginproc"
)

// The test binary serves two codecs of its own as built-in plugins: line ends each payload with LF, long begins each frame
// with the length in four bytes.
type noOptions struct{}

type line struct{}

func (line) MaxWire(maxFrame int) int { return maxFrame + 1 }

func (line) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	begin, from := 0, in.Examined
	for {
		i := bytes.IndexByte(in.Bytes[from:], '\n')
		if i < 0 {
			out.SetExamined(len(in.Bytes))
			if in.EOF && begin < len(in.Bytes) {
				return begin, &codecs.Fault{Offset: begin, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: "LF", Resume: len(in.Bytes)}
			}
			return begin, nil
		}
		if in.Bytes[begin] == '!' { // lets tests cause a violation
			return begin, &codecs.Fault{Offset: begin, At: begin, Err: codecs.ErrMalformed, Want: "no !", Resume: from + i + 1}
		}
		if in.Bytes[begin] == '*' { // lets tests crash the plugin process
			os.Exit(3)
		}
		if err := out.Refer(begin, from+i); err != nil {
			return begin, err
		}
		begin, from = from+i+1, from+i+1
	}
}

func (line) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	for i := range in.Len() {
		payload := in.At(i)
		b, err := out.Grow(len(payload) + 1)
		if err != nil {
			return i, err
		}
		if err := out.Commit(append(append(b, payload...), '\n')); err != nil {
			return i, err
		}
	}
	return in.Len(), nil
}

func splitLong(data []byte, _ bool) (int, []byte, error) {
	if len(data) < 4 {
		return 0, nil, nil
	}
	n := int(binary.BigEndian.Uint32(data))
	if len(data) < 4+n {
		return 0, nil, nil
	}
	return 4 + n, data[4 : 4+n], nil
}

func appendLong(dst, payload []byte) ([]byte, error) {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(payload))), payload...), nil
}

// stateful is line, but claims that frames depend on earlier ones.
type stateful struct{ line }

func (stateful) UsesState() bool { return true }

var testCodecs = map[string]codecs.Codec{
	"line": codecs.New(codecs.Info{Name: "line", Version: "1.0.0"}, noOptions{},
		func(*noOptions, int) (codecs.Framing, error) { return line{}, nil }),
	"state": codecs.New(codecs.Info{Name: "state", Version: "1.0.0"}, noOptions{},
		func(*noOptions, int) (codecs.Framing, error) { return stateful{}, nil }),
	"long": codecs.New(codecs.Info{Name: "long", Version: "1.0.0"}, noOptions{},
		func(*noOptions, int) (codecs.Framing, error) {
			return codecs.FromFuncs(codecs.Funcs{Split: splitLong, Append: appendLong, Overhead: 4}), nil
		}),
}

func TestMain(m *testing.M) {
	pluginproc.ServeIfAsked(func(name string) (codecs.Codec, bool) {
		c, ok := testCodecs[name]
		return c, ok
	})
	os.Exit(m.Run())
}

// parse reads a configuration with the test codecs built in.
func parse(t *testing.T, yaml string) *config.Config {
	t.Helper()
	const head = "codecs: [{name: line, plugin: line}, {name: long, plugin: long}, {name: short, plugin: line, max_frame: 10B}]\n"
	c, err := config.Parse("test.yaml", "yaml", []byte(head+yaml), config.LoadOptions{Builtin: []string{"line", "long"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func start(t *testing.T, yaml string) *Host {
	t.Helper()
	return startWith(t, yaml, Options{})
}

func startWith(t *testing.T, yaml string, options Options) *Host {
	t.Helper()
	h, err := Start(t.Context(), parse(t, yaml), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil && !errors.Is(err, control.ErrCut) {
			t.Error(err)
		}
	})
	return h
}

// upstream is a server whose connections the test accepts.
type upstream struct {
	t *testing.T
	net.Listener
}

func listenUpstream(t *testing.T) upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return upstream{t, l}
}

func (u upstream) accept() *net.TCPConn {
	u.t.Helper()
	_ = u.Listener.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	c, err := u.Accept()
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// freePort returns a TCP port on which nothing listens at present.
func freePort(t *testing.T) string {
	t.Helper()
	l, port := listenElsewhere(t)
	l.Close()
	return port
}

// listenElsewhere listens on a port of 127.0.0.1. The port is free as soon as the listener is closed. With a net.Listener it
// would not be free while a plugin is being started.
func listenElsewhere(t *testing.T) (l *endpoint.Listener, port string) {
	t.Helper()
	l, err := endpoint.Listen(t.Context(), endpoint.Address{Network: "tcp", Address: "127.0.0.1:0"}, endpoint.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, err = net.SplitHostPort(l.Addr().Address)
	if err != nil {
		t.Fatal(err)
	}
	return l, port
}

func dialRoute(t *testing.T, h *Host, route string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", h.Addr(route).Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

func send(t *testing.T, c net.Conn, wire string) {
	t.Helper()
	if _, err := io.WriteString(c, wire); err != nil {
		t.Fatal(err)
	}
}

// expect reads as many bytes as want has, and expects them to be want.
func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c, got)
	if err != nil || string(got) != want {
		t.Fatalf("got %q (%v), want %q", got[:n], err, want)
	}
}

func expectEnd(t *testing.T, c net.Conn, want error) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, want) {
		t.Fatalf("got %d bytes and %v, want %v", n, err, want)
	}
}

// expectReset connects and expects a reset, which may come before the connection is complete.
func expectReset(t *testing.T, h *Host, route string) {
	t.Helper()
	c, err := net.Dial("tcp", h.Addr(route).Address)
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, want %v", err, syscall.ECONNRESET)
	}
}

func TestBothDirections(t *testing.T) { onPlanes(t, bothDirections) }

func bothDirections(t *testing.T, plane string) {
	up := listenUpstream(t)
	h := start(t, plane+fmt.Sprintf(`
routes:
  - name: r
    from: {listen: "tcp://127.0.0.1:0", codec: line}
    to:   {dial: "tcp://%s", codec: long}`, up.Addr()))
	down := dialRoute(t, h, "r")
	send(t, down, "hello\nwor")
	peer := up.accept()
	expect(t, peer, "\x00\x00\x00\x05hello")
	send(t, peer, "\x00\x00\x00\x02hi")
	expect(t, down, "hi\n")
	// The answer comes after the direction of the request has ended.
	send(t, down, "ld\n")
	if err := down.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	expect(t, peer, "\x00\x00\x00\x05world")
	expectEnd(t, peer, io.EOF)
	send(t, peer, "\x00\x00\x00\x04late")
	peer.Close()
	expect(t, down, "late\n")
	expectEnd(t, down, io.EOF)
}

// Whole frames arrive. A stream that is cut inside a frame does not end cleanly.
func TestCutInsideFrame(t *testing.T) {
	up := listenUpstream(t)
	h := start(t, fmt.Sprintf(`
routes:
  - name: r
    from: {listen: "tcp://127.0.0.1:0", codec: line}
    to:   {dial: "tcp://%s", codec: long}`, up.Addr()))
	down := dialRoute(t, h, "r")
	send(t, down, "whole\npart")
	if err := down.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	peer := up.accept()
	expect(t, peer, "\x00\x00\x00\x05whole")
	expectEnd(t, peer, syscall.ECONNRESET)
}

func TestSelect(t *testing.T) {
	up := listenUpstream(t)
	h := start(t, fmt.Sprintf(`
timeouts: {select: 100ms}
routes:
  - name: bytes
    from:
      listen: "tcp://127.0.0.1:0"
      codec: line
      select: [{starts_with: 0x0000, codec: long}]
    to: {dial: "tcp://%[1]s", codec: line}
  - name: address
    from:
      listen: "tcp://127.0.0.1:0"
      codec: line
      select: [{address: 10.0.0.0/8, codec: line}, {address: 127.0.0.0/8, codec: long}]
    to: {dial: "tcp://%[1]s", codec: line}`, up.Addr()))
	tests := []struct {
		name, route string
		sent        []string
		want        string
	}{
		{"the first bytes match, in two pieces", "bytes", []string{"\x00", "\x00\x00\x02hi"}, "hi\n"},
		{"the first byte does not match", "bytes", []string{"hi\n"}, "hi\n"},
		{"nothing is sent in time", "bytes", nil, ""},
		{"the address matches the second rule", "address", []string{"\x00\x00\x00\x02hi"}, "hi\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			down := dialRoute(t, h, test.route)
			for _, piece := range test.sent {
				send(t, down, piece)
			}
			expect(t, up.accept(), test.want)
		})
	}
}

func TestViolationPolicies(t *testing.T) { onPlanes(t, violationPolicies) }

func violationPolicies(t *testing.T, plane string) {
	up := listenUpstream(t)
	dir := filepath.Join(t.TempDir(), "kept")
	h := start(t, plane+fmt.Sprintf(`
quarantine: {dir: %q}
routes:
  - {name: close, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%[2]s", codec: long}}
  - {name: skip, on_violation: skip, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%[2]s", codec: long}}
  - {name: keep, on_violation: quarantine, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%[2]s", codec: long}}
`, dir, up.Addr()))
	for _, route := range []string{"close", "skip", "keep"} {
		down := dialRoute(t, h, route)
		send(t, down, "good\n!bad\nnext\n")
		peer := up.accept()
		expect(t, peer, "\x00\x00\x00\x04good")
		if route == "close" {
			expectEnd(t, peer, syscall.ECONNRESET)
			continue
		}
		expect(t, peer, "\x00\x00\x00\x04next")
		down.Close()
		expectEnd(t, peer, io.EOF)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*-keep-*.bin"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got files %v (%v), want one", files, err)
	}
	if kept, err := os.ReadFile(files[0]); string(kept) != "!bad\n" {
		t.Errorf("got %q (%v), want %q", kept, err, "!bad\n")
	}
}

func TestConnectFailed(t *testing.T) {
	up := listenUpstream(t)
	address := up.Addr().String()
	up.Close()
	h := start(t, fmt.Sprintf(`
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: long}}`, address))
	expectReset(t, h, "r")
	waitFor(t, h, func(s *control.Status) bool { return s.Routes[0].Closed["connect_failed"] == 1 })
}

func TestRefused(t *testing.T) {
	up := listenUpstream(t)
	h := start(t, fmt.Sprintf(`
routes:
  - {name: one, limits: {max_connections: 1}, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%[1]s", codec: long}}
  - {name: denied, from: {listen: "tcp://127.0.0.1:0", codec: line, deny: [127.0.0.0/8]}, to: {dial: "tcp://%[1]s", codec: long}}
`, up.Addr()))
	first := dialRoute(t, h, "one")
	peer := up.accept()
	expectReset(t, h, "one")
	expectReset(t, h, "denied")
	first.Close()
	peer.Close()
	waitFor(t, h, func(s *control.Status) bool {
		return s.Routes[0].Refused == 1 && s.Routes[1].Refused == 1 && s.Connections == 0
	})
}

func TestPassThrough(t *testing.T) {
	up := listenUpstream(t)
	h := start(t, fmt.Sprintf(`
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: none}, to: {dial: "tcp://%s", codec: none}}`, up.Addr()))
	down := dialRoute(t, h, "r")
	send(t, down, "any\x00bytes")
	peer := up.accept()
	expect(t, peer, "any\x00bytes")
	send(t, peer, "back")
	expect(t, down, "back")
}

// A route that dials both sides dials them again when the session ends.
func TestDialBothSides(t *testing.T) {
	a, b := listenUpstream(t), listenUpstream(t)
	h := start(t, fmt.Sprintf(`
routes:
  - name: r
    from: {dial: "tcp://%s", codec: line, reconnect: {min: 1ms, max: 10ms}}
    to:   {dial: "tcp://%s", codec: long, reconnect: {min: 1ms, max: 10ms}}`, a.Addr(), b.Addr()))
	for range 2 {
		down, peer := a.accept(), b.accept()
		send(t, down, "hi\n")
		expect(t, peer, "\x00\x00\x00\x02hi")
		down.Close()
		expectEnd(t, peer, io.EOF)
		peer.Close()
	}
	waitFor(t, h, func(s *control.Status) bool { return s.Routes[0].Closed["fin"] >= 2 })
}

// Frames received before the drain arrive, and both peers see a clean end.
func TestDrain(t *testing.T) { onPlanes(t, drainOn) }

func drainOn(t *testing.T, plane string) {
	up := listenUpstream(t)
	h, err := Start(t.Context(), parse(t, plane+fmt.Sprintf(`
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: long}}`, up.Addr())), Options{})
	if err != nil {
		t.Fatal(err)
	}
	down := dialRoute(t, h, "r")
	send(t, down, "before\n")
	peer := up.accept()
	expect(t, peer, "\x00\x00\x00\x06before")
	done := make(chan error)
	go func() { done <- h.Shutdown(context.Background()) }()
	expectEnd(t, peer, io.EOF)
	expectEnd(t, down, io.EOF)
	peer.Close()
	down.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestReload(t *testing.T) { onPlanes(t, reloadOn) }

func reloadOn(t *testing.T, plane string) {
	up := listenUpstream(t)
	config := func(routes string) string {
		return plane + "routes:\n" + strings.ReplaceAll(routes, "UP", up.Addr().String())
	}
	const kept = `  - {name: kept, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://UP", codec: long}}` + "\n"
	const gone = `  - {name: gone, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://UP", codec: long}}` + "\n"
	h := start(t, config(kept+gone))
	stays := dialRoute(t, h, "kept")
	send(t, stays, "one\n")
	peer := up.accept()
	expect(t, peer, "\x00\x00\x00\x03one")
	goes := dialRoute(t, h, "gone")
	send(t, goes, "two\n")
	other := up.accept()
	expect(t, other, "\x00\x00\x00\x03two")
	address, plugins := h.Addr("kept").Address, h.Status().Plugins

	const bad = `  - {name: bad, from: {listen: "tcp://127.0.0.1:PORT", codec: line}, to: {dial: "tcp://UP", codec: long}}`
	_, port, _ := net.SplitHostPort(up.Addr().String())
	if err := h.Reload(t.Context(), parse(t, config(strings.ReplaceAll(bad, "PORT", port)))); err == nil || !strings.Contains(err.Error(), "route bad") {
		t.Fatalf("got %v, want an error about route bad", err)
	}
	if len(h.Status().Routes) != 2 {
		t.Fatal("a reload that failed changed the routes")
	}

	const added = `  - {name: new, from: {listen: "tcp://127.0.0.1:0", codec: long}, to: {dial: "tcp://UP", codec: line}}`
	if err := h.Reload(t.Context(), parse(t, config(added+"\n"+kept))); err != nil {
		t.Fatal(err)
	}
	send(t, goes, "gone\n") // the session of a route that was removed goes on
	expect(t, other, "\x00\x00\x00\x04gone")
	send(t, stays, "three\n")
	expect(t, peer, "\x00\x00\x00\x05three")
	if got := h.Addr("kept").Address; got != address {
		t.Errorf("the route that is the same listens on %s, before on %s", got, address)
	}
	fresh := dialRoute(t, h, "new")
	send(t, fresh, "\x00\x00\x00\x04four")
	expect(t, up.accept(), "four\n")
	for i, p := range h.Status().Plugins {
		if p.PID != plugins[i].PID {
			t.Errorf("plugin %s: process %d, before %d", p.Name, p.PID, plugins[i].PID)
		}
	}
}

func TestControl(t *testing.T) {
	up := listenUpstream(t)
	socket := filepath.Join(t.TempDir(), "control.sock")
	c := parse(t, fmt.Sprintf(`
control: {socket: %q}
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: long}}`, socket, up.Addr()))
	h, err := Start(t.Context(), c, Options{Version: "v1", Control: true})
	if err != nil {
		t.Fatal(err)
	}
	down := dialRoute(t, h, "r")
	send(t, down, "hi\n")
	expect(t, up.accept(), "\x00\x00\x00\x02hi")
	status, err := control.QueryStatus(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	r := status.Routes[0]
	if status.Version != "v1" || r.Name != "r" || r.Accepted != 1 || len(r.Sessions) != 1 || r.ToUpstream.FramesIn != 1 || len(status.Plugins) != 2 {
		t.Errorf("got %+v", status)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Shutdown(ctx); !errors.Is(err, control.ErrCut) {
		t.Errorf("got %v, want %v", err, control.ErrCut)
	}
	if _, err := control.QueryStatus(t.Context(), socket); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("got %v, want that the socket does not exist", err)
	}
}

// All errors are reported together, with their places in the configuration.
func TestStartErrors(t *testing.T) {
	taken := listenUpstream(t)
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	c := parse(t, fmt.Sprintf(`
routes:
  - {name: a, from: {listen: "tcp://127.0.0.1:%s", codec: line}, to: {dial: "tcp://127.0.0.1:1", codec: long}}`, port))
	_, err := Start(t.Context(), c, Options{})
	if err == nil || !strings.Contains(err.Error(), "route a: listen tcp://127.0.0.1:"+port) {
		t.Errorf("got %v, want an error about the address of route a", err)
	}
	c.Codecs[0].Options = config.Options{}
	bad, perr := config.Parse("test.yaml", "yaml", []byte(`
codecs:
  - {name: x, plugin: line, options: {nonsense: 1}}
  - {name: y, plugin: long, options: {also: 2}}
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: x}, to: {dial: "tcp://127.0.0.1:1", codec: y}}`),
		config.LoadOptions{Builtin: []string{"line", "long"}})
	if perr != nil {
		t.Fatal(perr)
	}
	_, err = Start(t.Context(), bad, Options{})
	var errs config.Errors
	if !errors.As(err, &errs) || len(errs) != 2 || errs[0].Line != 3 || errs[1].Line != 4 {
		t.Errorf("got %v, want two errors, of lines 3 and 4", err)
	}
}

// patience is how long a test waits for an event that should happen at once. Then it fails.
const patience = time.Minute

// waitFor waits until ok returns true for the status of h.
func waitFor(t testing.TB, h *Host, ok func(*control.Status) bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !ok(h.Status()) {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("the status is still %+v", h.Status())
		}
	}
}
