package pluginproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecrpc"
)

// An instance is a process with what is known of it while it serves.
type instance struct {
	process
	plugin      *Plugin
	description *codecrpc.Description
	dataPlane   DataPlane
	planeReason string
	since       time.Time

	outstanding atomic.Int64
	sent        atomic.Uint64 // numbers the calls
	latest      atomic.Uint64 // the highest number of a call that was answered
	died        atomic.Int64  // calls that it may have died or hung of; counted before they are no longer outstanding
	forACall    atomic.Bool   // the host has it killed for what it did with one call
	program     stamp         // what it executes

	dooming sync.Once
	doomed  chan struct{} // closed when the process has to be killed, or is dead
	cause   error         // why; set before doomed is closed

	// Guarded by the plugin's mu.
	entries map[*codec]*entry
	kept    map[settings]codeccall.Codec // without a user, in a process that can't release them
}

// An entry is a codec configured in this process, or on the way there.
type entry struct {
	ready chan struct{} // closed when the rest is set
	codec codeccall.Codec
	err   error
}

func newInstance(p *Plugin, proc process) *instance {
	return &instance{
		process: proc, plugin: p, since: time.Now(),
		doomed: make(chan struct{}), entries: map[*codec]*entry{},
	}
}

// prepare does what comes before the first call: it asks the process what it is and configures all codecs. Options that
// this process refuses fail their codec alone.
func (in *instance) prepare(ctx context.Context) error {
	description, err := in.Describe(ctx)
	if err != nil {
		return err
	}
	in.connected()
	in.description = description
	if in.dataPlane, in.planeReason, err = in.negotiateDataPlane(ctx, description.DataPlanes); err != nil {
		return err
	}
	for {
		c, e := in.unconfigured()
		if c == nil {
			return nil
		}
		in.configure(c, e)
		if in.condemned() || ctx.Err() != nil {
			return e.err
		}
		if e.err != nil {
			in.plugin.log.Error("plugin refuses options that it had accepted", "options", string(c.options), "error", e.err)
		}
	}
}

// unconfigured returns the first of the plugin's codecs that this process was not configured with, and its entry, which the
// caller configures; or nil.
func (in *instance) unconfigured() (*codec, *entry) {
	in.plugin.mu.Lock()
	defer in.plugin.mu.Unlock()
	for _, c := range in.plugin.codecs {
		if in.entries[c] == nil {
			e := &entry{ready: make(chan struct{})}
			in.entries[c] = e
			return c, e
		}
	}
	return nil, nil
}

// entryOf returns the entry of c, and whether the caller is to configure it; nil if c has been released.
func (in *instance) entryOf(c *codec) (e *entry, isNew bool) {
	in.plugin.mu.Lock()
	defer in.plugin.mu.Unlock()
	e, ok := in.entries[c]
	if !ok && c.inUse() {
		e, isNew = &entry{ready: make(chan struct{})}, true
		in.entries[c] = e
	}
	return e, isNew
}

// configured returns c as configured in this process, and configures it if nobody has. An error is about the
// options, unless in is condemned by then.
func (in *instance) configured(ctx context.Context, c *codec) (codeccall.Codec, error) {
	e, isNew := in.entryOf(c)
	if e == nil {
		return nil, errReleased
	}
	if isNew {
		in.configure(c, e)
	}
	select {
	case <-e.ready:
		return e.codec, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// configure does not follow the ctx of the one who happened to come first, since others wait for the outcome.
func (in *instance) configure(c *codec, e *entry) {
	defer close(e.ready)
	if e.codec = in.takeKept(c); e.codec != nil {
		properties := e.codec.Properties()
		c.properties.Store(&properties)
		return
	}
	ctx, cancel := in.plugin.options.starting(context.Background())
	defer cancel()
	e.codec, e.err = in.Configure(ctx, in.description.Info, c.options, c.maxFrame)
	if e.err == nil {
		properties := e.codec.Properties()
		c.properties.Store(&properties)
		return
	}
	if failsProcess(e.err) {
		in.markFailed(e.err)
	}
	if option := (*codecs.OptionError)(nil); !errors.As(e.err, &option) { // those are for the caller to take apart
		e.err = fmt.Errorf("plugin %s: %w", in.plugin.spec.Name, e.err)
	}
}

// failsProcess reports whether err, from a control call, speaks of the process rather than of what was asked of it.
func failsProcess(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return true
	}
	return errors.Is(err, codeccall.ErrMisbehaved)
}

// markFailed has the process killed, and keeps calls from being sent to it from now on. The first cause counts; nil says
// that it died.
func (in *instance) markFailed(cause error) {
	in.dooming.Do(func() {
		in.cause = cause
		close(in.doomed)
	})
}

// markFailedByCall marks in as failed for what it did with one call; other calls under way are not to blame.
func (in *instance) markFailedByCall(cause error) {
	if !in.condemned() {
		in.forACall.Store(true)
	}
	in.markFailed(cause)
}

// reaped waits until the process, which is condemned, has ended and was reaped: only then may its calls be made again.
func (in *instance) reaped(ctx context.Context) error {
	select {
	case <-in.done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wasUseful reports whether the process has answered a call or can have died of one.
func (in *instance) wasUseful() bool {
	return in.latest.Load() > 0 || in.outstanding.Load()+in.died.Load() > 0
}

func (in *instance) condemned() bool {
	select {
	case <-in.doomed:
		return true
	default:
		return false
	}
}

// hangsOrMisbehaves reports whether it is for what it did that the process is killed, rather than for being gone. It is
// for after it was condemned.
func (in *instance) hangsOrMisbehaves() bool {
	return errors.Is(in.cause, codeccall.ErrOverdue) || errors.Is(in.cause, codeccall.ErrMisbehaved) ||
		status.Code(in.cause) == codes.DeadlineExceeded
}

// ofItsStreams returns what the plugin ended a stream of calls with, in one line, or "" if that is not how the process failed. It is for
// after it was condemned.
func (in *instance) ofItsStreams() string {
	if in.cause == nil || in.hangsOrMisbehaves() {
		return ""
	}
	if errors.Is(in.cause, io.EOF) {
		return "ended a stream of calls"
	}
	var of interface{ GRPCStatus() *status.Status }
	if !errors.As(in.cause, &of) {
		return ""
	}
	switch s := of.GRPCStatus(); s.Code() {
	case codes.OK, codes.Unavailable, codes.Canceled: // the connection broke
		return ""
	default:
		text := []byte(s.Message())
		return fmt.Sprintf("ended a stream of calls with %s: %s", s.Code(), cleanLine(text[:min(len(text), maxStreamError)]))
	}
}

// maxStreamError is how many bytes are logged of what a plugin says when it ends a stream.
const maxStreamError = 500

// mayDieByItself waits a moment for a process that seems to be gone.
func (in *instance) mayDieByItself(ctx context.Context) {
	if in.hangsOrMisbehaves() || ctx.Err() != nil {
		return
	}
	moment := time.NewTimer(lingering)
	defer moment.Stop()
	select {
	case <-in.done():
	case <-moment.C:
	case <-ctx.Done():
	}
}
