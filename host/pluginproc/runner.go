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

// drainTime is how long output is still read after a process has ended. What it wrote is in the pipe by then; only
// a descendant that inherited the pipe, and got out of the process group, can keep it open.
const drainTime = 250 * time.Millisecond

// A runner is one process, as go-plugin wants to see it (runner.Runner). go-plugin's own would wait for the output to
// end before it waits for the process, would leave what the process started, and passes the output on unbounded.
type runner struct {
	name   string
	image  *image
	stdout *handshakeFilter
	stderr *stderrLog

	env        []string // set before Start, as are:
	inherited  *os.File // what the process finds by codecshm.Variable; nil: nothing
	socketDir  string
	fromStdout *io.PipeReader // go-plugin's ends
	fromStderr *io.PipeReader

	exited   chan struct{} // closed when the process was reaped, or never started, and its output has been read
	startErr error         // why it did not start; set before exited is closed, as is:
	state    *os.ProcessState

	mu      sync.Mutex // guards what follows
	process *os.Process
	begun   bool // Start was called
	killed  bool // kill was called
	reaped  bool // the process number may be another's
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

// run starts the process and stays with it to its end. Both happen on one operating system thread, for on Linux a
// process asks to be killed when its parent dies, and the parent in question is the thread that started it: a thread
// that the Go runtime retires would take the plugin with it.
func (r *runner) run(started chan<- error) {
	defer close(r.exited)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	cmd, pipes, err := r.launch()
	if err != nil {
		r.startErr = err
		_ = r.stdout.to.Close() // ends of pipes in this process: closing them can't fail
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
		killGroup(cmd.Process) // what the plugin started ends with it
		r.reaped = true
	})
	r.state = cmd.ProcessState

	pipes.stdin.Close()
	deadline := time.Now().Add(drainTime)
	_ = pipes.stdout.SetReadDeadline(deadline) // fails only where reading has ended
	_ = pipes.stderr.SetReadDeadline(deadline)
	// A logger that blocks may hold up a pump: it is let go by closing what it writes to.
	letGo := time.AfterFunc(drainTime, func() { _ = r.stdout.to.Close(); _ = r.stderr.to.Close() })
	pumps.Wait()
	letGo.Stop()
	pipes.stdout.Close()
	pipes.stderr.Close()
}

// pump hands on what the process writes, until that ends, and then tells to.
func pump(to io.WriteCloser, from io.Reader) {
	_, _ = io.Copy(to, from) // neither writer fails; reading ends with the process
	to.Close()
}

// hostPipes are the host's ends.
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

	// Under the lock, so that Kill either prevents the start or finds the process.
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.killed {
		host.close()
		return nil, nil, errors.New("ended before it was started")
	}
	var started *exec.Cmd
	err = r.image.start(func(cmd *exec.Cmd) error {
		// Pipes as they are, rather than io.Readers, so that exec has nothing to wait for but the process.
		cmd.Stdin, cmd.Stdout, cmd.Stderr = plugin.stdin, plugin.stdout, plugin.stderr
		cmd.Env = r.env
		if r.inherited != nil {
			const first = 3 // behind the standard three
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

// kill ends the process and everything in its group, now. It does not wait, and may be called at any time.
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

// abandon is kill for when go-plugin will not call Start any more, if it has not.
func (r *runner) abandon() {
	r.kill()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.begun {
		r.begun = true
		close(r.exited)
	}
}

// ending tells how the process ended; "" where that was the host's doing. It is for after exited.
func (r *runner) ending() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == nil || r.killed && wasKilled(r.state) {
		return ""
	}
	return r.state.String()
}

// endedByItself reports whether the process exited, or died of a fault, rather than was killed. It is for after exited.
func (r *runner) endedByItself() bool { return r.state != nil && !fromOutside(r.state) }

// Kill implements runner.Runner.
func (r *runner) Kill(context.Context) error {
	r.kill()
	return nil
}

// Wait implements runner.Runner. How the process ended is for its Plugin to tell, not for go-plugin to log.
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

// ID implements runner.Runner: the process number, or "" as long as there is no process.
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

// Diagnose implements runner.Runner. See diagnose for what is told about a plugin that did not start.
func (r *runner) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner. A plugin says where it listens, and is not to make its host connect to just
// anywhere, nor by way of a path that others could have put a socket at.
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
