package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/framehost/framehost/host/control"
)

func newDrain() *cobra.Command {
	var (
		s        source
		socket   string
		outdated bool
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use:   "drain ROUTE [--outdated] [--socket PATH | -c FILE]",
		Short: "End the live sessions of one route of a running framehost",
		Long: `End the live sessions of one route, or the live connections of a hub, in the way in which SIGTERM ends all sessions. Each
session relays until it ends by itself or rests; then both peers see a clean end. A session rests when both of its directions
are between two frames and no byte has arrived for one second. A session that has not ended after timeouts.drain, with the
value that it opened with, is cut: framehost writes the whole frames that it has read, resets both peers, and logs at WARN
what was not delivered (drain_timeout).

The route itself goes on listening and dialing, and new connections get the settings that are in force. Other routes are not
affected. A reload ends no session: to end only the sessions that still have settings from before a reload, use --outdated
after it. A route that the reload removed can still be drained by its name.

In a hub, frames that wait for a dialed endpoint go to its next connection. Datagram endpoints go on, since they have no end
that a peer could see.

The command waits until all these sessions have ended. Then it prints how each of them ended, and what it did not deliver. If
you interrupt the command, it only stops waiting: the drain goes on.

framehost is asked at its control socket: that of --socket, else control.socket of the configuration, else the default
path. The exit code is 0 if everything was delivered, or if there was no session. It is 1 if a session was cut before it had
delivered everything, if the route does not exist, or if no framehost answers at the control socket.`,
		Example: `  framehost drain scales
  framehost drain scales --outdated -c relay.yaml`,
		Args:              arguments(1, 1),
		ValidArgsFunction: completeRoutes(&socket, &s),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := controlSocket(cmd.Context(), socket, &s)
			if err != nil {
				return err
			}
			report, err := control.RequestDrain(cmd.Context(), path, args[0], outdated)
			if cmd.Context().Err() != nil {
				return failed(fmt.Errorf("interrupted; framehost goes on to drain route %s, if it had begun to: see framehost status",
					args[0]))
			}
			if err != nil {
				return failed(err)
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), report)
			} else {
				err = printDrain(cmd.OutOrStdout(), report)
			}
			return failed(errors.Join(err, report.Err()))
		},
	}
	s.fileFlag(cmd, "the configuration `FILE` of the running framehost, for its control socket")
	cmd.Flags().StringVar(&socket, "socket", "", "the `PATH` of its control socket")
	cmd.Flags().BoolVar(&outdated, "outdated", false, "only sessions that opened before a reload changed or removed the route")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.MarkFlagsMutuallyExclusive("socket", "config")
	return cmd
}

// completePatience is how long the completion of a shell waits for the names of routes.
const completePatience = time.Second

// completeRoutes offers the names of the running framehost's routes to a shell.
func completeRoutes(socket *string, s *source) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completePatience)
		defer cancel()
		path, err := controlSocket(ctx, *socket, s)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		status, err := control.QueryStatus(ctx, path)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for i := range status.Routes {
			names = append(names, status.Routes[i].Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// printDrain writes d as text.
func printDrain(w io.Writer, d *control.DrainReport) error {
	what := "session"
	if len(d.Ended) > 0 && d.Ended[0].Endpoint != "" {
		what = "connection"
	}
	if len(d.Ended) == 0 && d.Left == 0 {
		_, err := fmt.Fprintf(w, "route %s: nothing to drain\n", d.Route)
		return err
	}
	fmt.Fprintf(w, "route %s: %s ended", d.Route, count(len(d.Ended), what))
	if len(d.Ended) > 0 {
		fmt.Fprintf(w, ": %s", d.Reasons())
	}
	if d.Left > 0 {
		fmt.Fprintf(w, "; %d reset, and waiting for a plugin that does not answer", d.Left)
	}
	fmt.Fprintln(w)
	if len(d.Ended) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	head := []string{"SESSION", "DOWNSTREAM", "UPSTREAM", "AGE", "REASON", "NOT DELIVERED"}
	if what == "connection" {
		head = []string{"MEMBER", "ENDPOINT", "PEER", "AGE", "REASON", "NOT DELIVERED"}
	}
	t := newTable(w, head...)
	for i := range d.Ended {
		s := &d.Ended[i]
		t.row(s.ID, s.Downstream+s.Endpoint, s.Upstream+s.Peer, s.Age.Round(time.Second), s.Reason,
			listed(framesText(s.FramesNotDelivered), sizeText(s.BytesNotDelivered, "")))
	}
	return t.Flush()
}
