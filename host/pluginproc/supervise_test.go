package pluginproc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

var quickly = Options{MinRestartDelay: time.Millisecond}

func decode(ctx context.Context, d codeccall.Direction, wire string) error {
	return d.Decode(ctx, &codeccall.Decode{Wire: []byte(wire), Examined: 1, Left: 1, Need: 1, RoomNeeded: 1}, &codeccall.Decoded{})
}

// dies is the decode function of a fake that dies of each call.
func dies(_ context.Context, f *fake, _ *codeccall.Decode) error {
	f.die()
	return fmt.Errorf("%w: no more", codeccall.ErrGone)
}

func TestBlame(t *testing.T) {
	overdue := func(context.Context, *fake, *codeccall.Decode) error { return codeccall.ErrOverdue }
	tests := []struct {
		name      string
		decode    func(context.Context, *fake, *codeccall.Decode) error
		processes int // that the call costs
		want      string
	}{
		{"each process dies", dies, deathsInCompany + deathsAlone, "the process died each of 2 times that it made this call alone"},
		{"each process hangs", overdue, timesOverdue, "this call was not answered in time, 2 times"},
		{"each answer is nonsense", func(context.Context, *fake, *codeccall.Decode) error {
			return fmt.Errorf("%w: nonsense", codeccall.ErrMisbehaved)
		}, timesMisbehaved, "the answer to this call broke the contract, 3 times"},
		{"the codec itself gives up", func(context.Context, *fake, *codeccall.Decode) error {
			return fmt.Errorf("%w: panic", codeccall.ErrCodecFailed)
		}, 0, "panic"},
		{"a plane has an error of its own", func(context.Context, *fake, *codeccall.Decode) error { return errors.New("odd") }, 0, "odd"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := startFakes(t, quickly, func(int) (*fake, error) { return &fake{decode: test.decode}, nil })
				d := mustConfigure(t, p).Open()
				err := decode(t.Context(), d, "x")
				if !errors.Is(err, codeccall.ErrCodecFailed) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				synctest.Wait()
				if got := p.Status().Restarts; got != test.processes {
					t.Errorf("it cost %d processes, want %d", got, test.processes)
				}
			})
		})
	}
}

// Two calls kill every process on which they are made, while many other calls are always under way.
func TestInnocentsAreNotBlamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		poison := func(ctx context.Context, f *fake, in *codeccall.Decode) error {
			if string(in.Wire) == "poison" {
				time.Sleep(time.Millisecond) // fake time; so that other calls are under way
				return dies(ctx, f, in)
			}
			select {
			case <-f.ended:
				return codeccall.ErrGone
			case <-time.After(3 * time.Millisecond):
				return nil
			}
		}
		p := startFakes(t, quickly, func(int) (*fake, error) { return &fake{decode: poison}, nil })
		c := mustConfigure(t, p)
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				if err := decode(t.Context(), c.Open(), "poison"); !errors.Is(err, codeccall.ErrCodecFailed) {
					t.Errorf("poison: got %v", err)
				}
			})
		}
		for range 20 {
			all.Go(func() {
				d := c.Open()
				for range 10 {
					if err := decode(t.Context(), d, "innocent"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	})
}

// Peers come one after the other, each with a call that kills every process on which it is made. Other calls wait only until a spare has
// taken over or, if the host can't know which calls a process had begun, until they have been made apart.
func TestAttackersHoldNobodyUp(t *testing.T) {
	const attacks, others, launching = 6, 20, 100 * time.Millisecond
	tests := []struct {
		name        string
		knows       bool          // whether the plane knows which calls were begun
		first, most time.Duration // longest time that another peer's call may take: at the first attack, and at later ones
	}{
		{"the plane knows which calls were begun", true, 5 * time.Millisecond, 5 * time.Millisecond},
		{"the plane does not know", false, 2 * launching, 20*time.Millisecond + others*2*time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answer := func(ctx context.Context, f *fake, in *codeccall.Decode) error {
					if string(in.Wire) == "poison" {
						time.Sleep(time.Millisecond / 2) // fake time; so that other calls are under way
						return dies(ctx, f, in)
					}
					select {
					case <-f.ended:
						if test.knows {
							return fmt.Errorf("%w; %w", codeccall.ErrGone, codeccall.ErrNotBegun)
						}
						return codeccall.ErrGone
					case <-time.After(time.Millisecond):
						return nil
					}
				}
				options := quickly
				options.Spares = 1
				p := startFakes(t, options, func(int) (*fake, error) {
					time.Sleep(launching)
					return &fake{decode: answer}, nil
				})
				c := mustConfigure(t, p)
				ctx, stop := context.WithCancel(t.Context())
				var all sync.WaitGroup
				var mu sync.Mutex
				var longest time.Duration
				for range others {
					all.Go(func() {
						for d := c.Open(); ctx.Err() == nil; {
							began := time.Now()
							if err := decode(t.Context(), d, "innocent"); err != nil {
								t.Error(err)
							}
							mu.Lock()
							longest = max(longest, time.Since(began))
							mu.Unlock()
						}
					})
				}
				for i := range attacks {
					time.Sleep(5 * launching)
					mu.Lock()
					longest = 0
					mu.Unlock()
					if err := decode(t.Context(), c.Open(), "poison"); err == nil || !strings.Contains(err.Error(), "made this call alone") {
						t.Errorf("poison: got %v", err)
					}
					time.Sleep(5 * launching)
					mu.Lock()
					got := longest
					mu.Unlock()
					most := test.most
					if i == 0 {
						most = test.first
					}
					if got > most {
						t.Errorf("attack %d held up another call for %v, want %v at most", i+1, got, most)
					}
				}
				stop()
				all.Wait()
				if got, want := p.Status().Restarts, attacks*(deathsInCompany+deathsAlone); got != want {
					t.Errorf("%d attacks cost %d processes, want %d", attacks, got, want)
				}
			})
		})
	}
}

// Peers reconnect as fast as they can, each time with a call that kills every process on which it is made. They wait for processes to be
// launched; once the first attack is over, other peers never do.
func TestAttackersThatReconnect(t *testing.T) {
	const attackers, attacks, others, launching = 3, 5, 20, 100 * time.Millisecond
	for name, knows := range map[string]bool{"the plane knows which calls were begun": true, "the plane does not know": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answer := func(ctx context.Context, f *fake, in *codeccall.Decode) error {
					if string(in.Wire) == "poison" {
						time.Sleep(time.Millisecond / 2) // fake time; so that other calls are under way
						return dies(ctx, f, in)
					}
					select {
					case <-f.ended:
						if knows {
							return fmt.Errorf("%w; %w", codeccall.ErrGone, codeccall.ErrNotBegun)
						}
						return codeccall.ErrGone
					case <-time.After(time.Millisecond):
						return nil
					}
				}
				options := quickly
				options.Spares = 1
				p := startFakes(t, options, func(int) (*fake, error) {
					time.Sleep(launching)
					return &fake{decode: answer}, nil
				})
				c := mustConfigure(t, p)
				attack := func() {
					if err := decode(t.Context(), c.Open(), "poison"); err == nil || !strings.Contains(err.Error(), "made this call alone") {
						t.Errorf("poison: got %v", err)
					}
				}
				ctx, stop := context.WithCancel(t.Context())
				var all, attacking sync.WaitGroup
				var mu sync.Mutex
				var longest time.Duration
				for range others {
					all.Go(func() {
						for d := c.Open(); ctx.Err() == nil; {
							began := time.Now()
							if err := decode(t.Context(), d, "innocent"); err != nil {
								t.Error(err)
							}
							mu.Lock()
							longest = max(longest, time.Since(began))
							mu.Unlock()
						}
					})
				}
				attack()
				mu.Lock()
				longest = 0
				mu.Unlock()
				for range attackers {
					attacking.Go(func() {
						for range attacks {
							attack()
						}
					})
				}
				attacking.Wait()
				stop()
				all.Wait()
				if longest >= launching/2 {
					t.Errorf("another call was held up for %v: want less than half of the %v that a launch takes", longest, launching)
				}
				t.Logf("longest call of another: %v", longest)
				time.Sleep(alertPeriod + time.Second) // fake time
				synctest.Wait()
				if got := len(p.Status().Spares); got != options.Spares {
					t.Errorf("got %d spares a minute after the last attack, want %d", got, options.Spares)
				}
			})
		})
	}
}

// One call always hangs. In a process with one thread, it holds up all other calls.
func TestWhoIsOverdue(t *testing.T) {
	const timeout = time.Second
	for name, oneThread := range map[string]bool{"the process is well": false, "the process has one thread": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answer := func(_ context.Context, f *fake, in *codeccall.Decode) error {
					hangs := string(in.Wire) == "hang"
					if hangs {
						f.busy.Store(true)
					}
					sent := time.Now()
					select {
					case <-f.ended:
						return codeccall.ErrGone
					case <-time.After(time.Millisecond):
					}
					if !hangs && (!oneThread || !f.busy.Load()) {
						return nil
					}
					select {
					case <-f.ended:
					case <-time.After(timeout - time.Millisecond):
					}
					if time.Since(sent) < timeout {
						return codeccall.ErrGone
					}
					return codeccall.ErrOverdue
				}
				p := startFakes(t, quickly, func(int) (*fake, error) { return &fake{decode: answer}, nil })
				c := mustConfigure(t, p)
				var all sync.WaitGroup
				all.Go(func() {
					err := decode(t.Context(), c.Open(), "hang")
					if !errors.Is(err, codeccall.ErrCodecFailed) || !strings.Contains(err.Error(), "not answered in time, ") {
						t.Errorf("the call that hangs: got %v", err)
					}
				})
				for range 5 {
					all.Go(func() {
						d := c.Open()
						for range 10 {
							if err := decode(t.Context(), d, "innocent"); err != nil {
								t.Error(err)
							}
						}
					})
				}
				all.Wait()
				synctest.Wait()
				// Two; or three if, the second time, no other call was left to show that the process still answered.
				if got := p.Status().Restarts; got > 3 {
					t.Errorf("it cost %d processes, want 3 at most", got)
				}
			})
		})
	}
}

func TestCallMadeAgainHasNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []*fake
		p := startFakes(t, quickly, func(number int) (*fake, error) {
			f := &fake{}
			if number == 1 {
				f.decode = func(ctx context.Context, f *fake, in *codeccall.Decode) error {
					if len(f.shown) == 1 {
						return nil
					}
					return dies(ctx, f, in)
				}
			}
			all = append(all, f)
			return f, nil
		})
		d := mustConfigure(t, p).Open()
		for range 4 {
			if err := decode(t.Context(), d, "wire"); err != nil {
				t.Fatal(err)
			}
		}
		var got []int
		for _, f := range all {
			for _, in := range f.shown {
				got = append(got, f.number, in.Examined, in.Left, in.Need, in.RoomNeeded)
			}
		}
		// The first call of a direction; the second, which is made again apart, on the third process; and the next two.
		if want := "[1 0 0 0 0 1 1 1 1 1 2 0 0 0 0 2 1 1 1 1 3 0 0 0 0]"; fmt.Sprint(got) != want {
			t.Errorf("got process, examined, left, need, room needed: %v, want %v", got, want)
		}
	})
}

func TestReplacedByAnotherVersion(t *testing.T) {
	old := func() *fake {
		f := &fake{info: codecs.Info{Version: "1", StateVersion: 1}}
		f.properties = codeccall.Properties{MaxWire: 100}
		return f
	}
	tests := []struct {
		name   string
		change func(*fake)
		state  string
		want   string // "": the direction goes on
	}{
		{"nothing that matters changed", func(f *fake) { f.info.Version = "2" }, "s", ""},
		{"shorter frames", func(f *fake) { f.properties.MaxWire = 50 }, "s", ""},
		{"longer frames", func(f *fake) { f.properties.MaxWire = 101 }, "", "the longest frame has 101 bytes, no longer 100"},
		{"frames depend on others", func(f *fake) { f.properties.UsesState = true }, "", "frames depend on those before them"},
		{"state of another version", func(f *fake) { f.info.StateVersion = 2 }, "s", "state has version 2, and this session's 1"},
		{"state of another version, and none yet", func(f *fake) { f.info.StateVersion = 2 }, "", ""},
		{"options are refused", func(f *fake) {
			f.configure = func() error { return &codecs.OptionError{Option: "x", Got: "1", Want: "2"} }
		}, "", "option x: got 1, want 2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var first *fake
				p := startFakes(t, quickly, func(number int) (*fake, error) {
					f := old()
					if number == 1 {
						first = f
					} else {
						test.change(f)
					}
					return f, nil
				})
				c := mustConfigure(t, p)
				d := c.Open()
				call := func(d codeccall.Direction, state string) error {
					return d.Decode(t.Context(), &codeccall.Decode{State: []byte(state)}, &codeccall.Decoded{})
				}
				if err := call(d, ""); err != nil {
					t.Fatal(err)
				}
				first.die()
				synctest.Wait()
				err := call(d, test.state)
				if test.want == "" && err != nil || test.want != "" && (!errors.Is(err, codeccall.ErrCodecFailed) || !strings.Contains(err.Error(), test.want)) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				if !strings.Contains(test.want, "option") {
					if err := call(c.Open(), ""); err != nil {
						t.Errorf("a new session: %v", err)
					}
				}
			})
		})
	}
}

func TestDirectionWaitsForAProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first *fake
		p := startFakes(t, Options{}, func(number int) (*fake, error) {
			if number > 1 && number < 10 {
				return nil, errors.New("plugin fake: not today")
			}
			f := &fake{}
			if number == 1 {
				first = f
			}
			return f, nil
		})
		d := mustConfigure(t, p).Open()
		first.die()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := decode(ctx, d, "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the wait", err)
		}
		s := p.Status()
		if s.PID != 0 || s.LastError == nil || s.LastError.Error() != "plugin fake: not today" || s.LastErrorAt.IsZero() {
			t.Errorf("status while it is down: %+v", s)
		}
		if err := decode(t.Context(), d, "x"); err != nil {
			t.Error(err)
		}
		if s := p.Status(); s.PID != 10 || s.Restarts != 1 || s.Calls != 1 || s.Codecs != 1 || s.Outstanding != 0 {
			t.Errorf("status afterwards: %+v", s)
		}
	})
}

func TestPausesBetweenRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := make(chan *fake, 1)
		p := startFakes(t, Options{MinRestartDelay: 20 * time.Millisecond, MaxRestartDelay: time.Second}, func(int) (*fake, error) {
			f := &fake{}
			up <- f
			return f, nil
		})
		_ = p
		f := <-up
		pause := func() time.Duration {
			f.die()
			began := time.Now()
			f = <-up
			synctest.Wait()
			return time.Since(began)
		}
		for i, ms := range []int{20, 40, 80, 160, 320, 640, 1000, 1000} {
			most := time.Duration(ms) * time.Millisecond
			if got := pause(); got < most/2 || got > most*3/2+1 {
				t.Errorf("pause %d took %v, want %v, give or take a half", i+1, got, most)
			}
		}
		time.Sleep(minUptime) // fake time
		if got := pause(); got > 30*time.Millisecond {
			t.Errorf("the pause after a long life took %v", got)
		}
	})
}

// The next spare is not launched at once: the launch would take processor time from the calls that are made again.
func TestSpareIsLaunchedAfterTheTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var launched []time.Time
		var all []*fake
		options := quickly
		options.Spares = 1
		p := startFakes(t, options, func(int) (*fake, error) {
			f := &fake{fromOutside: true}
			launched, all = append(launched, time.Now()), append(all, f)
			return f, nil
		})
		d := mustConfigure(t, p).Open()
		call := func() {
			t.Helper()
			began := time.Now()
			if err := decode(t.Context(), d, "x"); err != nil || time.Since(began) != 0 {
				t.Errorf("got %v after %v, want an answer at once", err, time.Since(began))
			}
		}
		call()
		synctest.Wait()
		died := time.Now()
		all[0].die()
		synctest.Wait()
		call()
		time.Sleep(time.Second) // fake time
		synctest.Wait()
		if len(launched) != 3 || launched[2].Sub(died) != takeover {
			t.Fatalf("got launches at %v, want the third %v after %v", launched, takeover, died)
		}
		died = time.Now()
		all[1].die()
		synctest.Wait()
		call()
		all[2].die() // no spare is left to take over
		synctest.Wait()
		call()
		if len(launched) < 4 || !launched[3].Equal(died) {
			t.Errorf("got launches at %v, want the fourth at once, at %v", launched, died)
		}
	})
}

func TestConfigure(t *testing.T) {
	t.Run("the same again is the same", func(t *testing.T) {
		p := startFakes(t, quickly, func(int) (*fake, error) { return &fake{}, nil })
		var all sync.WaitGroup
		got := make([]codeccall.Codec, 8)
		for i := range got {
			all.Go(func() {
				c, err := p.Configure(t.Context(), json.RawMessage(`{"a":1}`), 10)
				if err != nil {
					t.Error(err)
				}
				got[i] = c
			})
		}
		all.Wait()
		for _, c := range got {
			if c != got[0] {
				t.Error("there are two")
			}
		}
		if c, err := p.Configure(t.Context(), json.RawMessage(`{"a":1}`), 11); err != nil || c == got[0] || c.Properties().MaxFrame != 11 {
			t.Errorf("another limit: %v, %v", c, err)
		}
		if n := p.Status().Codecs; n != 2 {
			t.Errorf("%d codecs, want 2", n)
		}
	})
	t.Run("all option errors", func(t *testing.T) {
		p := mustStart(t, Spec{Name: "numbered"}, Options{})
		_, err := p.Configure(testContext(t), json.RawMessage(`{"a": 1, "b": 2}`), 10)
		many, ok := err.(interface{ Unwrap() []error })
		if !ok || len(many.Unwrap()) != 2 {
			t.Errorf("got %v", err)
		}
		if n := p.Status().Codecs; n != 0 {
			t.Errorf("%d codecs, want none", n)
		}
	})
	t.Run("a process dies of it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := startFakes(t, quickly, func(number int) (*fake, error) {
				return &fake{configure: func() error {
					if number == 1 {
						return status.Error(codes.Unavailable, "gone")
					}
					return nil
				}}, nil
			})
			if _, err := p.Configure(t.Context(), nil, 10); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("each process dies of it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := startFakes(t, quickly, func(int) (*fake, error) {
				return &fake{configure: func() error { return status.Error(codes.Unavailable, "gone") }}, nil
			})
			_, err := p.Configure(t.Context(), nil, 10)
			if !errors.Is(err, codeccall.ErrCodecFailed) || !strings.Contains(err.Error(), "3 processes died of these options") {
				t.Errorf("got %v", err)
			}
		})
	})
}

func TestCloseFailsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(_ context.Context, f *fake, _ *codeccall.Decode) error {
			<-f.ended
			return codeccall.ErrGone
		}
		f := &fake{decode: hangs}
		p := startFakes(t, quickly, func(int) (*fake, error) { return f, nil })
		d := mustConfigure(t, p).Open()
		result := make(chan error)
		go func() { result <- decode(t.Context(), d, "x") }()
		synctest.Wait()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := <-result; !errors.Is(err, codeccall.ErrCodecFailed) || !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
		<-f.cleaned
		if !f.killed {
			t.Error("the process was not killed")
		}
		if err := decode(t.Context(), d, "x"); !errors.Is(err, ErrClosed) {
			t.Errorf("afterwards: got %v", err)
		}
	})
}

func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &immortal{fake: &fake{ended: make(chan struct{}), cleaned: make(chan struct{})}}
		p, err := start(t.Context(), Spec{Name: "fake"}, quickly.withDefaults(), func(context.Context) (process, error) { return f, nil })
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err == nil || !strings.Contains(err.Error(), "has not ended") {
			t.Errorf("got %v", err)
		}
		f.die()
		<-f.cleaned
	})
}

// An immortal process waits for a device, and can't be killed.
type immortal struct{ *fake }

func (immortal) kill() {}

// The error with which a plugin ends a stream of calls is in the log and in the status, with unprintable bytes escaped, and it counts
// against the call.
func TestPluginEndsAStream(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"with an error": {fmt.Errorf("open a lane: %w", status.Error(codes.Internal, "table\x1b[31m 7 is full")),
			`ended a stream of calls with Internal: table\x1b[31m 7 is full; it ended as it does`},
		"with none": {io.EOF, "ended a stream of calls; it ended as it does"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := newJournal()
				options := quickly
				options.Logger = j.logger()
				p := startFakes(t, options, func(int) (*fake, error) {
					return &fake{err: test.err, fromOutside: true, decode: func(context.Context, *fake, *codeccall.Decode) error { return codeccall.ErrGone }}, nil
				})
				if err := decode(t.Context(), mustConfigure(t, p).Open(), "x"); !errors.Is(err, codeccall.ErrCodecFailed) {
					t.Errorf("got %v, want %v", err, codeccall.ErrCodecFailed)
				}
				synctest.Wait()
				if s := p.Status(); s.LastError == nil || !strings.HasSuffix(s.LastError.Error(), test.want) || s.Restarts != deathsInCompany+deathsAlone {
					t.Errorf("%d restarts, the last for %v; want %q", s.Restarts, s.LastError, test.want)
				}
				if !strings.Contains(j.String(), strings.TrimSuffix(test.want, "; it ended as it does")) {
					t.Errorf("%q is not in the log:\n%s", test.want, j)
				}
			})
		})
	}
}

// While no process can be launched, a codec that a process has accepted before is configured at once, and another one waits.
func TestConfigureWhileThePluginIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first *fake
		p := startFakes(t, Options{}, func(number int) (*fake, error) {
			if number > 1 {
				return nil, errors.New("plugin fake: not today")
			}
			first = &fake{}
			return first, nil
		})
		known := mustConfigure(t, p)
		first.die()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if again, err := p.Configure(ctx, nil, 1<<16); again != known || err != nil {
			t.Errorf("got %v, %v, want the codec that is known", again, err)
		}
		if _, err := p.Configure(ctx, nil, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("another codec: got %v, want the end of the wait", err)
		}
	})
}

// A process that hangs in Configure while it comes up ends with the plugin, and delays no caller whose ctx ends.
func TestHangingInConfigure(t *testing.T) {
	hang := func(f *fake) func() error {
		return func() error {
			<-f.ended
			return status.Error(codes.Unavailable, "gone")
		}
	}
	t.Run("as it comes up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var last *fake
			p := newPlugin(Spec{Name: "fake", Path: "/fake"}, Options{StartTimeout: -1}.withDefaults(), fakes(func(number int) (*fake, error) {
				last = &fake{}
				if number > 1 {
					last.configure = hang(last)
				}
				return last, nil
			}))
			if err := p.start(t.Context()); err != nil {
				t.Fatal(err)
			}
			mustConfigure(t, p)
			first := last
			first.die()
			time.Sleep(5 * time.Second) // longer than the first pause
			synctest.Wait()
			second := last
			if second == first {
				t.Error("no second process was launched")
			}
			began := time.Now()
			if err := p.Close(); err != nil || time.Since(began) > 0 {
				t.Errorf("Close returned %v after %v, want it to kill the process at once", err, time.Since(began))
			}
			<-second.cleaned
		})
	})
	t.Run("when it is up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := startFakes(t, Options{StartTimeout: -1}, func(int) (*fake, error) {
				f := &fake{}
				f.configure = hang(f)
				return f, nil
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := p.Configure(ctx, nil, 1); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the end of the wait", err)
			}
		})
	})
}

// Processes that die soon after they came up are launched with growing pauses, also where there is a spare.
func TestPausesGrowWithASpare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var launched atomic.Int64
		p := startFakes(t, Options{Spares: 1, MinRestartDelay: 20 * time.Millisecond, MaxRestartDelay: time.Second}, func(number int) (*fake, error) {
			launched.Add(1)
			f := &fake{}
			if number > 1 {
				f.configure = func() error {
					time.AfterFunc(300*time.Millisecond, f.die)
					return nil
				}
			}
			return f, nil
		})
		d := mustConfigure(t, p).Open()
		if err := decode(t.Context(), d, "x"); err != nil { // from the first call on there are spares
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := launched.Load(); n > 150 {
			t.Errorf("%d processes were launched in a minute, want pauses of up to a second", n)
		}
	})
}
