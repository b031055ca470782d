package pluginproc

import (
	"cmp"
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

// An instance is a plugin process and its supervision state.
type instance struct {
	process
	plugin      *Plugin
	description *codecrpc.Description
	dataPlane   DataPlane
	planeReason string
	since       time.Time

	outstanding atomic.Int64
	sent        atomic.Uint64 // calls sent; a call's number is the count that includes it
	latest      atomic.Uint64 // the highest number of a call that was answered
	died        atomic.Int64  // calls that the process may have died or hung of; raised before outstanding falls
	forACall    atomic.Bool   // the host kills the process because of one call
	program     stamp         // the program that the process executes

	dooming sync.Once
	doomed  chan struct{} // closed when the process must be killed, or is dead
	cause   error         // why doomed is closed; nil: the process died; set before doomed is closed

	// The plugin's mu guards entries and kept.
	entries map[*codec]*entry
	kept    map[settings]codeccall.Codec // released codecs that the process can't drop
}

// An entry is a codec that is configured, or being configured, in one process.
type entry struct {
	ready chan struct{} // closed when codec and err are set
	codec codeccall.Codec
	err   error
}

func newInstance(p *Plugin, proc process) *instance {
	return &instance{
		process: proc, plugin: p, since: time.Now(),
		doomed: make(chan struct{}), entries: map[*codec]*entry{},
	}
}

// prepare makes the process ready for its first call: it gets the description, chooses the data plane and configures all codecs. If
// the process refuses the options of a codec, only that codec fails.
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
			return cmp.Or(e.err, ctx.Err())
		}
		if e.err != nil {
			in.plugin.log.Error("plugin refuses options that it had accepted", "options", string(c.options), "error", e.err)
		}
	}
}

// unconfigured returns the plugin's first codec without an entry in this process, and a new entry, which the caller must configure.
// It returns nil if every codec has an entry.
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

// entryOf returns the entry of c; if isNew is true, the caller must configure it. It returns nil if c has been released.
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

// configured returns the process's codec for c, and configures it if it has none yet. An error other than ctx's concerns the options,
// or c being released, unless the process is condemned when configured returns.
func (in *instance) configured(ctx context.Context, c *codec) (codeccall.Codec, error) {
	e, isNew := in.entryOf(c)
	if e == nil {
		return nil, errReleased
	}
	if isNew {
		go in.configure(c, e) // ends with the process, and at the latest after StartTimeout
	}
	select {
	case <-e.ready:
		return e.codec, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// configure configures c and sets its entry e. It takes no ctx: other callers wait for e too, so the ctx of the first must not end it.
// If all callers give up, release waits for e and drops the codec.
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
	if option := (*codecs.OptionError)(nil); !errors.As(e.err, &option) { // the caller inspects option errors as they are
		e.err = fmt.Errorf("plugin %s: %w", in.plugin.spec.Name, e.err)
	}
}

// failsProcess reports whether err, from a control call, is the fault of the process rather than of the request.
func failsProcess(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return true
	}
	return errors.Is(err, codeccall.ErrMisbehaved)
}

// markFailed condemns the process: it will be killed, and gets no more calls. Only the first cause is recorded; nil means that the
// process died.
func (in *instance) markFailed(cause error) {
	in.dooming.Do(func() {
		in.cause = cause
		close(in.doomed)
	})
}

// markFailedByCall condemns the process because of one call; all other calls under way are innocent.
func (in *instance) markFailedByCall(cause error) {
	if !in.condemned() {
		in.forACall.Store(true)
	}
	in.markFailed(cause)
}

// reaped waits until the condemned process has ended and was reaped: only then may its calls be made again. ctx ends the wait.
func (in *instance) reaped(ctx context.Context) error {
	select {
	case <-in.done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wasUseful reports whether the process has answered a call or may have died of one.
func (in *instance) wasUseful() bool {
	return in.latest.Load() > 0 || in.outstanding.Load()+in.died.Load() > 0
}

// condemned reports whether the process is dead or must be killed. Condemned processes get no more calls.
func (in *instance) condemned() bool {
	select {
	case <-in.doomed:
		return true
	default:
		return false
	}
}

// hangsOrMisbehaves reports whether the process was condemned because it hung or broke the contract, rather than because it was gone.
// Call it only after the process was condemned.
func (in *instance) hangsOrMisbehaves() bool {
	return errors.Is(in.cause, codeccall.ErrOverdue) || errors.Is(in.cause, codeccall.ErrMisbehaved) ||
		status.Code(in.cause) == codes.DeadlineExceeded
}

// streamError returns, in one line, the status with which the plugin ended a stream of calls, or "" if the process failed in another
// way. Call it only after the process was condemned.
func (in *instance) streamError() string {
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

// maxStreamError is how many bytes are logged of the message with which a plugin ends a stream.
const maxStreamError = 500

// awaitExit gives a process that seems to be gone up to exitGrace to end by itself.
func (in *instance) awaitExit(ctx context.Context) {
	if in.hangsOrMisbehaves() || ctx.Err() != nil {
		return
	}
	moment := time.NewTimer(exitGrace)
	defer moment.Stop()
	select {
	case <-in.done():
	case <-moment.C:
	case <-ctx.Done():
	}
}
