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

// Variable is the environment variable that tells a plugin process the number of the descriptor it inherited for this
// plane.
const Variable = "FRAMEHOST_CODEC_SHM"

// Supported returns why this system can't have shared memory.
func Supported() error {
	return errors.New("shared memory is for Linux, not " + runtime.GOOS + "/" + runtime.GOARCH)
}

// A Plane is the host's end. There are none here.
type Plane struct{}

// New returns what Supported does.
func New() (*Plane, *os.File, error) { return nil, nil, Supported() }

// Begin returns what Supported does.
func (*Plane) Begin(context.Context, time.Duration, func(error)) error { return Supported() }

// Open panics, as does Lend: there is no Plane to call them on.
func (*Plane) Open(uint32, codeccall.Properties) codeccall.Direction { panic(Supported()) }

// Lend panics.
func (*Plane) Lend(int) codeccall.Loan { panic(Supported()) }

// Close does nothing.
func (*Plane) Close() {}

// ErrBroken is wrapped by an error of Serve after which calls stay without an answer for ever: the process has to end.
var ErrBroken = errors.New("plane is broken")

// Configured is a codec with its options in force, in a plugin process.
type Configured struct {
	Framing  codecs.Framing
	MaxFrame int
	MaxWire  int
}

// Serve returns at once: no host offers the plane here.
func Serve(func(number uint32) *Configured) error { return nil }
