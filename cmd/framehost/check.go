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
		Short: "Check a configuration, its plugins, and whether its addresses are available",
		Long: `Check a configuration: read it, start every plugin that it names, configure every codec, also those that no route
uses, and have each codec encode and decode a payload. Also test whether sockets, ports and directories are available;
no endpoint is opened. All errors are printed at once, each with its file, line, column and key; then the exit code is
2. Warnings are about values that are allowed but probably not meant, and about addresses that are in use, perhaps by
a framehost that runs this configuration.

--running also shows what a reload (SIGHUP) of the running framehost would do, and changes nothing. It asks at the
control socket: that of --socket, else control.socket of FILE, else the default path. Without -c, the file is the one
that framehost runs. As in a reload, the --set flags and FRAMEHOST_ variables of the running framehost count, and those
of check do not. By route:

  added      it starts
  changed    with each key, its old and new value. Listeners with the same address keep their socket
  removed    it stops listening
  unchanged  it goes on untouched

A reload ends no session: live sessions keep the values that they began with, also on routes that are changed or
removed, and only new sessions get the new values. If the file changes a key that only a restart can change, the key is
named, and a reload would be refused.

The exit code is 0 if a reload would be accepted, also if it would change nothing; 2 if the configuration is wrong or a
reload of it would be refused; 1 if no framehost answers at the control socket.`,
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
	s.fileFlag(cmd, "the configuration `FILE`; without it, the embedded default")
	s.setFlag(cmd)
	cmd.Flags().BoolVar(&running, "running", false, "show what the running framehost would do on SIGHUP")
	cmd.Flags().StringVar(&socket, "socket", "", "with --running: the `PATH` of its control socket")
	cmd.Flags().BoolVar(&asJSON, "json", false, "with --running: as JSON")
	cmd.MarkFlagsMutuallyExclusive("running", "set")
	return cmd
}

func check(ctx context.Context, s *source, out, stderr io.Writer) error {
	c, err := s.load(ctx)
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
		name = "the embedded default configuration"
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
