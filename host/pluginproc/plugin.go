package pluginproc

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecrpc"
)

const (
	// minUptime is how long a process must have been up for the host to replace it without a pause, whether or not it was of use.
	minUptime = 10 * time.Second
	// alertPeriod is how long the host keeps extra spares after a call has taken a process down: for calls that are made apart.
	alertPeriod = time.Minute
	// takeover is the time from one spare taking over to the launch of the next spare: a launch needs processor time, and the
	// calls that are made again need it first.
	takeover = 100 * time.Millisecond
	// exitGrace is how long a process whose connection broke may take to exit by itself. Nearly always it is dying already, and
	// killing it now would hide how it died.
	exitGrace = 100 * time.Millisecond
	// closeTimeout bounds Close. No plugin can make Close take that long; only a process that the kernel can't kill because it
	// waits for a device, or a logger that blocks.
	closeTimeout = 10 * time.Second
	// configureAttempts is how many processes may die of configuring a codec before Configure gives up.
	configureAttempts = 3
	// patientCalls is how many patient calls (codeccall.Decode) are made at a time: enough to keep a process busy, and few enough
	// that they hardly delay other calls.
	patientCalls = 8
)

// A Plugin is a running plugin: one process that makes its calls, the processes that replace it when it ends, and the spares that
// Options.Spares asks for. It is safe for concurrent use.
type Plugin struct {
	spec    Spec
	options Options
	log     hclog.Logger
	launch  func(context.Context) (process, error)
	image   *image // nil in tests
	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup
	patient chan struct{} // holds a token for each patient call under way

	used     atomic.Bool   // a call was made
	kicked   chan struct{} // holds a token when supply should check whether processes are needed
	suspects suspects

	mu          sync.Mutex
	current     *instance          // makes the calls; nil while no process is up
	spares      []*instance        // ready to take over, in this order
	instances   map[*instance]bool // all processes, including those that are coming up and the one for suspects
	alertedAt   time.Time          // when a call last took a process down
	alertTimer  *time.Timer        // kicks supply alertPeriod after alertedAt; nil if no call ever took a process down
	tookOver    time.Time          // when a spare last took over
	launching   int                // processes that are being launched
	pausing     bool               // the next launch waits: a launch failed, or a process ended before it was of any use
	proved      bool               // a process ended that had been of use: the next pause is the shortest
	changed     chan struct{}      // closed and replaced when current, spares or closed change
	closed      bool
	description codecrpc.Description // description, dataPlane and planeReason are those of the last current process
	dataPlane   DataPlane
	planeReason string
	codecs      []*codec
	restarts    int
	downSince   time.Time
	lastError   error
	lastErrorAt time.Time
}

// Start launches a plugin and returns when its process is up; ctx and Options.StartTimeout limit the wait. The plugin is then
// supervised until Close. The error says what was executed and what went wrong; after an error nothing is left running.
func Start(ctx context.Context, spec Spec, options Options) (*Plugin, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	im, err := newImage(&spec)
	if err != nil {
		return nil, err
	}
	options = options.withDefaults()
	p := newPlugin(spec, options, func(ctx context.Context) (process, error) { return launch(ctx, &spec, im, options) })
	p.image = im
	if err := p.start(ctx); err != nil {
		im.close()
		return nil, err
	}
	return p, nil
}

// newPlugin returns a plugin that is not started. It launches processes by calling launch.
func newPlugin(spec Spec, options Options, launch func(context.Context) (process, error)) *Plugin {
	p := &Plugin{spec: spec, options: options, log: options.Logger.Named(spec.Name), launch: launch,

		instances: map[*instance]bool{}, changed: make(chan struct{}), kicked: make(chan struct{}, 1),
		patient: make(chan struct{}, patientCalls)}
	p.suspects.plugin = p
	return p
}

func (p *Plugin) start(ctx context.Context) error {
	first, err := p.bringUp(ctx)
	if err != nil {
		return err
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.mu.Lock()
	p.publish(first)
	p.mu.Unlock()
	p.work.Go(func() { p.guard(first) })
	p.work.Go(p.supply)
	return nil
}

// Spec returns what the plugin was started with.
func (p *Plugin) Spec() Spec { return p.spec }

// Description returns the description that the last current process gave of itself: which codec it serves, and the schema of
// its options. The caller must not change its slices.
func (p *Plugin) Description() codecrpc.Description {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.description
}

// Configure returns the plugin's codec with options, a JSON object (nil: all defaults), and maxFrame, the longest payload in
// bytes. The same arguments return the same codec. Each successful call needs one call of Release. Configure waits until a
// process is up, unless a process has accepted the same arguments before; ctx ends the wait. The error wraps a codecs.OptionError
// for each option at fault, or codeccall.ErrCodecFailed.
//
// The host configures the codec again on each later process. A replaced program may answer differently: from then on the codec
// has the new properties, and new sessions get them. A direction that was opened earlier goes on, unless the new program breaks
// what the direction relied on. It fails with codeccall.ErrCodecFailed if the new program refuses the options, if the longest wire
// of a frame has grown, if frames now depend on earlier frames, or if the direction has state of another state version.
func (p *Plugin) Configure(ctx context.Context, options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
	c := p.acquire(options, maxFrame)
	configured, err := p.configure(ctx, c)
	if err != nil {
		p.Release(c)
		return nil, err
	}
	return configured, nil
}

// configure is Configure for c; the caller has been counted as a user of c.
func (p *Plugin) configure(ctx context.Context, c *codec) (codeccall.Codec, error) {
	for attempt := 1; ; attempt++ {
		if p.isDown() && c.properties.Load() != nil { // the next process will be configured with it
			return p.remember(c), nil
		}
		in, err := p.await(ctx)
		if err != nil {
			return nil, err
		}
		_, err = in.configured(ctx, c)
		switch {
		case err == nil:
			return p.remember(c), nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !in.condemned():
			return nil, err
		case attempt == configureAttempts:
			return nil, fmt.Errorf("plugin %s: %w: %d processes died of these options: %w",
				p.spec.Name, codeccall.ErrCodecFailed, attempt, err)
		}
	}
}

// Close ends all processes of the plugin, and everything that was started for them, and returns when all of it has ended. Calls
// under way fail. Close returns an error if something has not ended after 10 seconds.
func (p *Plugin) Close() error {
	p.mu.Lock()
	p.closed = true
	if p.alertTimer != nil {
		p.alertTimer.Stop()
	}
	p.announce()
	p.mu.Unlock()
	p.cancel()
	ended := make(chan struct{})
	go func() {
		p.work.Wait()
		close(ended)
	}()
	timeout := time.NewTimer(closeTimeout)
	defer timeout.Stop()
	select {
	case <-ended:
	case <-timeout.C:
		return fmt.Errorf("%s: has not ended %v after it was killed", p.spec.label(), closeTimeout)
	}
	if p.image != nil {
		p.image.close()
	}
	return nil
}

// bringUp launches a process and configures it. After an error the process has ended.
func (p *Plugin) bringUp(ctx context.Context) (*instance, error) {
	ctx, cancel := p.options.starting(ctx)
	defer cancel()
	var program stamp
	if p.image != nil {
		program = p.image.stamp()
	}
	proc, err := p.launch(ctx)
	if err != nil {
		return nil, err
	}
	in := newInstance(p, proc)
	in.program = program
	p.mu.Lock()
	p.instances[in] = true
	p.mu.Unlock()
	defer context.AfterFunc(ctx, proc.kill)() // ends what takes no ctx, such as configuring
	if err = in.prepare(ctx); err == nil {
		return in, nil
	}
	p.mu.Lock()
	delete(p.instances, in)
	p.mu.Unlock()
	in.markFailed(err)
	in.awaitExit(ctx)
	proc.kill()
	<-proc.done()
	proc.cleanup()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, fmt.Errorf("%s: %w; it %s", p.spec.label(), err, proc.exitSummary())
}

// noteError records err for Status. p.mu is held.
func (p *Plugin) noteError(err error) { p.lastError, p.lastErrorAt = err, time.Now() }

// announce wakes all goroutines that wait for a change. p.mu is held.
func (p *Plugin) announce() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// isDown reports whether no process is up, and the plugin is not closed.
func (p *Plugin) isDown() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current == nil && !p.closed
}

// await waits until a process makes calls, and returns it. ctx or Close ends the wait.
func (p *Plugin) await(ctx context.Context) (*instance, error) {
	for {
		p.mu.Lock()
		in, changed, closed := p.current, p.changed, p.closed
		p.mu.Unlock()
		switch {
		case closed:
			return nil, fmt.Errorf("plugin %s: %w: %w", p.spec.Name, codeccall.ErrCodecFailed, ErrClosed)
		case in != nil && !in.condemned():
			return in, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
