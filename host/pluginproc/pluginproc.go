// Package pluginproc runs codec plugins as processes and keeps them running.
//
// A codec plugin is a program that speaks hashicorp/go-plugin's handshake on its standard output and then serves the
// contract of package codecs over gRPC. [Start] launches one and returns a [Plugin] that outlives its process:
//
//	p, err := pluginproc.Start(ctx, pluginproc.Spec{Name: "cobs", Path: "/opt/framehost/cobs"}, options)
//	codec, err := p.Configure(ctx, json.RawMessage(`{"delimiter": "NUL"}`), 1<<20)
//	direction := codec.Open()                  // one for each flow of each session
//	err = direction.Decode(ctx, &in, &out)     // on whichever process is up
//	direction.Close()
//	p.Release(codec)                           // processes drop it when nothing uses it any more
//	err = p.Close()
//
// One process makes the calls of a plugin, for all of its configured codecs and all of their directions. Beside it there may be
// spares ([Options].Spares), which are up and configured and take over when it dies. For a minute after a call has killed a process
// there are two more: calls that may have been the reason are made in a process of their own.
//
// # What a caller may rely on
//
// A process holds nothing of any session, so it may die at any instruction. It is then killed with everything it
// started, and reaped; a spare takes over, or another process is launched and configured; and each call that was under way is made
// again. A call takes effect whole or not at all: nothing is lost and nothing is done twice. Directions notice only that a call
// took longer. A call that no process could answer fails with codeccall.ErrCodecFailed; blame.go says which calls those are. Launching
// pauses, longer each time, only while processes end before they are of any use.
//
// A direction waits as long as it takes for a process that can't be launched: the ctx of its call ends the wait, and
// [Plugin.Status] says why.
//
// # What is executed
//
// A [Spec] without a path is a plugin built into this program, which then runs itself: see [ServeIfAsked]. One with a
// path and SHA256 executes the very bytes that were hashed, also when it is launched again after the file was replaced.
// One with a path alone is looked up again with each launch, so that replacing the file and ending the process is how
// a plugin is upgraded (a spare whose file was replaced does not take over); see [Plugin.Configure] for what sessions see of that.
//
// # What a plugin process gets
//
// It leads a process group of its own. Its environment is minimal: PATH, HOME, TMPDIR, LANG, LC_ALL, TZ and their like,
// what go-plugin's handshake needs, and Spec.Env. Its standard input is a pipe on which nothing is ever sent and which
// ends with the host: a plugin exits when it reads the end. Linux also kills it the moment its host dies. It listens on
// a Unix socket in a directory that only this user can enter, named by PLUGIN_UNIX_SOCKET_DIR, or on a loopback address. The
// directory is removed as soon as the host is connected; one that a killed host left behind is removed by the next.
// There is no TLS between the two (go-plugin's AutoMTLS is off): whoever can enter that directory is this user, who could
// as well trace either process, and plugins in other languages would each have to implement it.
//
// What it writes to standard output after the handshake is dropped. What it writes to standard error is made
// harmless, bounded in length and rate, and logged; the last lines are also part of the error when it dies.
//
// It is ended by SIGKILL to its group, always, and on Linux to all else that it started, which is known by a variable of the
// environment (FRAMEHOST_PLUGIN_PROCESS): a plugin holds nothing that would need a farewell, and so its end
// has one path only, which every restart exercises.
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

// ErrClosed is wrapped, beside codeccall.ErrCodecFailed, by the errors of calls on a plugin that was closed.
var ErrClosed = errors.New("plugin is closed")

// ErrStartTimeout is wrapped by the error of a Start that took longer than Options.StartTimeout. Another attempt may succeed.
var ErrStartTimeout = errors.New("did not come up in time")

// A DataPlane says by which way the payloads of calls travel to a plugin process and back.
type DataPlane string

// The data planes that a [Spec] can ask for.
const (
	Auto DataPlane = "auto" // the best that the plugin's process and this one both have; also what "" means
	GRPC DataPlane = "grpc" // messages on gRPC streams, which every plugin has
	SHM  DataPlane = "shm"  // shared memory; a plugin that can't have it does not start
)

// A Spec names a plugin and says what to execute.
type Spec struct {
	Name      string            // names the plugin in logs and errors
	Path      string            // of the program; empty: this program, which serves the plugin Name (see ServeIfAsked)
	SHA256    string            // of the program's bytes, 64 hex digits; empty: any
	Args      []string          // arguments of the program
	Env       map[string]string // added to the environment; wins over what would be there otherwise
	DataPlane DataPlane         // by which calls travel; empty: Auto
}

// Options concern how plugins are run. The zero value is ready.
type Options struct {
	Logger          hclog.Logger  // nil: nothing is logged
	CallTimeout     time.Duration // a call without an answer for this long means that the process hangs; 0: never
	StartTimeout    time.Duration // from launching to being configured; 0: 30 s; negative: no limit
	MinRestartDelay time.Duration // before the first restart in a row, give or take a half; 0: 20 ms
	MaxRestartDelay time.Duration // what it doubles up to; 0: 2 s
	Spares          int           // processes that are kept ready to take over, once a call was made; 0: none
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

// what names the plugin and its program in errors.
func (s *Spec) what() string {
	if s.Path == "" {
		return fmt.Sprintf("plugin %s (built in)", s.Name)
	}
	return fmt.Sprintf("plugin %s (%s)", s.Name, s.Path)
}
