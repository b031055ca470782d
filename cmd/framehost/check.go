package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/framehost/framehost/host"
	"github.com/framehost/framehost/host/config"
)

func newCheck() *cobra.Command {
	var (
		s               source
		running, asJSON bool
		socket          string
	)
	cmd := &cobra.Command{
		Use:   "check [-c FILE] [--running [--socket PATH] [--json]]",
		Short: "Say whether a configuration is right",
		Long: `Say whether a configuration is right: read it, start every plugin that it names, configure every codec, also those
that no route uses, and have each encode and decode a payload; and look whether sockets, ports and directories can
be had. No endpoint is opened. Everything that is wrong is printed at once, each with its file, line, column and
key; then the exit code is 2. Warnings are about what is allowed but probably not meant, and about what is in use:
perhaps by a framehost that runs with this configuration.

--running also says what a reload (SIGHUP) would do with it, and changes nothing. The framehost that runs is asked on its
control socket: the one that --socket names, or control.socket of FILE, or else the default place. Without -c the file
is the one that it runs. Its --set flags and FRAMEHOST_ variables count, as in a reload, and those of check don't. By route:

  added      it starts
  changed    with each key, its old and new value. Listeners with the same address keep their socket
  removed    it stops listening
  unchanged  it goes on untouched

A reload ends no session: those that live go on with what they opened with, also on routes that are changed or removed,
and only new ones get the new values. What only a restart can change is named, and then a reload would be refused.

The exit code is 0 if a reload would be accepted, also if it would change nothing; 2 if the configuration is wrong or a
reload of it would be refused; 1 if no framehost runs there.`,
		Example: `  framehost check -c relay.yaml
  framehost check -c relay.yaml --set limits.max_frame=64KiB
  framehost check -c relay.yaml --running`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !running {
				if socket != "" || asJSON {
					return fmt.Errorf("check: got --socket or --json without --running, want them with it\n%s", seeHelp(cmd))
				}
				return check(cmd.Context(), &s, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			return checkRunning(cmd.Context(), &s, socket, asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	s.fileFlag(cmd, "the configuration `FILE`; none: the embedded default")
	s.setFlag(cmd)
	cmd.Flags().BoolVar(&running, "running", false, "say what the framehost that runs would do on SIGHUP")
	cmd.Flags().StringVar(&socket, "socket", "", "with --running: the `PATH` of its control socket")
	cmd.Flags().BoolVar(&asJSON, "json", false, "with --running: as JSON")
	cmd.MarkFlagsMutuallyExclusive("running", "set")
	return cmd
}

func check(ctx context.Context, s *source, out, stderr io.Writer) error {
	c, err := s.load()
	if err != nil {
		return err
	}
	if len(c.Routes)+len(c.Codecs)+len(c.Plugins) == 0 {
		return errEmpty(c)
	}
	if err := checked(ctx, c, host.Check(ctx, c, nil), stderr); err != nil {
		return err
	}
	name := c.File
	if name == "" {
		name = config.DefaultFile
	}
	_, err = fmt.Fprintf(out, "%s: ok: %s, %s, %s\n", name,
		count(len(c.Routes), "route"), count(len(c.Codecs), "codec"), count(len(c.Plugins), "plugin"))
	return failed(err)
}

// checked prints the warnings of c, and returns err, the result of its check, with its exit code.
func checked(ctx context.Context, c *config.Config, err error, stderr io.Writer) error {
	if ctx.Err() != nil {
		return failed(ctx.Err())
	}
	for _, warning := range c.Warnings {
		fmt.Fprintf(stderr, "%s (warning)\n", warning)
	}
	if err != nil {
		return wrongOrFailed(err)
	}
	return nil
}

// count returns n with the noun for it.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
