//go:build linux

// Command relaybench says what framehost's process boundary costs. It sends the same load through
//
//   - framehost, built from this source as it is installed: one process, and one more for each codec,
//   - and its twin: the same relay in plain Go with its codecs compiled in, without limits, timeouts, violations, status
//     or the other direction. A framework could do no better.
//
// Both accept lines (ended by LF; in some rows with backslash escapes) and hand on payloads behind four bytes of length,
// big-endian:
//
//	load --"hello\n"--> framehost --decode--> escape
//	                              --encode--> lenprefix
//	sink <--"\0\0\0\5hello"--
//
// The two take turns, A B A B, each started anew for each turn, so that a ratio holds also while the machine is not as
// fast as it was: the ratio shown is the median of the rounds' ratios, the figures are medians of their own. Load and sink
// are a third process. The sink compares every byte of every payload, with what is due at that place of the stream. A load
// that floods ends by the end of its streams, and then as many frames must have arrived as were sent. A difference, a
// plugin that was started again, or a relay that ends early fails the run. Figures that miss their target do not: they are
// marked.
//
//	go run ./host/internal/relaybench
//	go run ./host/internal/relaybench -rows 'flood-*,ping-1' -rounds 3 -seconds 1 -data-plane grpc
//
// CPU time is that of a relay's processes together, user and system. Memory is their PSS, in which what processes share
// counts once. Both are of /proc, so relaybench runs on Linux alone.
//
// It is a program and not a benchmark of package testing, since what it measures are processes, against each other and by
// turns; it is inside host since nobody but this repository is to run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	takeRole(os.Args)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "relaybench:", err)
		os.Exit(1)
	}
}

// self is this program, also if its file is gone.
const self = "/proc/self/exe"

// takeRole does not return if the program was started by itself, as one of the processes of a turn.
func takeRole(args []string) {
	if len(args) < 2 {
		return
	}
	var role func([]string) error
	switch args[1] {
	case twinRole:
		role = runTwin
	case loadRole:
		role = runLoad
	default:
		return
	}
	if err := role(args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", args[1], err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A bench is what the flags ask for.
type bench struct {
	rounds         int
	warmup, length time.Duration
	dataPlane      string
	program        string // framehost
	dir            string // for files of a turn
	progress       io.Writer
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	b := bench{progress: stderr}
	flags := flag.NewFlagSet("relaybench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	patterns := flags.String("rows", "*", "names of rows, separated by commas, with * and ?: "+rowNames())
	flags.IntVar(&b.rounds, "rounds", 5, "how many turns each relay has for a row")
	seconds := flags.Float64("seconds", 2, "how long a turn is measured")
	flags.DurationVar(&b.warmup, "warmup", 500*time.Millisecond, "for how long there is load before that")
	flags.StringVar(&b.dataPlane, "data-plane", "auto", "by which framehost calls its plugins: auto, grpc or shm")
	flags.StringVar(&b.program, "framehost", "", "`program` to measure instead of the one that is built from this source")
	markdown := flags.Bool("markdown", false, "print the table as Markdown")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp // it was printed
	}
	b.length = time.Duration(*seconds * float64(time.Second))
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	case b.rounds < 1:
		return fmt.Errorf("-rounds: got %d, want at least 1", b.rounds)
	case b.length <= 0 || b.warmup < 0:
		return fmt.Errorf("-seconds and -warmup: got %v and %v, want more than none", b.length, b.warmup)
	}
	chosen, err := chooseRows(*patterns)
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "relaybench"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	if b.program == "" {
		if b.program, err = buildFramehost(ctx, b.dir); err != nil {
			return err
		}
	}
	report := &report{bench: &b}
	err = b.measureAll(ctx, chosen, report)
	text := report.text()
	if *markdown {
		text = report.markdown()
	}
	_, printing := io.WriteString(stdout, text) // also what was measured before an error
	return errors.Join(err, printing)
}

func buildFramehost(ctx context.Context, dir string) (path string, err error) {
	path = filepath.Join(dir, "framehost")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/framehost/framehost/cmd/framehost")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building framehost: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return path, nil
}

// measureAll measures also the rows behind one that failed.
func (b *bench) measureAll(ctx context.Context, chosen []*row, report *report) error {
	var errs []error
	for i, row := range chosen {
		if err := allowDescriptors(row); err != nil {
			fmt.Fprintf(b.progress, "%s is skipped: %v\n", row.name, err)
			report.skip(row, err)
			continue
		}
		fmt.Fprintf(b.progress, "%s (%d of %d): %s", row.name, i+1, len(chosen), row.title)
		began := time.Now()
		rounds, err := b.measure(ctx, row, report)
		fmt.Fprintf(b.progress, " %.0fs\n", time.Since(began).Seconds())
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", row.name, err))
			report.skip(row, errors.New("it failed"))
			continue
		}
		report.add(row, rounds)
	}
	return errors.Join(errs...)
}

// A round is a turn of each relay.
type round struct{ framehost, twin result }

func (b *bench) measure(ctx context.Context, row *row, report *report) (rounds []round, err error) {
	for range b.rounds {
		var r round
		var planes string
		if r.framehost, planes, err = b.turn(ctx, row, b.startFramehost); err != nil {
			return nil, fmt.Errorf("framehost: %w", err)
		}
		report.planes = planes
		if r.twin, _, err = b.turn(ctx, row, b.startTwin); err != nil {
			return nil, fmt.Errorf("twin: %w", err)
		}
		rounds = append(rounds, r)
		fmt.Fprint(b.progress, " .")
	}
	return rounds, nil
}
