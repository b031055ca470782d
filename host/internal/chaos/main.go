//go:build linux

// Command chaos runs framehost while many things go wrong at the same time, and compares every byte that it relays.
//
//	client --codec A--> framehost --codec B--> server
//	client <--codec A-- framehost <--codec B-- server
//
// It builds framehost and the codec programs from this source, and starts them as an operator would: as a process with a configuration
// file, which listens on loopback. Eight routes connect the four codecs on both data planes, so that each codec is once on either side.
// Sessions begin and end on all routes. Each end of a session sends frames that depend only on the seed, and the other end compares
// them. To check the codecs, chaos has an implementation of each framing of its own. At the same time,
//
//   - plugin processes are killed, stopped, and stopped while they come up;
//   - the configuration file is rewritten with changed routes, and reloaded;
//   - the framehost process is drained and started again, while some sessions finish early, some fall silent and some go on;
//   - neighbors on the same routes send garbage, leave frames unfinished, never read, and reset their connections;
//   - on two more routes, attackers send a payload that ends the plugin's process, while bystanders use the same routes. Their waiting
//     times are compared with those of bystanders on two routes without attackers, because all share the processors with the rest.
//
// A session is judged when both of its ends have ended. The report shows each figure that must be 0, and how long a plugin took to answer
// again after its process had died. The program fails if such a figure is not 0.
//
//	go run ./host/internal/chaos
//	go run ./host/internal/chaos -frames 50000 -deaths 30 -seed 7
//
// It is a program rather than a test, because it takes minutes; its test makes a short run. All traffic is on loopback. The seed
// determines the order of events but not their times.
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

// Settings are the values of the flags.
type settings struct {
	seed     uint64
	frames   int64 // least number of frames to deliver
	deaths   int64 // least number of plugin processes to end
	drains   int64 // least number of drains of the host
	limit    time.Duration
	sessions int // at a time
	programs string
	keep     string // file for the log; "": none
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
		return flag.ErrHelp // the message was printed already
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
