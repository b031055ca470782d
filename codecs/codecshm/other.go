//go:build !(linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x))

package codecshm

import (
	"context"
	"errors"
	"os"
	"runtime"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// Variable is the environment variable that gives a plugin process the number of the descriptor that it inherited for
// this plane.
const Variable = "FRAMEHOST_CODEC_SHM"

// Supported returns the reason why this system can't have shared memory.
func Supported() error {
	return errors.New("shared memory is for Linux, not " + runtime.GOOS + "/" + runtime.GOARCH)
}

// A Plane is the host's end of shared memory. There are none on this system.
type Plane struct{}

// New returns the error of Supported.
func New() (*Plane, *os.File, error) { return nil, nil, Supported() }

// Begin returns the error of Supported.
func (*Plane) Begin(context.Context, time.Duration, func(error)) error { return Supported() }

// Open panics: New never returns a Plane.
func (*Plane) Open(uint32, codeccall.Properties) codeccall.Direction { panic(Supported()) }

// Lend panics, like Open.
func (*Plane) Lend(int) codeccall.Loan { panic(Supported()) }

// Close does nothing.
func (*Plane) Close() {}

// ErrBroken is wrapped by an error of Serve after which calls would never be answered: the process must exit.
var ErrBroken = errors.New("plane is broken")

// Configured is a configured codec in a plugin process.
type Configured struct {
	Framing  codecs.Framing
	MaxFrame int
	MaxWire  int
}

// Serve returns nil at once: no host offers the plane on this system.
func Serve(func(number uint32) *Configured) error { return nil }
