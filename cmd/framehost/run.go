package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/framehost/framehost/host"
	"github.com/framehost/framehost/host/config"
)

// A runner is `framehost run`.
type runner struct {
	source
	level, format choice
	log           hclog.Logger
	out           io.Writer
}

func newRun() *cobra.Command {
	r := &runner{
		level:  choice{among: []string{"trace", "debug", "info", "warn", "error", "off"}},
		format: choice{among: []string{"text", "json"}},
	}
	cmd := &cobra.Command{
		Use:   "run [-c FILE]",
		Short: "Run the routes of a configuration",
		Long: `Run the routes of a configuration until a signal ends them.

Without a file an embedded configuration runs: one route between loopback ports, whose upstream is an echo that
framehost starts itself. A command to try it is printed at start.

SIGTERM and SIGINT drain: listeners close, and sessions go on until they end or rest for a second, for at most
timeouts.drain. Then the rest is cut; a second signal cuts at once. The exit code is 1 if anything that was cut had
not been delivered.

SIGHUP reads the file again; if anything in it is wrong, that is logged and nothing changes. A reload ends no session:
live sessions keep the values that they began with, also on routes that are removed, and only new sessions get the new
values. Listeners with the same address keep their socket. framehost check --running shows what a reload would do.

The log goes to standard error. The relay never waits for its reader: lines that are not read in time are dropped and
counted, and if standard error is closed, the relay goes on. Environment variables such as FRAMEHOST_LIMITS_MAX_FRAME
override the file, and --set overrides both.`,
		Example: `  framehost run
  framehost run -c relay.yaml --set timeouts.drain=5s --log-level debug`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.out = cmd.OutOrStdout()
			return r.run(cmd.Context(), cmd.ErrOrStderr().(*standardError)) // main sets it
		},
	}
	r.fileFlag(cmd, "the configuration `FILE`, as YAML, TOML or JSON")
	r.setFlag(cmd)
	cmd.Flags().Var(&r.level, "log-level", "the least severe level that is logged; as --set log.level")
	cmd.Flags().Var(&r.format, "log-format", "text or json; as --set log.format")
	_ = cmd.RegisterFlagCompletionFunc("log-level", r.level.complete) // these fail for unknown flags only
	_ = cmd.RegisterFlagCompletionFunc("log-format", r.format.complete)
	return cmd
}

// run runs the configuration until the first signal ends ctx, and then drains it.
func (r *runner) run(ctx context.Context, stderr *standardError) error {
	stderr.startQueue()
	reloads := make(chan os.Signal, 1)
	signal.Notify(reloads, syscall.SIGHUP)
	defer signal.Stop(reloads)
	for key, flag := range map[string]choice{"log.level": r.level, "log.format": r.format} {
		if flag.value != "" {
			r.set = append(r.set, key+"="+flag.value)
		}
	}
	c, err := r.loadRoutes(ctx)
	if err != nil && ctx.Err() != nil { // the file is a pipe that is silent; there is no logger yet
		fmt.Fprintf(stderr, "framehost: ended while it was reading %s: %v\n", r.file, context.Cause(ctx))
		return nil
	}
	if err != nil {
		return err
	}
	stderr.setNotice(droppedLines(c))
	r.log = newLogger(c, stderr)
	redirectLibraries(r.log.Named("library"))
	if r.file == "" {
		e, err := startEcho(ctx, c.Routes[0].To.Dial.HostPort())
		if err != nil {
			return failed(portsHint(fmt.Errorf("echo: %w", err)))
		}
		defer e.close()
	}
	h, err := host.Start(ctx, c, host.Options{Logger: r.log, Version: versionString(), Control: true})
	if err != nil {
		if ctx.Err() != nil { // the signal is why the start failed
			r.log.Info("ended while it was starting", "why", context.Cause(ctx))
			return nil
		}
		if r.file == "" {
			err = portsHint(err)
		}
		return wrongOrFailed(err)
	}
	if r.file == "" {
		r.announce(c)
	}
	r.log.Info("ready", "routes", len(c.Routes), "pid", os.Getpid())
	// A reload may hang, because the file is a pipe or because of a plugin. So it runs in its own goroutine, while this one waits
	// for the signal that ends framehost. After a reload, one more follows if any SIGHUP arrived during it.
	go func() {
		for {
			select {
			case <-reloads:
				r.reload(ctx, h)
			case <-ctx.Done():
				return
			}
		}
	}()
	<-ctx.Done()
	// SIGHUP stays caught until the end, and does nothing any more: by default it would kill the process in the middle of the drain.
	return failed(r.end(h, context.Cause(ctx)))
}

// reload reads the file again and applies it. Errors are logged.
func (r *runner) reload(ctx context.Context, h *host.Host) {
	if r.file == "" {
		r.log.Warn("there is no configuration file to read again")
		return
	}
	c, err := r.loadRoutes(ctx)
	if err == nil {
		err = h.Reload(ctx, c)
	}
	if err == nil || ctx.Err() != nil { // if the host is ending, end logs that
		return
	}
	for line := range strings.Lines(err.Error()) {
		r.log.Error("not reloaded", "file", r.file, "error", strings.TrimSuffix(line, "\n"))
	}
}

// end drains h. The next signal ends the drain.
func (r *runner) end(h *host.Host, why error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r.log.Info("ending: sessions go on until they end or rest; another signal cuts them", "why", why)
	return h.Shutdown(ctx)
}

// announce prints what the embedded default configuration does, and a command to try it.
func (r *runner) announce(c *config.Config) {
	route := &c.Routes[0]
	from, to := c.Codec(route.From.Codec), c.Codec(route.To.Codec)
	fmt.Fprintf(r.out, "%s (%s) <-> %s (%s), which is an echo\ntry: framehost send %s %s \"hello\"\n",
		route.From.Listen, from.Profile, route.To.Dial, to.Profile, from.Profile, route.From.Listen)
}

// portsHint returns err. If err says that a port of the embedded default configuration is in use, portsHint adds how to choose other
// ports.
func portsHint(err error) error {
	var system *os.SyscallError
	if !errors.As(err, &system) || system.Syscall != "bind" {
		return err
	}
	return fmt.Errorf(`%w
the embedded default configuration has fixed ports; to choose others, write a configuration:
  framehost config init -o relay.yaml
  framehost run -c relay.yaml`, err)
}
