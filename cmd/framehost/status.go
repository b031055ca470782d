package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/relay"
)

// statusPatience is how long a running framehost may take to answer.
const statusPatience = 10 * time.Second

func newStatus() *cobra.Command {
	var (
		s      source
		socket string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "status [--socket PATH | -c FILE]",
		Short: "Show what a running framehost is doing",
		Long: `Show what a running framehost is doing: its plugins, with the data plane by which payloads travel to them and why that
one was chosen; its routes with what they have carried and dropped; and its live sessions.

framehost is asked at its control socket: that of --socket, else control.socket of the configuration, else the default
path. Other errors in the file do not matter. The exit code is 1 if no framehost answers there.

TO UPSTREAM and TO DOWNSTREAM show the frames and bytes that were written to that side; for a hub, those that its
members sent and received.`,
		Example: `  framehost status
  framehost status -c relay.yaml --json`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := controlSocket(cmd.Context(), socket, &s)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), statusPatience)
			defer cancel()
			status, err := control.QueryStatus(ctx, path)
			if err != nil {
				return failed(err)
			}
			if asJSON {
				return failed(printJSON(cmd.OutOrStdout(), status))
			}
			return failed(printStatus(cmd.OutOrStdout(), status, time.Now()))
		},
	}
	s.fileFlag(cmd, "the configuration `FILE` that it runs, for its control socket")
	cmd.Flags().StringVar(&socket, "socket", "", "the `PATH` of its control socket")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.MarkFlagsMutuallyExclusive("socket", "config")
	return cmd
}

func controlSocket(ctx context.Context, socket string, s *source) (string, error) {
	if socket != "" {
		return socket, nil
	}
	if s.file == "" {
		c, err := s.load(ctx)
		if err != nil {
			return "", err
		}
		path, err := control.Socket(c.Control.Socket)
		return path, failed(err)
	}
	path, err := config.ControlSocket(ctx, s.file, config.LoadOptions{Set: s.set, Env: true})
	if err != nil {
		return "", err
	}
	path, err = control.Socket(path)
	return path, failed(err)
}

// printStatus writes s as text.
func printStatus(w io.Writer, s *control.Status, now time.Time) error {
	configuration, limit := s.Config, "no limit"
	if configuration == "" {
		configuration = "the embedded default configuration"
	}
	if s.Memory.Limit > 0 {
		limit = "of " + bytesText(s.Memory.Limit)
	}
	fmt.Fprintf(w, "framehost %s, process %d, up %s, runs %s\n", s.Version, s.PID, since(now, s.Started), configuration)
	fmt.Fprintf(w, "%s, %s of memory for buffers (%s)\n", count(s.Connections, "connection"), bytesText(s.Memory.Used), limit)
	if s.Draining {
		fmt.Fprintln(w, "it is ending: no connections are accepted, and sessions go on until they end or rest")
	}
	return errors.Join(printPlugins(w, s.Plugins, now), printRoutes(w, s.Routes), printSessions(w, s.Routes),
		printHubs(w, s.Routes), printDatagrams(w, s.Routes),
		printDiscovery(w, s, now), printElsewhere(w))
}

// onlyInJSON names the fields that --json shows and the tables do not.
const onlyInJSON = "of plugins path, calls, outstanding and last_error_at; of directions bytes_read, frames_in and payload_bytes; " +
	"of members datagrams_in and datagrams_out; of flows live; of discovery interfaces, signed, id and dns_sd"

func printElsewhere(w io.Writer) error {
	_, err := fmt.Fprintf(w, "\n--json shows more: %s.\nframehost violations shows the last violations.\n", onlyInJSON)
	return err
}

func printPlugins(w io.Writer, plugins []control.PluginStatus, now time.Time) error {
	fmt.Fprintln(w)
	t := newTable(w, "PLUGIN", "VERSION", "PROCESS", "SINCE", "DATA PLANE", "RESTARTS", "LAST ERROR")
	for i := range plugins {
		p := &plugins[i]
		process := "down"
		if p.Up {
			process = strconv.Itoa(p.PID)
		}
		if len(p.Spares) > 0 {
			process += fmt.Sprintf(" (spare %s)", strings.Trim(fmt.Sprint(p.Spares), "[]"))
		}
		t.row(p.Name, p.Version, process, since(now, p.Since), dataPlane(p.DataPlane, p.DataPlaneReason), p.Restarts, oneLine(p.LastError))
	}
	return t.Flush()
}

// dataPlane returns the data plane that calls of a plugin use and, unless the configuration names it, the reason.
func dataPlane(name, reason string) string {
	if reason == "" {
		return name
	}
	return fmt.Sprintf("%s (%s)", name, oneLine(reason))
}

func printRoutes(w io.Writer, routes []control.RouteStatus) error {
	fmt.Fprintln(w)
	t := newTable(w, "ROUTE", "FROM", "TO", "SESSIONS", "ACCEPTED", "REFUSED", "TO UPSTREAM", "TO DOWNSTREAM", "DROPPED", "ENDED")
	for i := range routes {
		r := &routes[i]
		toUpstream, toDownstream := carried(&r.ToUpstream), carried(&r.ToDownstream)
		if r.Hub != nil {
			toUpstream, toDownstream = brought(&r.Hub.FlowStats), received(&r.Hub.FlowStats)
		}
		t.row(r.Name, r.From, r.To, len(r.Sessions), r.Accepted, r.Refused, toUpstream, toDownstream, routeDropped(r),
			control.Reasons(r.Closed))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range routes {
		if r := &routes[i]; r.NotReady != "" {
			fmt.Fprintf(w, "route %s does not relay: %s\n", r.Name, oneLine(r.NotReady))
		}
	}
	return nil
}

func printSessions(w io.Writer, routes []control.RouteStatus) error {
	if !slices.ContainsFunc(routes, func(r control.RouteStatus) bool { return len(r.Sessions) > 0 }) {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable(w, "SESSION", "ROUTE", "AGE", "DOWNSTREAM", "CODEC", "UPSTREAM", "CODEC", "TO UPSTREAM", "TO DOWNSTREAM", "DROPPED")
	for _, r := range routes {
		for i := range r.Sessions {
			s := &r.Sessions[i]
			t.row(s.ID, r.Name, s.Age.Round(time.Second), s.Downstream, s.DownstreamCodec, s.Upstream, s.UpstreamCodec,
				carried(&s.ToUpstream), carried(&s.ToDownstream),
				dropped(&relay.MemberCounts{FlowStats: sum(&s.ToUpstream, &s.ToDownstream)}))
		}
	}
	return t.Flush()
}

// carried describes what a direction has written to its receiver, and what waits in it. Without framing, there are no frames.
func carried(f *relay.FlowStats) string {
	return listed(framesText(f.FramesOut), sizeText(f.BytesWritten, ""), sizeText(f.BytesWaiting, " unfinished"),
		sizeText(f.BytesUnwritten, " unwritten"))
}

// brought describes what the members of a hub have sent to it.
func brought(f *relay.FlowStats) string {
	return listed(framesText(f.FramesIn), sizeText(f.BytesRead, ""), sizeText(f.BytesWaiting, " unfinished"))
}

func framesText(n int64) string {
	if n == 0 {
		return ""
	}
	return count(int(n), "frame")
}

func sizeText(n int64, what string) string {
	if n == 0 {
		return ""
	}
	return bytesText(n) + what
}

// listed joins the texts that are not empty.
func listed(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(text string) bool { return text == "" }), ", ")
}

// routeDropped describes what was dropped on a route, and why.
func routeDropped(r *control.RouteStatus) string {
	counts := relay.MemberCounts{FlowStats: sum(&r.ToUpstream, &r.ToDownstream)}
	if r.Hub != nil {
		counts = r.Hub.MemberCounts
	}
	var flows []string
	if f := r.Flows; f != nil {
		flows = append(flows, numberText(int64(f.Dropped), "came too fast"), numberText(int64(f.Refused), "over udp.flows.max"))
	}
	return listed(append([]string{dropped(&counts)}, flows...)...)
}

// dropped describes what a session, a member of a hub, or a route did not deliver, and why.
func dropped(c *relay.MemberCounts) string {
	return listed(
		manyText(c.Violations-c.DroppedTails, "violation"), numberText(c.Unrepresentable, "unrepresentable"),
		manyText(c.DroppedTails, "tail"), sizeText(c.BytesSkipped, " skipped"),
		numberText(c.DroppedFrames, "by its queue")+inBrackets(c.DroppedBytes),
		numberText(c.NotSent, "not sent"), numberText(c.Starved, "no memory"),
		numberText(c.Own, "our own"), numberText(c.Suppressed, "came back"),
		numberText(c.Empties, "empty"), sizeText(c.BytesDiscarded, " discarded"), notDelivered(&c.FlowStats),
	)
}

func notDelivered(f *relay.FlowStats) string {
	if f.FramesNotDelivered == 0 && f.BytesNotDelivered == 0 {
		return ""
	}
	return listed(framesText(f.FramesNotDelivered), sizeText(f.BytesNotDelivered, "")) + " not delivered"
}

func manyText(n int64, what string) string {
	if n <= 0 {
		return ""
	}
	return count(int(n), what)
}

func numberText(n int64, what string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s", n, what)
}

func inBrackets(size int64) string {
	if size == 0 {
		return ""
	}
	return " (" + bytesText(size) + ")"
}

// sum returns the totals of both directions of a session.
func sum(a, b *relay.FlowStats) relay.FlowStats {
	both := *a
	both.Add(b)
	return both
}

func since(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	return now.Sub(then).Round(time.Second).String()
}

// oneLine shortens text so that it fits in a table.
func oneLine(text string) string {
	const most = 100
	text, _, cut := strings.Cut(text, "\n")
	if runes := []rune(text); len(runes) > most {
		text, cut = string(runes[:most]), true
	}
	if cut {
		text += "…"
	}
	return text
}

// bytesText returns n bytes as text such as 12.3MiB.
func bytesText(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	value, unit := float64(n), -1
	for ; value >= 1024 && unit < 3; unit++ {
		value /= 1024
	}
	return strings.TrimSuffix(strconv.FormatFloat(value, 'f', 1, 64), ".0") + [...]string{"KiB", "MiB", "GiB", "TiB"}[unit]
}
