//go:build unix

package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
)

// A start that fails half-way leaves nothing: no listener, no socket file, no plugin process.
func TestStartFailsHalfWay(t *testing.T) {
	taken := listenUpstream(t)
	_, takenPort, _ := net.SplitHostPort(taken.Addr().String())
	tests := []struct {
		name, second, control, want string
	}{
		{"an address is taken", `{name: b, from: {listen: "tcp://127.0.0.1:TAKEN", codec: line}, to: {dial: "tcp://127.0.0.1:1", codec: long}}`,
			"", "route b: listen tcp://127.0.0.1:TAKEN"},
		{"the control socket can't be made", `{name: b, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://127.0.0.1:1", codec: long}}`,
			"file", "control socket"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var book logBook
			dir := t.TempDir()
			port, socket := freePort(t), filepath.Join(dir, "in.sock")
			if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			control := ""
			if test.control != "" {
				control = filepath.Join(dir, test.control)
			}
			c := parse(t, fmt.Sprintf(`
control: {socket: %q}
routes:
  - {name: a, from: {listen: "tcp://127.0.0.1:%s", codec: line}, to: {dial: "tcp://127.0.0.1:1", codec: long}}
  - {name: u, from: {listen: "unix://%s", codec: line}, to: {dial: "tcp://127.0.0.1:1", codec: long}}
  - %s`, control, port, socket, strings.ReplaceAll(test.second, "TAKEN", takenPort)))
			h, err := Start(t.Context(), c, Options{Logger: book.logger(hclog.Debug), Control: control != ""})
			if want := strings.ReplaceAll(test.want, "TAKEN", takenPort); h != nil || err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("got %v, want an error about %s", err, want)
			}
			l, err := net.Listen("tcp", "127.0.0.1:"+port)
			if err != nil {
				t.Errorf("the first route still listens: %v", err)
			} else {
				l.Close()
			}
			if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket of route u: got %v, want that it does not exist", err)
			}
			expectNoProcess(t)
		})
	}
}

// A plugin that can't be started is an error with its place in the configuration, even if other plugins start.
func TestStartWithoutAPlugin(t *testing.T) {
	var book logBook
	c, err := config.Parse("test.yaml", "yaml", []byte(`
plugins: [{name: gone, path: /nonexistent/codec}]
codecs:
  - {name: x, plugin: gone}
  - {name: y, plugin: long}
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: x}, to: {dial: "tcp://127.0.0.1:1", codec: y}}`),
		config.LoadOptions{Builtin: []string{"line", "long"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), c, Options{Logger: book.logger(hclog.Debug)})
	var errs config.Errors
	if !errors.As(err, &errs) || len(errs) != 1 || errs[0].Line != 4 {
		t.Errorf("got %v, want one error, of line 4", err)
	}
	expectNoProcess(t)
}

// A start that is canceled returns an error, and leaves nothing either.
func TestStartIsCancelled(t *testing.T) {
	var book logBook
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := parse(t, `
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://127.0.0.1:1", codec: long}}`)
	if _, err := Start(ctx, c, Options{Logger: book.logger(hclog.Debug)}); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("got %v, want that it was canceled", err)
	}
	expectNoProcess(t)
}

// expectNoProcess expects that every process that this one started has ended and was waited for, even one that never came up.
func expectNoProcess(t *testing.T) {
	t.Helper()
	var status syscall.WaitStatus
	if pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		t.Errorf("a process that was started is left: got %d and %v, want %v", pid, err, syscall.ECHILD)
	}
}
