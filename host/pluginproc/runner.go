package pluginproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/codecs/codecshm"
)

// drainTime is how long the host still reads output after a process has ended. Everything that the process wrote is in the pipe by
// then; only a descendant that inherited the pipe and left the process group can keep the pipe open.
const drainTime = 250 * time.Millisecond

// A runner starts and ends one process; it is the runner.Runner that go-plugin uses. go-plugin's own runner waits for the end of the
// output before it waits for the process, does not end what the process started, and passes on output without limit.
type runner struct {
	name   string
	image  *image
	stdout *handshakeFilter
	stderr *stderrLog

	env        []string // env, inherited and socketDir are set before Start
	inherited  *os.File // the process finds its descriptor in codecshm.Variable; nil: none
	socketDir  string
	fromStdout *io.PipeReader // go-plugin reads from these two
	fromStderr *io.PipeReader

	exited   chan struct{}    // closed when the process was reaped, or never started, and its output has been read
	startErr error            // why the process did not start; set before exited is closed
	state    *os.ProcessState // how the process ended; set before exited is closed

	mu      sync.Mutex // guards the fields below
	process *os.Process
	begun   bool // Start was called, or never will be
	killed  bool // kill was called
	reaped  bool // another process may have the process number
}

func newRunner(spec *Spec, im *image, log hclog.Logger) *runner {
	r := &runner{name: spec.Name, image: im, exited: make(chan struct{})}
	r.stdout, r.stderr = &handshakeFilter{log: log}, newStderrLog()
	r.fromStdout, r.stdout.to = io.Pipe()
	r.fromStderr, r.stderr.to = io.Pipe()
	return r
}

// Start implements runner.Runner. go-plugin calls it once.
func (r *runner) Start(context.Context) error {
	r.mu.Lock()
	r.begun = true
	r.mu.Unlock()
	started := make(chan error)
	go r.run(started)
	return <-started
}

// run starts the process and returns after it has ended. It locks its operating system thread: on Linux the process asks to be
// killed when its parent dies, and that parent is the thread that started it. If the Go runtime ended the thread, the plugin
// would be killed.
func (r *runner) run(started chan<- error) {
	defer close(r.exited)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	cmd, pipes, err := r.launch()
	if err != nil {
		r.startErr = err
		_ = r.stdout.to.Close() // closing an in-process pipe can't fail
		_ = r.stderr.to.Close()
		started <- err
		return
	}
	var pumps sync.WaitGroup
	pumps.Go(func() { pump(r.stdout, pipes.stdout) })
	pumps.Go(func() { pump(r.stderr.stream(), pipes.stderr) })
	started <- nil

	reap(cmd, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		killGroup(cmd.Process) // ends the processes that the plugin started
		r.reaped = true
	})
	r.state = cmd.ProcessState

	pipes.stdin.Close()
	deadline := time.Now().Add(drainTime)
	_ = pipes.stdout.SetReadDeadline(deadline) // fails only if reading has ended
	_ = pipes.stderr.SetReadDeadline(deadline)
	// A logger that blocks may block a pump. Closing the pipe that the pump writes to ends the pump.
	letGo := time.AfterFunc(drainTime, func() { _ = r.stdout.to.Close(); _ = r.stderr.to.Close() })
	pumps.Wait()
	letGo.Stop()
	pipes.stdout.Close()
	pipes.stderr.Close()
}

// pump copies the output of a process from from to to, and closes to when the output ends.
func pump(to io.WriteCloser, from io.Reader) {
	_, _ = io.Copy(to, from) // neither writer fails; reading ends with the process
	to.Close()
}

// hostPipes are one side's ends, the host's or the plugin's, of the three pipes to a process.
type hostPipes struct{ stdin, stdout, stderr *os.File }

func (r *runner) launch() (*exec.Cmd, *hostPipes, error) {
	var host, plugin hostPipes
	var err error
	for _, open := range []func(){
		func() { plugin.stdin, host.stdin, err = os.Pipe() },
		func() { host.stdout, plugin.stdout, err = os.Pipe() },
		func() { host.stderr, plugin.stderr, err = os.Pipe() },
	} {
		if open(); err != nil {
			plugin.close()
			host.close()
			return nil, nil, err
		}
	}
	defer plugin.close()

	// The lock ensures that kill either prevents the start or finds the process.
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.killed {
		host.close()
		return nil, nil, errors.New("ended before it was started")
	}
	var started *exec.Cmd
	err = r.image.start(func(cmd *exec.Cmd) error {
		// With files, rather than io.Readers and io.Writers, cmd.Wait waits for the process only.
		cmd.Stdin, cmd.Stdout, cmd.Stderr = plugin.stdin, plugin.stdout, plugin.stderr
		cmd.Env = r.env
		if r.inherited != nil {
			const first = 3 // after the standard three
			cmd.Env = append(slices.Clip(cmd.Env), codecshm.Variable+"="+strconv.Itoa(first+len(cmd.ExtraFiles)))
			cmd.ExtraFiles = append(cmd.ExtraFiles, r.inherited)
		}
		cmd.SysProcAttr = ownGroup()
		started = cmd
		return cmd.Start()
	})
	if err != nil {
		host.close()
		return nil, nil, err
	}
	r.process = started.Process
	return started, &host, nil
}

func (p *hostPipes) close() {
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if f != nil {
			f.Close()
		}
	}
}

// kill ends the process and everything in its group at once, or prevents its start. It does not wait, and may be called at any time.
func (r *runner) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reaped {
		return
	}
	r.killed = true
	if r.process != nil {
		killGroup(r.process)
	}
}

// abandon kills the process, and closes exited if Start was not called. Call it only when go-plugin will not call Start any more.
func (r *runner) abandon() {
	r.kill()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.begun {
		r.begun = true
		close(r.exited)
	}
}

// ending returns how the process ended, or "" if the host killed it or it was never started. Call it only after exited is closed.
func (r *runner) ending() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == nil || r.killed && wasKilled(r.state) {
		return ""
	}
	return r.state.String()
}

// endedByItself reports whether the process exited or died of a fault, rather than being killed. Call it only after exited is closed.
func (r *runner) endedByItself() bool { return r.state != nil && !fromOutside(r.state) }

// Kill implements runner.Runner.
func (r *runner) Kill(context.Context) error {
	r.kill()
	return nil
}

// Wait implements runner.Runner. It never returns an error: the Plugin logs how the process ended, so go-plugin need not.
func (r *runner) Wait(context.Context) error {
	<-r.exited
	return nil
}

// Stdout implements runner.Runner.
func (r *runner) Stdout() io.ReadCloser { return r.fromStdout }

// Stderr implements runner.Runner.
func (r *runner) Stderr() io.ReadCloser { return r.fromStderr }

// Name implements runner.Runner.
func (r *runner) Name() string { return r.name }

// ID implements runner.Runner. It returns the process number, or "" while there is no process.
func (r *runner) ID() string {
	if pid := r.pid(); pid != 0 {
		return strconv.Itoa(pid)
	}
	return ""
}

func (r *runner) pid() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == nil {
		return 0
	}
	return r.process.Pid
}

// Diagnose implements runner.Runner. It returns nothing: osProcess.diagnose describes a plugin that did not start.
func (r *runner) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner. The plugin chooses the address where it listens, so PluginToHost restricts it: a plugin must
// not make its host connect to other machines, or to a path where another user could have put a socket.
func (r *runner) PluginToHost(network, address string) (string, string, error) {
	switch network {
	case "unix":
		if within(r.socketDir, address) {
			return network, address, nil
		}
		return "", "", fmt.Errorf("listens at unix %.200q, want a socket below PLUGIN_UNIX_SOCKET_DIR, %s",
			address, r.socketDir)
	case "tcp":
		if host, _, err := net.SplitHostPort(address); err == nil {
			if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
				return network, address, nil
			}
		}
		return "", "", fmt.Errorf("listens at tcp %.200q, want a loopback address", address)
	default:
		return "", "", fmt.Errorf("listens on network %.20q, want unix or tcp", network)
	}
}

// HostToPlugin implements runner.Runner.
func (r *runner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
