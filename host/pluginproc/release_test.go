package pluginproc

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/framehost/framehost/codecs/codeccall"
)

// A process drops a codec when the codec has no user and its last direction is closed, which happens after its calls have ended.
func TestRelease(t *testing.T) {
	onPlanes(t, func(t *testing.T, plane DataPlane) {
		p := mustStart(t, by(plane, program(t, "good")), quick(newJournal()))
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		stays := newTalk(mustConfigure(t, p))
		for round := range 3 {
			c, err := p.Configure(testContext(t), json.RawMessage(`{}`), 1000) // the same codec each time
			if err != nil {
				t.Fatal(err)
			}
			busy := newTalk(c)
			answered := make(chan error, 1)
			go func() { answered <- busy.say(testContext(t), "!wait "+listener.Addr().String(), fmt.Sprint(round)) }()
			underWay, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			p.Release(c)
			if got := p.Status().Codecs; got != 2 {
				t.Errorf("with a call under way, the plugin has %d codecs, want 2", got)
			}
			if err := stays.say(testContext(t), "!held 2"); err != nil {
				t.Error(err)
			}
			underWay.Close()
			if err := <-answered; err != nil {
				t.Errorf("the call that was under way: %v", err)
			}
			if err := busy.say(testContext(t), "one more"); err != nil {
				t.Errorf("a call of a direction that was open: %v", err)
			}
			busy.direction.Close()
			busy.direction.Close() // closing it again does nothing
			if got := p.Status().Codecs; got != 1 {
				t.Errorf("after all calls, the plugin has %d codecs, want 1", got)
			}
			if err := stays.say(testContext(t), "!held 1"); err != nil {
				t.Error(err)
			}
			again := newTalk(c) // uses a released codec
			if err := again.say(testContext(t), "hi"); err != nil {
				t.Errorf("a codec that is used again: %v", err)
			}
			again.direction.Close()
		}
		if s := p.Status(); s.Codecs != 1 || s.Restarts != 0 {
			t.Errorf("got %d codecs and %d restarts, want 1 and 0", s.Codecs, s.Restarts)
		}
	})
}

// Codecs are configured and released while calls on them are made.
func TestReleaseWhileOthersConfigure(t *testing.T) {
	onPlanes(t, func(t *testing.T, plane DataPlane) {
		p := mustStart(t, by(plane, program(t, "good")), quick(newJournal()))
		stays := newTalk(mustConfigure(t, p))
		var all sync.WaitGroup
		for worker := range 8 {
			all.Go(func() {
				for range 20 {
					c, err := p.Configure(testContext(t), nil, 100+worker%2)
					if err != nil {
						t.Error(err)
						return
					}
					talk := newTalk(c)
					if err := talk.say(testContext(t), "a", "b"); err != nil {
						t.Error(err)
					}
					talk.direction.Close()
					p.Release(c)
				}
			})
		}
		all.Wait()
		if err := stays.say(testContext(t), "!held 1"); err != nil {
			t.Error(err)
		}
		if s := p.Status(); s.Codecs != 1 || s.Restarts != 0 {
			t.Errorf("got %d codecs and %d restarts, want 1 and 0", s.Codecs, s.Restarts)
		}
	})
}

// fleet are the fake processes of a plugin, in the order of their launch.
type fleet struct {
	mu  sync.Mutex
	all []*fake
}

func (f *fleet) add(one *fake) *fake {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, one)
	return one
}

// expect waits until no goroutine has work to do, and checks the number of live processes and the codecs that each holds.
func (f *fleet) expect(t *testing.T, what string, processes int, limits ...int) {
	t.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	alive := 0
	for _, one := range f.all {
		select {
		case <-one.ended:
			continue
		default:
			alive++
		}
		if got := one.holds(); !slices.Equal(got, limits) {
			t.Errorf("%s: process %d holds the codecs %v, want %v", what, one.number, got, limits)
		}
	}
	if alive < processes {
		t.Errorf("%s: %d processes are up, want at least %d", what, alive, processes)
	}
}

func configureLimit(t *testing.T, p *Plugin, maxFrame int) codeccall.Codec {
	t.Helper()
	c, err := p.Configure(t.Context(), nil, maxFrame)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Spares, and the process for suspects, release codecs like the current process.
func TestReleaseInAllProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apart, goOn := make(chan struct{}), make(chan struct{})
		poisoned := 0
		var f fleet
		options := quickly
		options.Spares = 1
		p := startFakes(t, options, func(int) (*fake, error) {
			return f.add(&fake{decode: func(ctx context.Context, f *fake, in *codeccall.Decode) error {
				if string(in.Wire) != "poison" {
					return nil
				}
				if poisoned++; poisoned <= deathsInCompany {
					return dies(ctx, f, in)
				}
				apart <- struct{}{}
				<-goOn
				return nil
			}}), nil
		})
		var all []codeccall.Codec
		for maxFrame := 1; maxFrame <= 4; maxFrame++ {
			all = append(all, configureLimit(t, p, maxFrame))
		}
		first := all[0].Open()
		defer first.Close()
		if err := decode(t.Context(), first, "hi"); err != nil {
			t.Fatal(err)
		}
		f.expect(t, "configured", 2, 1, 2, 3, 4)
		if again := configureLimit(t, p, 2); again != all[1] {
			t.Error("the same codec is another one")
		}
		p.Release(all[1])
		f.expect(t, "released by one of two users", 2, 1, 2, 3, 4)
		p.Release(all[1])
		f.expect(t, "released by both users", 2, 1, 3, 4)

		d := all[2].Open()
		p.Release(all[2])
		f.expect(t, "released with an open direction", 2, 1, 3, 4)
		if err := decode(t.Context(), d, "hi"); err != nil {
			t.Error(err)
		}
		d.Close()
		f.expect(t, "direction closed", 2, 1, 4)
		d = all[2].Open()
		if err := decode(t.Context(), d, "hi"); err != nil {
			t.Error(err)
		}
		f.expect(t, "used again", 2, 1, 3, 4)
		d.Close()
		f.expect(t, "closed again", 2, 1, 4)

		suspect := make(chan error)
		go func() { suspect <- decode(t.Context(), first, "poison") }()
		<-apart
		f.expect(t, "a call is made apart", 3, 1, 4) // the current process, the one for suspects, and a spare
		p.Release(all[3])
		f.expect(t, "released in the process for suspects", 3, 1)
		close(goOn)
		if err := <-suspect; err != nil {
			t.Error(err)
		}
		if got := p.Status().Codecs; got != 1 {
			t.Errorf("the plugin has %d codecs, want 1", got)
		}
	})
}

// A process that is coming up does not end up with codecs that are released in the meantime.
func TestReleaseWhileAProcessStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, goOn := make(chan struct{}), make(chan struct{})
		var f fleet
		p := startFakes(t, quickly, func(number int) (*fake, error) {
			one := &fake{}
			if number == 2 {
				one.configure = func() error {
					select {
					case began <- struct{}{}:
						<-goOn
					case <-goOn:
					}
					return nil
				}
			}
			return f.add(one), nil
		})
		var all []codeccall.Codec
		for maxFrame := 1; maxFrame <= 3; maxFrame++ {
			all = append(all, configureLimit(t, p, maxFrame))
		}
		f.all[0].die()
		<-began
		p.Release(all[0]) // the codec that is being configured
		p.Release(all[2]) // the codec that would be configured last
		close(goOn)
		f.expect(t, "up again", 1, 2)
	})
}

// A process that can't release codecs keeps them, and is not configured with the same again.
func TestProcessThatCannotRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fleet
		p := startFakes(t, quickly, func(int) (*fake, error) { return f.add(&fake{keeps: true}), nil })
		for range 3 {
			for maxFrame := 1; maxFrame <= 2; maxFrame++ {
				c := configureLimit(t, p, maxFrame)
				d := c.Open()
				if err := decode(t.Context(), d, "hi"); err != nil {
					t.Error(err)
				}
				d.Close()
				p.Release(c)
				synctest.Wait()
			}
		}
		f.expect(t, "released", 1, 1, 2)
		if got := p.Status().Codecs; got != 0 {
			t.Errorf("the plugin has %d codecs, want none", got)
		}
	})
}

// Refused options leave nothing in the plugin.
func TestRefusedOptionsAreNotKept(t *testing.T) {
	p := mustStart(t, program(t, "good"), quick(newJournal()))
	for range 3 {
		if _, err := p.Configure(testContext(t), json.RawMessage(`{"refuse": "x"}`), 100); err == nil {
			t.Fatal("the options are accepted")
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.current.entries) + len(p.codecs); n != 0 {
		t.Errorf("%d entries are left, want none", n)
	}
}
