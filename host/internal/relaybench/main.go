//go:build linux

// Command relaybench measures what framehost's process boundary costs. It sends the same load through
//
//   - framehost, built from this source as it is installed: one process, and one more for each codec;
//   - a twin: the same relay in plain Go with the codecs compiled in, without limits, timeouts, violations, status or the other direction.
//     No framework could be faster.
//
// Both accept lines (ended by LF; in some rows with backslash escapes) and send each payload on with a prefix of four bytes, its length in
// big-endian order:
//
//	load --"hello\n"--> framehost --decode--> escape
//	                              --encode--> lenprefix
//	sink <--"\0\0\0\5hello"--
//
// The two relays take turns, A B A B, and are started anew for each turn, so that a ratio is valid even if the speed of the machine
// changes between rounds. The ratio shown is the median of the rounds' ratios; the other figures are medians too. A third process is
// load and sink. The sink compares every byte of every payload with the byte that is due there. A flood ends with the end of its streams,
// and then the number of frames received must equal the number sent. A difference, a restarted plugin, or a relay that ends early
// fails the run. Figures that miss their targets do not fail the run: they are marked.
//
//	go run ./host/internal/relaybench
//	go run ./host/internal/relaybench -rows 'flood-*,ping-1' -rounds 3 -seconds 1 -data-plane grpc
//
// CPU time is the user and system time of all processes of a relay. Memory is their PSS, in which shared memory counts once. Both come from
// /proc, so relaybench runs on Linux only.
//
// It is a program rather than a benchmark of package testing, because it measures processes against each other, in turns. It is in
// host/internal because it is meant for this repository only.
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

// self is the path of this program. It works even after the program's file was deleted.
const self = "/proc/self/exe"

// takeRole runs one of the processes of a turn and exits, if this program was started by itself for that purpose. Otherwise it returns.
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

// A bench holds the values of the flags.
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
		return flag.ErrHelp // the message was printed already
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
	_, printing := io.WriteString(stdout, text) // after an error, the rows measured before it
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

// measureAll measures all chosen rows, even if one of them fails.
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

// A round has the results of one turn of each relay.
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
