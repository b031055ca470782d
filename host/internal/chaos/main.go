//go:build linux

// Command chaos runs framehost under everything that goes wrong at once, and compares every byte.
//
//	client --codec A--> framehost --codec B--> server
//	client <--codec A-- framehost <--codec B-- server
//
// It builds framehost and the codec programs from this source, and starts them as an operator would: a process with a
// configuration file, which listens on loopback. Eight routes join the four codecs on both data planes, each codec once on
// either side. Sessions come and go on all of them; either end of a session sends frames that follow from the seed, and
// the other end compares them. The framings on the wire are written here once more, without the codecs' code. Meanwhile
//
//   - plugin processes are killed, stopped, and stopped as they come up;
//   - the configuration is written anew and read again, with the routes changed;
//   - the process is drained and started again, while some sessions hurry, some fall silent and some go on;
//   - neighbors on the same routes send garbage, keep unfinished frames, never read, and reset their connections;
//   - on two more routes, attackers send a payload that ends the plugin's process, beside bystanders. How long those wait is
//     compared with bystanders on two routes without attackers, since each shares the processors with everything above.
//
// A session is judged when both of its ends have ended. Each figure that must be 0 is in the report, with the time that it
// took a plugin to answer again after its process had died. The program fails if a figure is not 0.
//
//	go run ./host/internal/chaos
//	go run ./host/internal/chaos -frames 50000 -deaths 30 -seed 7
//
// It is a program and not a test, since it takes minutes; its test is a short run of it. Traffic goes to loopback only.
// The order of events follows from the seed, their times do not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	serveFragile(os.Args)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// Settings are what the flags ask for.
type settings struct {
	seed     uint64
	frames   int64 // to be delivered at least
	deaths   int64 // of plugin processes, at least
	drains   int64 // of the host, at least
	limit    time.Duration
	sessions int // at a time
	programs string
	keep     string // where the log is kept; "": it is not
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var s settings
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Uint64Var(&s.seed, "seed", uint64(time.Now().UnixNano()), "what events and payloads follow from")
	flags.Int64Var(&s.frames, "frames", 1_000_000, "how many frames are to arrive at least")
	flags.Int64Var(&s.deaths, "deaths", 500, "how many plugin processes are to die at least")
	flags.Int64Var(&s.drains, "drains", 3, "how often the process is drained and started again, at least")
	flags.DurationVar(&s.limit, "limit", 20*time.Minute, "how long it may take, without building the programs")
	flags.IntVar(&s.sessions, "sessions", 24, "how many sessions are live at a time")
	flags.StringVar(&s.programs, "programs", "", "`directory` of framehost and the codec programs, instead of building them")
	flags.StringVar(&s.keep, "log", "", "`file` to write the log of framehost to")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp // it was printed
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if s.frames < 1 || s.deaths < 1 || s.drains < 0 || s.sessions < 1 {
		return errors.New("-frames, -deaths, -drains and -sessions: want positive numbers")
	}
	fmt.Fprintf(stderr, "seed %d\n", s.seed)
	w, err := newWorld(ctx, s, stderr)
	if err != nil {
		return err
	}
	defer w.close()
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit, fmt.Errorf("not done within %v, the limit", s.limit))
	defer cancel()
	err = w.run(ctx)
	w.tally.print(stdout, s.seed)
	return errors.Join(err, w.tally.verdict())
}
