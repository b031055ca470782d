//go:build unix

package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/codecs/codecrpc"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
)

const gateVariable = "GATE"

func init() {
	if len(os.Args) == 2 && os.Args[1] == "late" {
		gate, err := os.Open(os.Getenv(gateVariable)) // a FIFO: Open waits until the test opens it too
		if err != nil {
			panic(err)
		}
		gate.Close()
		codecrpc.Serve(testCodecs["line"])
		os.Exit(0)
	}
}

// A gate is the path of a FIFO at which starting plugin processes wait until it is opened.
type gate string

func newGate(t *testing.T) gate {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return gate(path)
}

func (g gate) open(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(string(g), os.O_RDWR, 0) // O_RDWR does not wait for a process, and stays open for later ones
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
}

// lateConfig returns a configuration with one route whose plugin, used by two codecs, waits at the gate, and one whose plugins
// do not.
func lateConfig(t *testing.T, g gate, start, upstream string) *config.Config {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("test.yaml", "yaml", fmt.Appendf(nil, `timeouts: {start: %s}
plugins: [{name: late, path: %q, args: [late], env: {%s: %q}}]
codecs:
  - {name: late, plugin: late}
  - {name: later, plugin: late, max_frame: 10B}
  - {name: line, plugin: line}
  - {name: long, plugin: long}
routes:
  - {name: waits, from: {listen: "tcp://127.0.0.1:0", codec: late, select: [{starts_with: "?", codec: later}]}, to: {dial: "tcp://%s", codec: long}}
  - {name: runs, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%[5]s", codec: long}}
`, start, program, gateVariable, string(g), upstream), config.LoadOptions{Builtin: []string{"line", "long"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func relaysAt(t *testing.T, up upstream, down net.Conn) {
	t.Helper()
	send(t, down, "hello\n")
	expect(t, up.accept(), "\x00\x00\x00\x05hello")
}

// A plugin that is not up in time is started again; its route listens and waits for it, and other routes relay.
func TestPluginComesUpLate(t *testing.T) {
	var book logBook
	g, up := newGate(t), listenUpstream(t)
	c := lateConfig(t, g, "2s", up.Addr().String())
	h, err := Start(t.Context(), c, Options{Logger: book.logger(hclog.Info)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Shutdown(t.Context()); err != nil && !errors.Is(err, control.ErrCut) {
			t.Error(err)
		}
	})
	relaysAt(t, up, dialRoute(t, h, "runs"))
	s := h.Status()
	if got := s.Routes[0].NotReady; !strings.Contains(got, "did not come up in time (2s)") {
		t.Errorf("route waits is not ready because of %q, want its plugin", got)
	}
	if p := s.Plugins[len(s.Plugins)-1]; p.Name != "late" || p.Up || !strings.Contains(p.LastError, "did not come up in time") {
		t.Errorf("plugin late: status %+v", p)
	}
	for _, line := range book.find(t, "plugin has not come up; it is started again, and its routes wait") {
		if line["plugin"] != "late" && line["plugin"] != "line" && line["plugin"] != "long" {
			t.Errorf("got %v", line)
		}
	}
	down := dialRoute(t, h, "waits")
	g.open(t)
	relaysAt(t, up, down)
	if got := h.Status().Routes[0].NotReady; got != "" {
		t.Errorf("route waits is not ready because of %q", got)
	}
}

// A plugin that takes longer than startTogether does not delay routes whose own plugins are up.
func TestRoutesStartMeanwhile(t *testing.T) {
	var book logBook
	g, up := newGate(t), listenUpstream(t)
	c := lateConfig(t, g, "0s", up.Addr().String())
	var h *Host
	started := make(chan error)
	go func() {
		var err error
		h, err = Start(t.Context(), c, Options{Logger: book.logger(hclog.Info)})
		started <- err
	}()
	address := ""
	for look := time.NewTicker(5 * time.Millisecond); address == ""; <-look.C {
		for _, line := range book.find(t, "route started") {
			from, _ := line["from"].(string)
			address = strings.TrimPrefix(from, "listen tcp://")
			if line["route"] != "runs" {
				t.Errorf("route %v was started before its plugin", line["route"])
			}
		}
	}
	down, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer down.Close()
	relaysAt(t, up, down)
	select {
	case err := <-started:
		t.Errorf("Start returned %v before all plugins were up", err)
	default:
	}
	g.open(t)
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	relaysAt(t, up, dialRoute(t, h, "waits"))
	if err := h.Shutdown(t.Context()); err != nil && !errors.Is(err, control.ErrCut) {
		t.Error(err)
	}
}

// A check does not wait for a second attempt, and reports an error of a plugin once, for any number of its codecs.
func TestCheckOfAPluginThatIsLate(t *testing.T) {
	c := lateConfig(t, newGate(t), "1ms", "127.0.0.1:1")
	c.Codecs = c.Codecs[:2]
	c.Routes = nil
	err := Check(t.Context(), c, nil)
	var errs config.Errors
	if !errors.As(err, &errs) || len(errs) != 1 || errs[0].Line != 4 || !strings.Contains(err.Error(), "did not come up in time (1ms)") {
		t.Errorf("got %v, want one error, of line 4", err)
	}
}
