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

// A codec is a configured codec of a plugin. Its calls go to the process that is up at the time.
type codec struct {
	plugin     *Plugin
	options    json.RawMessage
	maxFrame   int
	properties atomic.Pointer[codeccall.Properties] // from the process that was configured last

	// The plugin's mu guards the fields below.
	users      int  // calls of Configure that returned the codec, less calls of Release
	directions int  // open directions
	released   bool // no process has the codec, since it has no users and no directions
}

// Properties implements codeccall.Codec.
func (c *codec) Properties() codeccall.Properties { return *c.properties.Load() }

// Open implements codeccall.Codec. Processes keep the codec configured at least until the direction is closed.
func (c *codec) Open() codeccall.Direction {
	c.plugin.opened(c)
	properties := c.Properties()
	return &direction{
		decoding: callRetrier{codec: c, properties: properties},
		encoding: callRetrier{codec: c, properties: properties},
	}
}

// Lend implements codeccall.Lender. It lends memory of the process that is up; bytes in it are copied if the call is made on another
// process.
func (c *codec) Lend(size int) codeccall.Loan {
	c.plugin.mu.Lock()
	in := c.plugin.current
	c.plugin.mu.Unlock()
	if in == nil {
		return nil
	}
	return in.lend(size)
}

// A direction implements codeccall.Direction. It has separate state for decode and encode calls, because one of each may be under way
// at a time, perhaps on different processes.
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
		// These describe what another process has searched, was shown and has asked for; this process has seen nothing.
		again := *in
		again.Examined, again.Left, again.Need, again.RoomNeeded = 0, 0, 0, 0
		return on.Decode(ctx, &again, out)
	})
}

// Encode implements codeccall.Direction.
func (d *direction) Encode(ctx context.Context, in *codeccall.Encode, out *codeccall.Encoded) error {
	return d.encoding.call(ctx, in.State, func(on codeccall.Direction, first bool) error {
		if first {
			return on.Encode(ctx, in, out)
		}
		again := *in
		again.RoomNeeded = 0 // another process has asked for it
		return on.Encode(ctx, &again, out)
	})
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

// A callRetrier makes one call at a time, on the process that is up, and repeats it on other processes as needed.
type callRetrier struct {
	codec      *codec
	properties codeccall.Properties // the properties that the caller relies on
	on         *instance            // the process of the last call; nil before the first
	direction  codeccall.Direction  // opened in on

	answers      uint64 // answered calls
	stateVersion uint32 // of the process that answered last
}

// call repeats a call until it is answered, fails for good, or ctx ends. state is the state that the call carries. try makes the call on
// one process; stays reports whether f's last call was made on the same process.
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

// attempt makes a call on in, once, and returns its outcome and its number. If the call shows that the process can't be trusted any
// more, attempt condemns it and returns after it was killed and reaped, or when ctx ends.
func (f *callRetrier) attempt(ctx context.Context, in *instance, alone bool, try func() error) (o outcome, number uint64, err error) {
	if in.condemned() {
		if err := in.reaped(ctx); err != nil {
			return failed, 0, err
		}
		return notMade, 0, codeccall.ErrGone
	}
	if !f.codec.plugin.used.Load() {
		f.codec.plugin.markUsed()
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

// outcomeOfGone returns the outcome of a call that ended with err because the process was gone. in has been reaped.
func (in *instance) outcomeOfGone(err error, alone bool) outcome {
	byItself := in.endedByItself() || in.streamError() != ""
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
		in.plugin.raiseAlert()
		return gone
	default:
		return killed
	}
}

// raiseAlert records that a call has probably taken a process down: for alertPeriod there are extra spares.
func (p *Plugin) raiseAlert() {
	p.mu.Lock()
	p.alertedAt = time.Now()
	if p.alertTimer == nil {
		p.alertTimer = time.AfterFunc(alertPeriod, p.kick)
	}
	p.alertTimer.Reset(alertPeriod)
	p.mu.Unlock()
	p.kick()
}

// answerCame raises in.latest to number, the number of an answered call: it shows that the process still answers, so an earlier call
// without an answer hangs by itself.
func (in *instance) answerCame(number uint64) {
	for latest := in.latest.Load(); latest < number; latest = in.latest.Load() {
		if in.latest.CompareAndSwap(latest, number) {
			return
		}
	}
}

// moveTo makes f ready for a call on in. It fails if the properties or the state version there do not suit f's direction.
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

// close closes f's direction in the process of its last call.
func (f *callRetrier) close() {
	if f.direction != nil {
		f.direction.Close()
	}
	f.on, f.direction = nil, nil
}
