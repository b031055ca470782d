package codectest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/framehost/framehost/codecs/codeccall"
)

// timeoutVariable is the environment variable that sets how long a call may take.
const timeoutVariable = "FRAMEHOST_CODECTEST_TIMEOUT"

// DefaultTimeout is how long a call may take, if neither the case nor the environment says otherwise.
const DefaultTimeout = 30 * time.Second

// Timeout returns how long a call may take: the value of FRAMEHOST_CODECTEST_TIMEOUT, such as 2m, or else DefaultTimeout.
// It returns an error if that value is not a duration above 0.
func Timeout() (time.Duration, error) {
	text := os.Getenv(timeoutVariable)
	if text == "" {
		return DefaultTimeout, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%s: got %q, want a duration above 0, such as 2m", timeoutVariable, text)
	}
	return d, nil
}

// A watch makes the calls of a suite, each in a goroutine of its own, and gives up a call that does not return. After that,
// or after the codec's process is gone, it makes no more calls.
type watch struct {
	timeout time.Duration
	over    *atomic.Bool // shared by all cases
}

// errEnded is the error of a call that ended its goroutine.
var errEnded = errors.New("the call ended its goroutine, as by runtime.Goexit or t.FailNow: want it to return")

// call runs run, and returns its error, or an error if run does not return in time.
func (w *watch) call(run func() error) error {
	done := newCall(run)
	timer := time.NewTimer(w.timeout)
	defer timer.Stop()
	select {
	case err := <-done:
		if errors.Is(err, codeccall.ErrGone) || errors.Is(err, codeccall.ErrOverdue) {
			w.over.Store(true)
		}
		return err
	case <-timer.C:
		w.over.Store(true)
		return fmt.Errorf("the call has not returned after %v, want a result; it is left running, and the suite ends here:\n%s",
			w.timeout, stacksOfCalls())
	}
}

// newCall starts a call. stacksOfCalls finds the name of this function in stack traces.
func newCall(call func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		err := errEnded
		defer func() { done <- err }()
		err = call()
	}()
	return done
}

// stacksOfCalls returns the stack traces of all calls under way.
func stacksOfCalls() string {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	var calls []string
	for stack := range strings.SplitSeq(string(all), "\n\n") {
		if strings.Contains(stack, "codectest.newCall.func") {
			calls = append(calls, stack)
		}
	}
	return strings.Join(calls, "\n\n")
}

// watched returns configure with a watch on its calls and on the calls of the codecs that it makes.
func (w *watch) watched(configure configurer) configurer {
	return func(options json.RawMessage, maxFrame int) (codec codeccall.Codec, err error) {
		var made codeccall.Codec
		err = w.call(func() (err error) {
			made, err = configure(options, maxFrame)
			return err
		})
		if err != nil {
			return nil, err
		}
		return watchedCodec{made, w}, nil
	}
}

type watchedCodec struct {
	codeccall.Codec
	watch *watch
}

func (c watchedCodec) Open() codeccall.Direction { return watchedDirection{c.Codec.Open(), c.watch} }

type watchedDirection struct {
	codeccall.Direction
	watch *watch
}

func (d watchedDirection) Decode(ctx context.Context, in *codeccall.Decode, out *codeccall.Decoded) error {
	call := *in // a call that is given up goes on with it
	return d.watch.call(func() error { return d.Direction.Decode(ctx, &call, out) })
}

func (d watchedDirection) Encode(ctx context.Context, in *codeccall.Encode, out *codeccall.Encoded) error {
	call := *in // a call that is given up goes on with it
	return d.watch.call(func() error { return d.Direction.Encode(ctx, &call, out) })
}

// unwatched returns the direction inside d, for calls whose time is measured.
func unwatched(d codeccall.Direction) codeccall.Direction {
	if w, ok := d.(watchedDirection); ok {
		return w.Direction
	}
	return d
}
