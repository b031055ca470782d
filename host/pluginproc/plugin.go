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
	// settled is how long a process has to be up for its death not to count as one in a row.
	settled = 10 * time.Second
	// wary is how long, after a call has taken a process down, more spares are kept: for calls that are made apart.
	wary = time.Minute
	// takeover is how long after a spare took over the next spare is launched: a launch needs the processors, which calls that are
	// made again have first.
	takeover = 100 * time.Millisecond
	// lingering is how long a process whose connection broke may take to turn out dead. That is what happened, nearly
	// always, and if it is killed before that is known nobody learns how it died.
	lingering = 100 * time.Millisecond
	// closeTimeout bounds Close. It is not reached by anything that a plugin can do: only by a process that the kernel
	// can't kill, for it waits for a device, or by a logger that blocks.
	closeTimeout = 10 * time.Second
	// configureAttempts is how many processes may die of configuring a codec before Configure gives up.
	configureAttempts = 3
	// patientCalls is how many patient calls (codeccall.Decode) are made at a time: enough to keep a process busy, and few enough
	// that a call which is not patient finds it, and the processors, hardly more so.
	patientCalls = 8
)

// A Plugin is a running plugin: a process that makes its calls, another when that ends, and, where Options.Spares asks for
// it, processes that are ready to be that other one. It is safe for concurrent use.
type Plugin struct {
	spec    Spec
	options Options
	log     hclog.Logger
	launch  func(context.Context) (process, error)
	image   *image // nil in tests
	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup
	patient chan struct{} // holds a token for each patient call that is made

	used     atomic.Bool   // a call was made
	kicked   chan struct{} // has a token when supply has something to look at
	suspects suspects

	mu          sync.Mutex
	current     *instance          // nil while there is none
	spares      []*instance        // ready to take over; the first first
	instances   map[*instance]bool // all processes, those included that are not up yet, and the one for suspects
	warned      time.Time          // when a call last took a process down
	calm        *time.Timer        // kicks supply when that is wary ago; nil if it never happened
	tookOver    time.Time          // when a spare last did
	launching   int                // processes that are being launched to be added
	pausing     bool               // the last process ended before it was of any use
	changed     chan struct{}      // closed when current, spares or closed change, and replaced
	closed      bool
	description codecrpc.Description // of the last process that came up, as are:
	dataPlane   DataPlane
	planeReason string
	codecs      []*codec
	restarts    int
	downSince   time.Time
	lastError   error
	lastErrorAt time.Time
}

// Start launches a plugin and returns when its process is up; ctx and Options.StartTimeout bound that. From then on it
// is supervised until Close. The error says what was executed and what went wrong with it; nothing is left then.
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

// newPlugin returns a plugin that is not started, with any way to launch a process.
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

// Description returns what the process that came up last said about itself: which codec it serves, and the schema of
// its options. Its slices must not be changed.
func (p *Plugin) Description() codecrpc.Description {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.description
}

// Configure puts options, a JSON object (nil: all defaults), and a limit for payloads, in bytes, in force. Configuring
// the same again returns the same codec. Each codec that is returned needs a Release. Configure waits for a process that is up;
// ctx ends the wait. The error wraps a codecs.OptionError for each option at fault, or codeccall.ErrCodecFailed.
//
// The codec is configured again on each process that follows. A replaced program may answer differently: from then
// on the codec has the new properties, and sessions that begin get them. A direction that was opened before goes on,
// unless it relied on what no longer holds: a direction fails with codeccall.ErrCodecFailed if the options were
// refused, the longest wire of a frame has grown, frames have come to depend on those before them, or the direction has
// state of another state version.
func (p *Plugin) Configure(ctx context.Context, options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
	c := p.acquire(options, maxFrame)
	configured, err := p.configure(ctx, c)
	if err != nil {
		p.Release(c)
		return nil, err
	}
	return configured, nil
}

// configure is Configure for c, of which the caller is a user.
func (p *Plugin) configure(ctx context.Context, c *codec) (codeccall.Codec, error) {
	for attempt := 1; ; attempt++ {
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

// Close ends the process, and everything that was started for it, and returns when that is done. Calls under way fail.
// The error says that something did not end in time.
func (p *Plugin) Close() error {
	p.mu.Lock()
	p.closed = true
	if p.calm != nil {
		p.calm.Stop()
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
		return fmt.Errorf("%s: has not ended %v after it was killed", p.spec.what(), closeTimeout)
	}
	if p.image != nil {
		p.image.close()
	}
	return nil
}

// bringUp launches a process and configures it.
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
	if err = in.prepare(ctx); err == nil {
		return in, nil
	}
	p.mu.Lock()
	delete(p.instances, in)
	p.mu.Unlock()
	in.markFailed(err)
	in.mayDieByItself(ctx)
	proc.kill()
	<-proc.done()
	proc.cleanup()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, fmt.Errorf("%s: %w; it %s", p.spec.what(), err, proc.exitSummary())
}

// noteError notes err for Status. p.mu is held.
func (p *Plugin) noteError(err error) { p.lastError, p.lastErrorAt = err, time.Now() }

// announce wakes those who wait for a change. p.mu is held.
func (p *Plugin) announce() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// await returns a process that serves, as soon as there is one.
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
