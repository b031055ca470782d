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
	var s source
	cmd := &cobra.Command{
		Use:   "check [-c FILE]",
		Short: "Say whether a configuration is right",
		Long: `Say whether a configuration is right: read it, start every plugin that it names, configure every codec, also those
that no route uses, and have each encode and decode a payload; and look whether sockets, ports and directories can
be had. No endpoint is opened. Everything that is wrong is printed at once, each with its file, line, column and
key; then the exit code is 2. Warnings are about what is allowed but probably not meant, and about what is in use:
perhaps by a framehost that runs with this configuration.`,
		Example: `  framehost check -c relay.yaml
  framehost check -c relay.yaml --set limits.max_frame=64KiB`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return check(cmd.Context(), &s, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	s.fileFlag(cmd, "the configuration `FILE`; none: the embedded default")
	s.setFlag(cmd)
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
	err = host.Check(ctx, c, nil)
	if ctx.Err() != nil {
		return failed(ctx.Err())
	}
	for _, warning := range c.Warnings {
		fmt.Fprintf(stderr, "%s (warning)\n", warning)
	}
	if err != nil {
		return wrongOrFailed(err)
	}
	name := c.File
	if name == "" {
		name = config.DefaultFile
	}
	_, err = fmt.Fprintf(out, "%s: ok: %s, %s, %s\n", name,
		count(len(c.Routes), "route"), count(len(c.Codecs), "codec"), count(len(c.Plugins), "plugin"))
	return failed(err)
}

// count returns n with the noun for it.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
