package pluginproc

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/framehost/framehost/codecs/codeccall"
)

// BenchmarkCall measures the time that supervision adds to a call. Supervision allocates nothing.
func BenchmarkCall(b *testing.B) {
	p, err := start(b.Context(), Spec{Name: "fake"}, Options{}.withDefaults(), fakes(func(int) (*fake, error) {
		return &fake{forgets: true}, nil
	}))
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	c, err := p.Configure(b.Context(), nil, 10)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		d := c.Open()
		defer d.Close()
		var in codeccall.Decode
		var out codeccall.Decoded
		for pb.Next() {
			if err := d.Decode(b.Context(), &in, &out); err != nil {
				b.Error(err)
			}
		}
	})
}

// At most patientCalls patient calls are made at a time, and other calls do not wait for them.
func TestPatientCallsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		var together, most atomic.Int32
		p := startFakes(t, Options{}, func(int) (*fake, error) {
			return &fake{decode: func(_ context.Context, _ *fake, in *codeccall.Decode) error {
				if in.Patient {
					most.Store(max(most.Load(), together.Add(1)))
					<-goOn
					together.Add(-1)
				}
				return nil
			}}, nil
		})
		codec := mustConfigure(t, p)
		patiently := func(ctx context.Context) error {
			d := codec.Open()
			defer d.Close()
			return d.Decode(ctx, &codeccall.Decode{Wire: []byte("x"), Patient: true}, &codeccall.Decoded{})
		}
		var all sync.WaitGroup
		for range 3 * patientCalls {
			all.Go(func() {
				if err := patiently(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		gaveUp := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { gaveUp <- patiently(ctx) }()
		synctest.Wait()
		if n := together.Load(); n != patientCalls {
			t.Errorf("%d patient calls are under way, want %d", n, patientCalls)
		}
		d := codec.Open()
		defer d.Close()
		if err := d.Decode(t.Context(), &codeccall.Decode{Wire: []byte("hi")}, &codeccall.Decoded{}); err != nil {
			t.Errorf("a call that is not patient: %v", err)
		}
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Errorf("a call that was given up: got %v", err)
		}
		close(goOn)
		all.Wait()
		if most.Load() != patientCalls {
			t.Errorf("%d patient calls were made at a time, want %d", most.Load(), patientCalls)
		}
	})
}
