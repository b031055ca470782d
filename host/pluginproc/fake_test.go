package pluginproc

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecrpc"
)

// A fake implements process without a process. Its fields decide how it behaves.
type fake struct {
	number     int
	info       codecs.Info
	properties codeccall.Properties
	configure  func() error                                                   // nil: succeeds
	decode     func(ctx context.Context, f *fake, in *codeccall.Decode) error // nil: succeeds
	refuses    func(ctx context.Context) error                                // result of Describe; nil: succeeds

	once    sync.Once
	ended   chan struct{}
	cleaned chan struct{}

	fromOutside bool  // killed from outside rather than dying by itself
	err         error // why its connection fails

	forgets bool // forgets the wire bytes that it was shown
	busy    atomic.Bool

	mu     sync.Mutex
	shown  []codeccall.Decode
	killed bool
	held   map[*fakeCodec]bool
	keeps  bool // can't release codecs
}

// fakes returns a launch function that returns the fakes, or the errors, that next returns.
func fakes(next func(number int) (*fake, error)) func(context.Context) (process, error) {
	var last atomic.Int64 // atomic, because two processes may be launched at the same time
	return func(context.Context) (process, error) {
		number := int(last.Add(1))
		f, err := next(number)
		if err != nil {
			return nil, err
		}
		f.number, f.ended, f.cleaned = number, make(chan struct{}), make(chan struct{})
		if f.properties.MaxWire == 0 {
			f.properties.MaxWire = 100
		}
		return f, nil
	}
}

func (f *fake) negotiateDataPlane(context.Context, []string) (DataPlane, string, error) {
	return GRPC, "", nil
}
func (f *fake) lend(int) codeccall.Loan { return nil }

// startFakes is mustStart for fakes.
func startFakes(t *testing.T, options Options, next func(number int) (*fake, error)) *Plugin {
	t.Helper()
	p := newPlugin(Spec{Name: "fake", Path: "/fake"}, options.withDefaults(), fakes(next))
	if err := p.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// die ends the process as if by itself.
func (f *fake) die() { f.once.Do(func() { close(f.ended) }) }

func (f *fake) pid() int                { return f.number }
func (f *fake) done() <-chan struct{}   { return f.ended }
func (f *fake) endedByItself() bool     { return !f.fromOutside }
func (f *fake) exitSummary() string     { return "ended as it does" }
func (f *fake) cleanup()                { close(f.cleaned) }
func (f *fake) Failed() <-chan struct{} { return nil }
func (f *fake) Err() error              { return f.err }
func (f *fake) connected()              {}

func (f *fake) kill() {
	f.mu.Lock()
	f.killed = true
	f.mu.Unlock()
	f.die()
}

func (f *fake) Describe(ctx context.Context) (*codecrpc.Description, error) {
	if f.refuses != nil {
		if err := f.refuses(ctx); err != nil {
			return nil, err
		}
	}
	return &codecrpc.Description{Info: f.info}, nil
}

func (f *fake) Configure(_ context.Context, info codecs.Info, options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
	if f.configure != nil {
		if err := f.configure(); err != nil {
			return nil, err
		}
	}
	properties := f.properties
	properties.Info, properties.Options, properties.MaxFrame = info, options, maxFrame
	c := &fakeCodec{f, properties}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held == nil {
		f.held = map[*fakeCodec]bool{}
	}
	f.held[c] = true
	return c, nil
}

func (f *fake) Release(_ context.Context, codec codeccall.Codec) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := codec.(*fakeCodec)
	if !ok || !f.held[c] {
		return false, errors.New("released what is not configured")
	}
	if f.keeps {
		return false, nil
	}
	delete(f.held, c)
	return true, nil
}

// holds returns the payload limits of the process's codecs, sorted.
func (f *fake) holds() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	limits := []int{}
	for c := range f.held {
		limits = append(limits, c.properties.MaxFrame)
	}
	slices.Sort(limits)
	return limits
}

type fakeCodec struct {
	*fake
	properties codeccall.Properties
}

func (c *fakeCodec) Properties() codeccall.Properties { return c.properties }
func (c *fakeCodec) Open() codeccall.Direction        { return &fakeDirection{c.fake} }

type fakeDirection struct{ *fake }

func (d *fakeDirection) Decode(ctx context.Context, in *codeccall.Decode, _ *codeccall.Decoded) error {
	if d.forgets {
		return nil
	}
	d.mu.Lock()
	d.shown = append(d.shown, *in)
	d.mu.Unlock()
	if d.decode == nil {
		return nil
	}
	return d.decode(ctx, d.fake, in)
}

func (d *fakeDirection) Encode(context.Context, *codeccall.Encode, *codeccall.Encoded) error {
	return errors.New("a fake does not encode")
}

func (d *fakeDirection) Close() {}

// start is Start with processes that launch returns.
func start(ctx context.Context, spec Spec, options Options, launch func(context.Context) (process, error)) (*Plugin, error) {
	p := newPlugin(spec, options, launch)
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}
