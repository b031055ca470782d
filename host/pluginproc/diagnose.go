package pluginproc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/framehost/framehost/codecs/codecrpc"
)

// diagnose returns an error that says, for an operator, why a process did not come up: what was executed, what it did, and the end of
// its standard error. err is go-plugin's error.
func (p *osProcess) diagnose(ctx context.Context, err error) error {
	return fmt.Errorf("%s: %w%s", p.spec.label(), p.whyNotUp(ctx, err), p.stderrSuffix())
}

func (p *osProcess) whyNotUp(ctx context.Context, err error) error {
	line, ending := p.runner.stdout.first(), p.runner.ending()
	parts := strings.Split(line, "|")
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), ErrStartTimeout):
		if line == "" {
			return fmt.Errorf("%w: wrote no handshake line to standard output", context.Cause(ctx))
		}
		return context.Cause(ctx)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case p.runner.startErr != nil:
		return notExecuted(p.spec, p.runner.startErr)
	case line == "" && ending != "":
		return fmt.Errorf("ended with %s before its handshake, want a framehost codec plugin", ending)
	case line == "":
		return errors.New("closed its standard output before its handshake, want a framehost codec plugin")
	case len(parts) < 4:
		return fmt.Errorf("wrote %q first, want the handshake line of a framehost codec plugin",
			cleanLine([]byte(line[:min(len(line), 100)])))
	case parts[1] != strconv.Itoa(int(codecrpc.Handshake.ProtocolVersion)):
		return fmt.Errorf("speaks version %.20q of the codec protocol, want %d", parts[1], codecrpc.Handshake.ProtocolVersion)
	case ending != "":
		return fmt.Errorf("ended with %s after its handshake: %w", ending, err)
	default:
		return fmt.Errorf("handshake: %w", err)
	}
}

// notExecuted returns an error for a program that could not be executed because of err. It leaves out the path in err, which may be that
// of a copy or of sealed memory.
func notExecuted(spec *Spec, err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		err = e.Err
	}
	file, statErr := os.Stat(spec.Path)
	there := spec.Path != "" && statErr == nil
	switch {
	case there && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("can't be executed: its interpreter or loader: %w", err)
	case there && file.IsDir():
		return fmt.Errorf("can't be executed: %w: got a directory, want a program", err)
	case there && errors.Is(err, fs.ErrPermission) && file.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("can't be executed: %w: its mode is %s, want one with x: chmod +x %s", err, file.Mode(), spec.Path)
	}
	return fmt.Errorf("can't be executed: %w", err)
}

// stderrSuffix returns the last lines of standard error, to be appended to a message; "" if there are none.
func (p *osProcess) stderrSuffix() string {
	lines := p.runner.stderr.last()
	if len(lines) == 0 {
		return ""
	}
	return "; its standard error ended with: " + strings.Join(lines, " | ")
}

// exitSummary implements process.
func (p *osProcess) exitSummary() string {
	ending := p.runner.ending()
	if ending == "" {
		ending = "was killed"
	} else {
		ending = "ended with " + ending
	}
	return ending + p.stderrSuffix()
}
