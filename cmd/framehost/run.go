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

Without a file there is an embedded configuration: one route between loopback ports, whose upstream is an
echo that framehost starts itself. A line to try is printed at start.

SIGTERM and SIGINT end it in good order: listeners close, and sessions go on until they end or rest for a
second, for at most timeouts.drain. What is left then is cut, and a second signal cuts all at once. The exit code
is 1 if anything was cut that was not delivered.

SIGHUP reads the file again: what is wrong with it is logged and changes nothing. A reload ends no session: those
that live go on with what they opened with, also on routes that are gone, and only new ones get the new values.
Listeners with the same address keep their socket. framehost check --running says beforehand what a reload would do.

The log goes to standard error. Nothing waits for its reader: lines that it does not take in time are dropped
and counted, and the relay goes on when it is closed. Variables such as FRAMEHOST_LIMITS_MAX_FRAME count as well,
and --set goes before them.`,
		Example: `  framehost run
  framehost run -c relay.yaml --set timeouts.drain=5s --log-level debug`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.out = cmd.OutOrStdout()
			return r.run(cmd.Context(), cmd.ErrOrStderr().(*standardError)) // as main sets it
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

// run runs the configuration until the first signal, which ends ctx, and drains it then.
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
	c, err := r.loadRoutes()
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
		if ctx.Err() != nil { // which is then what is wrong with whatever was starting
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
	// A reload may hang, in a file that is a pipe or in a plugin: the signal that ends framehost does not wait for it. A SIGHUP
	// that comes meanwhile waits its turn, and further ones are one with it.
	go func() {
		for range reloads {
			r.reload(ctx, h)
		}
	}()
	<-ctx.Done()
	signal.Stop(reloads) // so that nothing is sent after the close
	close(reloads)
	return failed(r.end(h, context.Cause(ctx)))
}

// reload reads the file again and makes it run. What is wrong is logged.
func (r *runner) reload(ctx context.Context, h *host.Host) {
	if r.file == "" {
		r.log.Warn("there is no configuration file to read again")
		return
	}
	c, err := r.loadRoutes()
	if err == nil {
		err = h.Reload(ctx, c)
	}
	if err == nil || ctx.Err() != nil { // the host is ending, which is said elsewhere
		return
	}
	for line := range strings.Lines(err.Error()) {
		r.log.Error("not reloaded", "file", r.file, "error", strings.TrimSuffix(line, "\n"))
	}
}

// end drains h, which the next signal cuts short.
func (r *runner) end(h *host.Host, why error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r.log.Info("ending: sessions go on until they end or rest; another signal cuts them", "why", why)
	return h.Shutdown(ctx)
}

// announce prints what the embedded default configuration does, and a line to try.
func (r *runner) announce(c *config.Config) {
	route := &c.Routes[0]
	from, to := c.Codec(route.From.Codec), c.Codec(route.To.Codec)
	fmt.Fprintf(r.out, "%s (%s) <-> %s (%s), which is an echo\ntry: framehost send %s %s \"hello\"\n",
		route.From.Listen, from.Profile, route.To.Dial, to.Profile, from.Profile, route.From.Listen)
}

// portsHint says how to choose other ports than those of the embedded default configuration, if err is that they are
// taken.
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
