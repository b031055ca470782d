// Package pluginproc runs codec plugins as processes and keeps them running.
//
// A codec plugin is a program that speaks hashicorp/go-plugin's handshake on its standard output and then serves the
// contract of package codecs over gRPC. [Start] launches one and returns a [Plugin] that outlives its process:
//
//	p, err := pluginproc.Start(ctx, pluginproc.Spec{Name: "cobs", Path: "/opt/framehost/cobs"}, options)
//	codec, err := p.Configure(ctx, json.RawMessage(`{"delimiter": "NUL"}`), 1<<20)
//	direction := codec.Open()                  // one for each flow of each session
//	err = direction.Decode(ctx, &in, &out)     // on the process that is up now
//	direction.Close()
//	p.Release(codec)                           // processes drop the codec when nothing uses it any more
//	err = p.Close()
//
// One process of a plugin, the current one, makes the calls of all of its codecs and directions. Only a call that may have killed
// a process is made in a process of its own. Spare processes ([Options].Spares), already up and configured, stand by to take over
// when the current process dies. If Spares is not 0, two more stand by for a minute after a call has killed a process.
//
// # What a caller may rely on
//
// A plugin process holds no session state, so it may die at any instruction. The host then kills everything that the process
// started and reaps it; a spare takes over, or another process is launched and configured; and each call that was under way is
// made again. A call takes effect whole or not at all: nothing is lost and nothing is done twice. Directions notice only that a
// call took longer. A call that repeatedly kills its process, hangs it, or gets an answer that breaks the contract fails with
// codeccall.ErrCodecFailed; the comment in blame.go has the rules. The host launches the next process at once if the last one had
// answered a call, was making a call when it died, or was up for ten seconds. Otherwise, and after a failed launch, the host pauses
// first, longer each time.
//
// If no process can be launched, a direction waits without limit: the ctx of its call ends the wait, and [Plugin.Status] says why
// there is no process.
//
// # What is executed
//
// A [Spec] without Path names a plugin that is built into this program: the program executes itself; see [ServeIfAsked].
//
// A Spec with Path and SHA256 executes the very bytes that were hashed, even when the plugin is launched again after the file
// was replaced.
//
// A Spec with Path alone opens the file again for each launch. To upgrade such a plugin, replace the file and end the process;
// a spare that was started from the old file does not take over. [Plugin.Configure] says how sessions notice.
//
// # What a plugin process gets
//
// A plugin process leads a process group of its own. Its environment is minimal: PATH, HOME, TMPDIR, LANG, LC_ALL, TZ and the
// like, the variables of go-plugin's handshake, and Spec.Env. Its standard input is a pipe on which the host sends nothing, and
// which ends when the host ends: a plugin exits when it reads the end. Linux also kills the process the moment its host dies.
//
// The process listens on a Unix socket in the directory named by PLUGIN_UNIX_SOCKET_DIR, which only this user can enter, or on
// a loopback address. The host removes the directory as soon as it is connected. If a host is killed before that, the next host
// removes the directory. There is no TLS between the two (go-plugin's AutoMTLS is off): only processes of this user can enter
// the directory, and they could as well trace either process; and plugins in other languages would each have to implement TLS.
//
// The host drops everything that the process writes to standard output after the handshake. It logs standard error, with
// unprintable bytes escaped and with limits on the length and the rate of lines; the last lines are also part of the error when
// the process dies.
//
// The host always ends a process with SIGKILL, sent to its group and, on Linux, to every other process that it started; these
// carry the variable FRAMEHOST_PLUGIN_PROCESS in their environment. A plugin has nothing to save before it ends, so there is one
// way to end it, which every restart exercises.
package pluginproc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
)

// ErrClosed is wrapped, with codeccall.ErrCodecFailed, by the errors of calls on a closed plugin.
var ErrClosed = errors.New("plugin is closed")

// ErrStartTimeout is wrapped by the error of Start when it takes longer than Options.StartTimeout. Another attempt may succeed.
var ErrStartTimeout = errors.New("did not come up in time")

// A DataPlane is the way that the payloads of calls travel to a plugin process and back.
type DataPlane string

// The data planes that a [Spec] can ask for.
const (
	Auto DataPlane = "auto" // shared memory if host and plugin both support it, else gRPC; "" means the same
	GRPC DataPlane = "grpc" // messages on gRPC streams, which every plugin supports
	SHM  DataPlane = "shm"  // shared memory; if it is unavailable, the plugin fails to start
)

// A Spec names a plugin and says what to execute.
type Spec struct {
	Name      string            // names the plugin in logs and errors
	Path      string            // of the program; empty: this program, which serves the plugin Name (see ServeIfAsked)
	SHA256    string            // of the program's bytes, 64 hex digits; empty: any
	Args      []string          // arguments of the program
	Env       map[string]string // added to the environment; overrides variables passed on from the host
	DataPlane DataPlane         // how payloads travel; empty: Auto
}

// Options concern how plugins are run. The zero value is ready.
type Options struct {
	Logger          hclog.Logger  // nil: nothing is logged
	CallTimeout     time.Duration // a process that leaves a call unanswered for this long hangs, and is killed; 0: no limit
	StartTimeout    time.Duration // from launching to being configured; 0: 30 s; negative: no limit
	MinRestartDelay time.Duration // pause before the first restart in a row, varied at random by up to half; 0: 20 ms
	MaxRestartDelay time.Duration // the pause doubles up to this; 0: 2 s, or MinRestartDelay if that is more
	Spares          int           // processes kept ready to take over, from the first call on; 0: none
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = 30 * time.Second
	}
	if o.MinRestartDelay == 0 {
		o.MinRestartDelay = 20 * time.Millisecond
	}
	if o.MaxRestartDelay == 0 {
		o.MaxRestartDelay = max(2*time.Second, o.MinRestartDelay)
	}
	return o
}

// starting returns a context that ends with ctx, or when StartTimeout has passed.
func (o *Options) starting(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.StartTimeout < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, o.StartTimeout, fmt.Errorf("%w (%v)", ErrStartTimeout, o.StartTimeout))
}

func (s *Spec) validate() error {
	if s.Name == "" {
		return errors.New("plugin: got no name, want one")
	}
	switch s.DataPlane {
	case "", Auto, GRPC, SHM:
	default:
		return fmt.Errorf("plugin %s: data plane: got %q, want one of auto, grpc, shm", s.Name, s.DataPlane)
	}
	if s.SHA256 == "" {
		return nil
	}
	if s.Path == "" {
		return fmt.Errorf("plugin %s: got a sha256 without a path; a built-in plugin is the program that checks it", s.Name)
	}
	if sum, err := hex.DecodeString(s.SHA256); err != nil || len(sum) != sha256.Size {
		return fmt.Errorf("plugin %s: sha256: got %q, want %d hex digits", s.Name, s.SHA256, 2*sha256.Size)
	}
	return nil
}

// label returns the name and the program of the plugin, for errors.
func (s *Spec) label() string {
	if s.Path == "" {
		return fmt.Sprintf("plugin %s (built in)", s.Name)
	}
	return fmt.Sprintf("plugin %s (%s)", s.Name, s.Path)
}
