package pluginproc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/framehost/framehost/codecs/codeccall"
)

// A codec is a configured codec of a plugin, on whichever process is up.
type codec struct {
	plugin     *Plugin
	options    json.RawMessage
	maxFrame   int
	properties atomic.Pointer[codeccall.Properties] // as the process that was configured last answered

	// What follows is guarded by the plugin's mu.
	users      int  // calls of Configure that returned it, less those of Release
	directions int  // that are open
	released   bool // no process has it, since there were neither
}

// Properties implements codeccall.Codec.
func (c *codec) Properties() codeccall.Properties { return *c.properties.Load() }

// Open implements codeccall.Codec. Processes keep the codec at least until the direction is closed.
func (c *codec) Open() codeccall.Direction {
	c.plugin.opened(c)
	properties := c.Properties()
	return &direction{
		decoding: callRetrier{codec: c, properties: properties},
		encoding: callRetrier{codec: c, properties: properties},
	}
}

// Lend implements codeccall.Lender. The memory is that of the process that is up: bytes in it are copied for the next one.
func (c *codec) Lend(size int) codeccall.Loan {
	c.plugin.mu.Lock()
	in := c.plugin.current
	c.plugin.mu.Unlock()
	if in == nil {
		return nil
	}
	return in.lend(size)
}

// A direction keeps its decode and its encode calls apart, since one of each may be under way, perhaps on different
// processes.
type direction struct {
	decoding, encoding callRetrier
	closed             bool
}

// Decode implements codeccall.Direction.
func (d *direction) Decode(ctx context.Context, in *codeccall.Decode, out *codeccall.Decoded) error {
	if in.Patient {
		turns := d.decoding.codec.plugin.patient
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return d.decoding.call(ctx, in.State, func(on codeccall.Direction, first bool) error {
		if first {
			return on.Decode(ctx, in, out)
		}
		// What another process declared as searched, or was shown, says nothing about this one.
		again := *in
		again.Examined, again.Left = 0, 0
		return on.Decode(ctx, &again, out)
	})
}

// Encode implements codeccall.Direction.
func (d *direction) Encode(ctx context.Context, in *codeccall.Encode, out *codeccall.Encoded) error {
	return d.encoding.call(ctx, in.State, func(on codeccall.Direction, _ bool) error { return on.Encode(ctx, in, out) })
}

// Close implements codeccall.Direction.
func (d *direction) Close() {
	if d.closed {
		return
	}
	d.closed = true
	d.decoding.close()
	d.encoding.close()
	d.decoding.codec.plugin.closedDirection(d.decoding.codec)
}

// A callRetrier makes one call after another, each on the process that is up.
type callRetrier struct {
	codec      *codec
	properties codeccall.Properties // that the caller relies on
	on         *instance            // where the last call was made; nil before the first
	direction  codeccall.Direction  // of that process

	answers      uint64 // to calls of the flow
	stateVersion uint32 // of the process that answered last
}

// call makes a call, with state, until it is answered or can't be. try makes it on one process; stays says that
// this is the process that the flow's last call was made on, with nothing in between.
func (f *callRetrier) call(ctx context.Context, state []byte, try func(on codeccall.Direction, stays bool) error) error {
	p := f.codec.plugin
	var record record
	var number uint64 // of the last attempt
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var in *instance
		var err error
		leave, alone := func() {}, record.apart()
		if alone {
			in, leave, err = p.suspects.alone(ctx, f.answers, number, &record)
		} else {
			in, err = p.await(ctx)
		}
		if err != nil {
			return err
		}
		stays := f.on == in
		if err := f.moveTo(ctx, in, len(state) > 0); err != nil {
			leave()
			if ctx.Err() == nil && in.condemned() {
				if err := in.reaped(ctx); err != nil {
					return err
				}
				continue
			}
			return err
		}
		var outcome outcome
		outcome, number, err = f.attempt(ctx, in, alone, func() error { return try(f.direction, stays) })
		leave()
		switch {
		case err == nil:
			f.answers++
			f.stateVersion = in.description.Info.StateVersion
			return nil
		case outcome == notMade:
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case outcome == failed:
			return fmt.Errorf("plugin %s: %w", p.spec.Name, err)
		}
		if charge := record.add(outcome); charge != "" {
			return fmt.Errorf("plugin %s: %w: %s: %w", p.spec.Name, codeccall.ErrCodecFailed, charge, err)
		}
		p.log.Debug("call is made again", "apart", record.apart(), "error", err)
	}
}

// attempt makes a call on in and tells what came of it. A process that can't be trusted any more is condemned, and has been
// killed and reaped when attempt returns.
func (f *callRetrier) attempt(ctx context.Context, in *instance, alone bool, try func() error) (o outcome, number uint64, err error) {
	if in.condemned() {
		if err := in.reaped(ctx); err != nil {
			return failed, 0, err
		}
		return notMade, 0, codeccall.ErrGone
	}
	if !f.codec.plugin.used.Load() {
		f.codec.plugin.first()
	}
	in.outstanding.Add(1)
	defer in.outstanding.Add(-1)
	number = in.sent.Add(1)
	err = try()
	switch {
	case err == nil:
		in.answerCame(number)
		return answered, number, nil
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return failed, number, err
	case errors.Is(err, codeccall.ErrCodecFailed):
		in.answerCame(number)
		return failed, number, err
	case errors.Is(err, codeccall.ErrMisbehaved):
		in.died.Add(1)
		in.markFailedByCall(err)
		o = misbehaved
	case errors.Is(err, codeccall.ErrOverdue):
		in.markFailedByCall(codeccall.ErrOverdue)
		switch {
		case errors.Is(err, codeccall.ErrNotBegun):
			o = innocent
		case alone || in.latest.Load() > number:
			in.died.Add(1)
			o = overdueItself
		default:
			in.died.Add(1)
			o = overdue
		}
	case errors.Is(err, codeccall.ErrGone):
		if !errors.Is(err, codeccall.ErrNotBegun) {
			in.died.Add(1)
		}
		in.markFailed(in.Err())
		if reapErr := in.reaped(ctx); reapErr != nil {
			return failed, number, reapErr
		}
		return in.outcomeOfGone(err, alone), number, err
	default:
		return failed, number, fmt.Errorf("%w: %w", codeccall.ErrCodecFailed, err)
	}
	if reapErr := in.reaped(ctx); reapErr != nil {
		return failed, number, reapErr
	}
	return o, number, err
}

// outcomeOfGone is what it says of a call that it ended with err, for the process was gone. in has been reaped.
func (in *instance) outcomeOfGone(err error, alone bool) outcome {
	byItself := in.endedByItself() || in.ofItsStreams() != ""
	switch {
	case errors.Is(err, codeccall.ErrNotBegun), in.forACall.Load(), errors.Is(in.cause, codeccall.ErrOverdue),
		status.Code(in.cause) == codes.DeadlineExceeded:
		return innocent
	case alone && errors.Is(in.cause, codeccall.ErrMisbehaved):
		return misbehaved
	case alone && byItself:
		return goneAlone
	case alone:
		return killedAlone
	case byItself:
		in.plugin.warn()
		return gone
	default:
		return killed
	}
}

// warn notes that a call has probably taken a process down.
func (p *Plugin) warn() {
	p.mu.Lock()
	p.warned = time.Now()
	if p.calm == nil {
		p.calm = time.AfterFunc(wary, p.kick)
	}
	p.calm.Reset(wary)
	p.mu.Unlock()
	p.kick()
}

// answerCame notes that a call was answered, for those that were sent before it.
func (in *instance) answerCame(number uint64) {
	for latest := in.latest.Load(); latest < number; latest = in.latest.Load() {
		if in.latest.CompareAndSwap(latest, number) {
			return
		}
	}
}

// moveTo makes f ready for a call on in.
func (f *callRetrier) moveTo(ctx context.Context, in *instance, withState bool) error {
	if f.on == in {
		return nil
	}
	configured, err := in.configured(ctx, f.codec)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", codeccall.ErrCodecFailed, err)
	}
	now, info := configured.Properties(), in.description.Info
	change := ""
	switch {
	case now.MaxWire > f.properties.MaxWire:
		change = fmt.Sprintf("the longest frame has %d bytes, no longer %d", now.MaxWire, f.properties.MaxWire)
	case now.UsesState && !f.properties.UsesState:
		change = "frames depend on those before them"
	case withState && f.answers > 0 && info.StateVersion != f.stateVersion:
		change = fmt.Sprintf("state has version %d, and this session's %d", info.StateVersion, f.stateVersion)
	}
	if change != "" {
		return fmt.Errorf("plugin %s: %w: it was replaced by version %s, in which %s", f.codec.plugin.spec.Name,
			codeccall.ErrCodecFailed, info.Version, change)
	}
	f.close()
	f.on, f.direction = in, configured.Open()
	return nil
}

// close releases what is kept for the flow in a process.
func (f *callRetrier) close() {
	if f.direction != nil {
		f.direction.Close()
	}
	f.on, f.direction = nil, nil
}
