//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is the timeout for events that should happen at once.
const patience = 30 * time.Second

// A relay is a running relay process.
type relay struct {
	address string // where it listens
	cmd     *exec.Cmd
	exited  chan struct{}
	check   func(context.Context) (string, error) // returns the data planes, and an error if anything went wrong; nil: nothing to check

	mu  sync.Mutex
	log bytes.Buffer // standard error of the process
}

// A starter starts a relay that dials upstream.
type starter func(ctx context.Context, w *row, upstream string) (*relay, error)

// turn starts a relay and measures a load on it.
func (b *bench) turn(ctx context.Context, w *row, start starter) (r result, planes string, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.warmup+b.length+4*patience)
	defer cancel()
	l := w.load
	l.Warmup, l.Length = b.warmup, b.length
	source, err := startLoad(ctx, l)
	if err != nil {
		return r, "", err
	}
	defer source.end()
	relay, err := start(ctx, w, source.sink)
	if err != nil {
		return r, "", err
	}
	defer relay.end()
	if r, err = source.measure(target{Address: relay.address, PID: relay.cmd.Process.Pid}); err != nil {
		return r, "", fmt.Errorf("%w%s", err, relay.said())
	}
	if relay.check != nil {
		planes, err = relay.check(ctx)
	}
	return r, planes, err
}

// launch starts a relay. It calls ready with each line of the relay's standard error until ready reports that the relay is ready, and
// where it listens.
func launch(ctx context.Context, ready func(line []byte) (address string, ok bool), program string, args ...string) (*relay, error) {
	r := &relay{cmd: exec.CommandContext(ctx, program, args...), exited: make(chan struct{})}
	r.cmd.Cancel = func() error { return r.cmd.Process.Signal(syscall.SIGTERM) }
	r.cmd.WaitDelay = patience
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	listening := make(chan string, 1)
	go func() { // ends with the process
		defer close(r.exited)
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, mib)
		for lines.Scan() {
			r.mu.Lock()
			r.log.Write(append(lines.Bytes(), '\n'))
			r.mu.Unlock()
			if address, ok := ready(lines.Bytes()); ok {
				listening <- address
			}
		}
		_ = r.cmd.Wait() // usually fails, because a signal ended the process
	}()
	select {
	case r.address = <-listening:
		return r, nil
	case <-r.exited:
		return nil, errors.New("it ended at once" + r.said())
	}
}

// said returns the relay's standard error, for error messages.
func (r *relay) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return "\n" + r.log.String()
}

// end ends the relay and waits for it.
func (r *relay) end() {
	_ = r.cmd.Cancel() // fails if the process has ended
	kill := time.AfterFunc(patience, func() { _ = r.cmd.Process.Kill() })
	defer kill.Stop()
	<-r.exited
}

const configuration = `
data_plane: %s
limits: {max_frame: %s}
control: {socket: %q}
codecs:
  - {name: line, plugin: escape, options: {terminator: LF, style: %s}}
  - {name: counted, plugin: lenprefix, options: {width: 4, format: be}}
routes:
  - name: bench
    from: {listen: "tcp://127.0.0.1:0", codec: line}
    to: {dial: "tcp://%s", codec: counted}
`

func (b *bench) startFramehost(ctx context.Context, w *row, upstream string) (*relay, error) {
	maxFrame, style := "1MiB", "none"
	if w.large {
		maxFrame = "32MiB"
	}
	if w.load.Escaped {
		style = "map"
	}
	file, socket := filepath.Join(b.dir, "framehost.yaml"), filepath.Join(b.dir, "control.sock")
	text := fmt.Appendf(nil, configuration, b.dataPlane, maxFrame, socket, style, upstream)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	var address string
	ready := func(line []byte) (string, bool) {
		var entry struct {
			Message string `json:"@message"`
			From    string `json:"from"`
		}
		_ = json.Unmarshal(line, &entry) // lines that are not JSON leave Message empty
		if entry.Message == "route started" {
			address = strings.TrimPrefix(entry.From, "listen tcp://")
		}
		return address, entry.Message == "ready"
	}
	r, err := launch(ctx, ready, b.program, "run", "-c", file, "--log-format", "json")
	if err != nil {
		return nil, err
	}
	r.check = func(ctx context.Context) (string, error) { return b.checkStatus(ctx, socket) }
	return r, nil
}

// checkStatus returns the data planes of the plugins. It returns an error if a plugin was restarted, because then the figures are not
// valid.
func (b *bench) checkStatus(ctx context.Context, socket string) (planes string, err error) {
	out, err := exec.CommandContext(ctx, b.program, "status", "--json", "--socket", socket).Output()
	if err != nil {
		return "", fmt.Errorf("status: %w", err)
	}
	var status struct {
		Plugins []struct {
			Name      string `json:"name"`
			DataPlane string `json:"data_plane"`
			Reason    string `json:"data_plane_reason"`
			Restarts  int    `json:"restarts"`
			LastError string `json:"last_error"`
		} `json:"plugins"`
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return "", fmt.Errorf("status: %w", err)
	}
	var all []string
	for _, p := range status.Plugins {
		if p.Restarts > 0 {
			return "", fmt.Errorf("plugin %s was started again: %s", p.Name, p.LastError)
		}
		plane := p.Name + " by " + p.DataPlane
		if p.Reason != "" {
			plane += " (" + p.Reason + ")"
		}
		all = append(all, plane)
	}
	return strings.Join(all, ", "), nil
}

func (b *bench) startTwin(ctx context.Context, w *row, upstream string) (*relay, error) {
	ready := func(line []byte) (string, bool) {
		address, ok := bytes.CutPrefix(line, []byte(twinListens))
		return string(address), ok
	}
	settings, err := json.Marshal(twin{Upstream: upstream, Escaped: w.load.Escaped, Longest: longestLine(&w.load)})
	if err != nil {
		return nil, err
	}
	return launch(ctx, ready, self, twinRole, string(settings))
}
