//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/framehost/framehost/host/control"
)

// patience is the timeout for events that should happen at once.
const patience = 60 * time.Second

// A process is one process of framehost, which runs until the next drain.
type process struct {
	cmd    *exec.Cmd
	socket string
	exited chan struct{}

	mu      sync.Mutex
	lines   []entry // log lines that await has not examined yet
	changed chan struct{}
}

// An entry is a line of the log.
type entry struct {
	Level   string `json:"@level"`
	Message string `json:"@message"`
	Reason  string `json:"reason"`
	Route   string `json:"route"`
	text    string
}

// start starts framehost and returns when it is ready. It calls keep with each line of the log. Only drain and kill end the process: if
// the end of ctx sent a signal too, that could be the second signal in a drain.
func start(ctx context.Context, program, file, socket, temp string, keep func(entry)) (*process, error) {
	p := &process{socket: socket, exited: make(chan struct{}), changed: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), program, "run", "-c", file, "--log-format", "json")
	p.cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.follow(stderr, keep)
	if err := p.await("ready"); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// follow reads the log to its end, and then waits for the process.
func (p *process) follow(stderr io.Reader, keep func(entry)) {
	defer close(p.exited)
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		e := entry{text: lines.Text()}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			e.Message = e.text
		}
		keep(e)
		p.mu.Lock()
		p.lines = append(p.lines, e)
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
	_ = p.cmd.Wait() // callers that need the exit code get it from the process state
}

// await waits for a log line whose message begins with message, after the line that the previous await found.
func (p *process) await(message string) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		p.mu.Lock()
		lines, changed := p.lines, p.changed
		p.lines = nil
		p.mu.Unlock()
		for i, e := range lines {
			if strings.HasPrefix(e.Message, message) {
				p.mu.Lock()
				p.lines = append(lines[i+1:len(lines):len(lines)], p.lines...)
				p.mu.Unlock()
				return nil
			}
		}
		select {
		case <-changed:
		case <-p.exited:
			return fmt.Errorf("framehost ended before it logged %q", message)
		case <-limit.C:
			return fmt.Errorf("framehost did not log %q within %v", message, patience)
		}
	}
}

func (p *process) status(ctx context.Context) (*control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return control.QueryStatus(ctx, p.socket)
}

// pidOf returns the process number of a plugin, or 0 while it is down.
func (p *process) pidOf(ctx context.Context, plugin string) (int, error) {
	s, err := p.status(ctx)
	if err != nil {
		return 0, err
	}
	for _, one := range s.Plugins {
		if one.Name == plugin {
			return one.PID, nil
		}
	}
	return 0, fmt.Errorf("status has no plugin %s", plugin)
}

func (p *process) reload() error {
	p.mu.Lock()
	p.lines = nil
	p.mu.Unlock()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	return p.await("configuration reloaded")
}

// drain sends SIGTERM, waits for the process to end, and returns its exit code.
func (p *process) drain() (code int, err error) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	limit := time.NewTimer(drainTime*time.Second + patience)
	defer limit.Stop()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-limit.C:
		p.kill()
		return 0, errors.New("framehost did not end after SIGTERM")
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// build builds framehost and the codec programs into a directory.
func build(ctx context.Context, dir string) error {
	const module = "github.com/framehost/framehost/"
	args := []string{"build", "-o", dir + string(os.PathSeparator), module + "cmd/framehost"}
	for i := range framings {
		args = append(args, module+"plugins/"+framings[i].plugin+"/framehost-codec-"+framings[i].plugin)
	}
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("building framehost: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
