package pluginproc

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	goplugin "github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecrpc"
	"github.com/framehost/framehost/codecs/codecshm"
)

// A remote calls the codec that a process serves; *codecrpc.Client is one.
type remote interface {
	Describe(ctx context.Context) (*codecrpc.Description, error)
	Configure(ctx context.Context, info codecs.Info, options json.RawMessage, maxFrame int) (codeccall.Codec, error)
	Release(ctx context.Context, codec codeccall.Codec) (released bool, err error)
	Failed() <-chan struct{}
	Err() error
}

// A process is one launched plugin process. Supervision uses only this interface, so that tests can supervise fakes.
type process interface {
	remote
	// negotiateDataPlane chooses the data plane: gRPC, or one of offered, those that the process offers besides. Call it before Configure.
	negotiateDataPlane(ctx context.Context, offered []string) (plane DataPlane, reason string, err error)
	pid() int
	// connected must be called when the process has answered for the first time.
	connected()
	// lend returns memory that the process can read, or nil if there is none; see codeccall.Lender.
	lend(size int) codeccall.Loan
	// kill ends the process and everything it started. It does not wait.
	kill()
	// done is closed when the process was reaped and its calls have ended.
	done() <-chan struct{}
	// endedByItself reports whether the process exited or died of a fault of its own, rather than of a signal from the host or another
	// process. Call it only after done is closed.
	endedByItself() bool
	// exitSummary says how the process ended, with the last lines of its standard error. Call it only after done is closed.
	exitSummary() string
	// cleanup ends and releases everything else that belonged to the process. Call it only after done is closed.
	cleanup()
}

// An osProcess is a process that go-plugin's client has connected to.
type osProcess struct {
	*codecrpc.Client // nil if the process did not come up
	spec             *Spec
	runner           *runner
	client           *plugin.Client
	dir              *privateDir // holds the sockets
	mark             string      // an environment entry of the process and of all that it starts
	ended            chan struct{}
	plane            *codecshm.Plane // nil: shared memory is not possible
	noPlane          error           // why plane is nil

	mu    sync.Mutex
	conns []*grpc.ClientConn
}

// launch starts a process and returns when it serves. If ctx ends first, launch fails. The error says what went wrong with the
// program; after an error nothing of the process is left.
func launch(ctx context.Context, spec *Spec, im *image, options Options) (process, error) {
	dir, err := newSocketDir()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", spec.label(), err)
	}
	log := options.Logger.Named(spec.Name)
	p := &osProcess{
		spec: spec, runner: newRunner(spec, im, log), dir: dir, mark: markVariable + "=" + rand.Text(), ended: make(chan struct{}),
	}
	p.offerPlane()
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  codecrpc.Handshake,
		Plugins:          plugin.PluginSet{codecrpc.PluginName: &codecrpc.Plugin{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, socketDir string) (goplugin.Runner, error) {
			p.runner.env, p.runner.socketDir = append(environ(spec.Env, cmd.Env), p.mark), socketDir
			return p.runner, nil
		},
		SkipHostEnv:      true,
		StartTimeout:     math.MaxInt64, // ctx ends the start
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir.path},
		GRPCDialOptions:  append(codecrpc.DialOptions(), grpc.WithIdleTimeout(0), grpc.WithChainStreamInterceptor(p.intercept)),
		SyncStderr:       p.runner.stderr.stream(),
		Logger:           quietLogger{Logger: options.Logger, plugin: spec.Name},
	})
	err = p.connect(ctx)
	if err != nil {
		p.runner.abandon()
	}
	p.inheritedPlane()
	go func() {
		<-p.runner.exited
		if p.Client != nil {
			p.Client.Close() //nolint:staticcheck // the client's, not the process's
		}
		p.closePlane()
		close(p.ended)
	}()
	if err != nil {
		<-p.ended
		p.cleanup()
		return nil, p.diagnose(ctx, err)
	}
	p.SetTimeout(options.CallTimeout)
	return p, nil
}

// connect makes go-plugin start the process. Some of go-plugin's steps have deadlines and some have none, and each notices in its own
// time that the process hangs or has died. So when ctx ends, connect kills the process, which ends every step.
func (p *osProcess) connect(ctx context.Context) error {
	stop := context.AfterFunc(ctx, p.runner.kill)
	defer stop()
	protocol, err := p.client.Client()
	if err != nil {
		return err
	}
	raw, err := protocol.Dispense(codecrpc.PluginName)
	if err != nil {
		return err
	}
	client, ok := raw.(*codecrpc.Client)
	if !ok {
		return errors.New("go-plugin dispensed something else than a codec")
	}
	p.Client = client
	return nil
}

const brokerMethod = "/plugin.GRPCBroker/StartStream"

// intercept is called for each stream that is opened to the process. It records the connection for cleanup, because go-plugin does not
// close a connection to a process that died while connecting. It refuses the stream of go-plugin's broker, which framehost does not use
// and which starts goroutines in the host for whatever the plugin sends.
func (p *osProcess) intercept(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	stream grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	p.mu.Lock()
	if !slices.Contains(p.conns, conn) {
		p.conns = append(p.conns, conn)
	}
	p.mu.Unlock()
	if method == brokerMethod {
		return nil, status.Error(codes.Unimplemented, "the broker is not used")
	}
	return stream(ctx, desc, conn, method, options...)
}

func (p *osProcess) endedByItself() bool   { return p.runner.endedByItself() }
func (p *osProcess) pid() int              { return p.runner.pid() }
func (p *osProcess) kill()                 { p.runner.kill() }
func (p *osProcess) done() <-chan struct{} { return p.ended }

// connected implements process. An open connection does not need the socket's file, so connected removes the directory now: then
// nothing is left of it, however the host ends.
func (p *osProcess) connected() { p.dir.remove() }

// markVariable names an environment variable that each plugin process has, each with a value of its own.
const markVariable = "FRAMEHOST_PLUGIN_PROCESS"

// cleanup implements process. go-plugin's Kill returns in bounded time here, because the process has ended.
func (p *osProcess) cleanup() {
	killStrays(p.mark)
	p.client.Kill()
	p.mu.Lock()
	conns := p.conns
	p.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
	}
	p.dir.remove()
}
