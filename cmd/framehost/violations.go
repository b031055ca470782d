package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/framehost/framehost/host/control"
)

func newViolations() *cobra.Command {
	var (
		s      source
		socket string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "violations [ROUTE] [--socket PATH | -c FILE]",
		Short: "Show the last violations of framing, with their bytes",
		Long: `Show the last 64 violations of each route, or of ROUTE, the oldest first: frames that broke their framing, payloads that
the other side's framing can't carry, and unfinished frames that timeouts.frame ended. Each violation has

  the route, the session (or the member of a hub), the peer that sent it, and the direction;
  what is wrong, and whether the frame was skipped or ended its session;
  offset     where the frame begins, in bytes from the start of the stream, or of the datagram
  at         where the byte is that is wrong, counted likewise
  after      how many frames preceded it
  want       what the framing asks for at that byte
  announces  the payload length that a too long frame announces
  had come   how many bytes of an unfinished frame had come
  the first bytes of the frame or of the payload, and those at the wrong byte, in hex and as text: log.wire_bytes (32) at
             most
  what would allow it   the option that would allow a frame that is too long
  kept in    the quarantine's file with all bytes that were skipped

With --json these are offset, at and payload_at, frame, want, announced, held, got and text, got_at, allow, quarantined
and not_kept.

framehost is asked at its control socket: that of --socket, else control.socket of the configuration, else the default
path. The exit code is 1 if no framehost answers there.`,
		Example: `  framehost violations
  framehost violations scales --json`,
		Args:              arguments(0, 1),
		ValidArgsFunction: completeRoutes(&socket, &s),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := controlSocket(cmd.Context(), socket, &s)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), statusPatience)
			defer cancel()
			all, err := control.QueryViolations(ctx, path, strings.Join(args, ""))
			if err != nil {
				return failed(err)
			}
			if asJSON {
				return failed(printJSON(cmd.OutOrStdout(), all))
			}
			return failed(printViolations(cmd.OutOrStdout(), all))
		},
	}
	s.fileFlag(cmd, "the configuration `FILE` that it runs, for its control socket")
	cmd.Flags().StringVar(&socket, "socket", "", "the `PATH` of its control socket")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.MarkFlagsMutuallyExclusive("socket", "config")
	return cmd
}

// printViolations writes all as text.
func printViolations(w io.Writer, all []control.ViolationStatus) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no violations")
		return err
	}
	var text strings.Builder
	for i := range all {
		if i > 0 {
			text.WriteByte('\n')
		}
		printViolation(&text, &all[i])
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func printViolation(w *strings.Builder, v *control.ViolationStatus) {
	outcome := "ended its session"
	if v.Skipped {
		outcome = "skipped"
	}
	peer := printableText(v.Peer)
	if v.Codec != "" {
		peer += " (" + v.Codec + ")"
	}
	fmt.Fprintf(w, "%s  route %s, session %d, %s, %s: %s, %s\n", v.Time.Local().Format(time.DateTime), v.Route, v.Session,
		strings.TrimSpace(peer), v.Direction, v.Error, outcome)
	fmt.Fprintf(w, "  offset %d, at %d", v.Offset, v.At)
	if v.PayloadAt != nil {
		fmt.Fprintf(w, " (byte %d of the payload)", *v.PayloadAt)
	}
	fmt.Fprintf(w, ", after %s: want %s\n", count(int(v.Frame), "frame"), v.Want)
	if v.Announced > 0 {
		fmt.Fprintf(w, "  announces a payload of %d bytes\n", v.Announced)
	}
	if v.Length > 0 {
		fmt.Fprintf(w, "  the payload has %d bytes\n", v.Length)
	}
	if v.Held > 0 {
		fmt.Fprintf(w, "  %s had come\n", count(v.Held, "byte"))
	}
	if v.Got != "" {
		fmt.Fprintf(w, "  %s  %s\n", v.Got, v.Text)
	}
	if v.GotAt != "" {
		fmt.Fprintf(w, "  at %d: %s\n", v.At, v.GotAt)
	}
	if v.Allow != "" {
		fmt.Fprintf(w, "  what would allow it: %s\n", v.Allow)
	}
	switch {
	case v.Quarantined != "" && v.NotKept > 0:
		fmt.Fprintf(w, "  kept in %s, except %s\n", v.Quarantined, count(int(v.NotKept), "byte"))
	case v.Quarantined != "":
		fmt.Fprintf(w, "  kept in %s\n", v.Quarantined)
	case v.NotKept > 0:
		fmt.Fprintf(w, "  %s could not be kept\n", count(int(v.NotKept), "byte"))
	}
}
