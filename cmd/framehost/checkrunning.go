package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/framehost/framehost/host"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
)

// checkRunning implements check --running.
func checkRunning(ctx context.Context, s *source, socket string, asJSON bool, out, stderr io.Writer) error {
	path, err := controlSocket(ctx, socket, s)
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	running, err := control.QueryRunning(asking, path)
	if err != nil {
		if s.file != "" { // reports a mistake in the file first
			if wrong := check(ctx, s, io.Discard, stderr); wrong != nil {
				return wrong
			}
		}
		return failed(err)
	}
	if s.file == "" && running.File == "" {
		return fmt.Errorf("process %d runs the embedded default configuration, and has no file to reload; name one with -c FILE",
			running.Status.PID)
	}
	again := source{file: running.File}
	if s.file != "" {
		again.file = s.file
	}
	c, err := config.Load(ctx, again.file, config.LoadOptions{Set: running.Set, Builtin: builtinNames()})
	if err != nil {
		return err
	}
	if len(c.Routes) == 0 { // a reload would refuse it
		return errEmpty(c)
	}
	if err := checked(ctx, c, host.CheckReload(ctx, c, running, nil), stderr); err != nil {
		return err
	}
	p := running.Preview(c)
	if asJSON {
		err = printJSON(out, p)
	} else {
		err = printPreview(out, p)
	}
	if err != nil {
		return failed(err)
	}
	return refusal(p)
}

// refusal returns an error if a reload would be refused.
func refusal(p *control.Preview) error {
	if p.Accepted {
		return nil
	}
	var why []string
	if p.Refused != "" {
		why = append(why, p.Refused)
	}
	if len(p.Restart) > 0 {
		var keys []string
		for _, c := range p.Restart {
			keys = append(keys, c.Key)
		}
		why = append(why, "only a restart can change "+strings.Join(keys, "; "))
	}
	return errors.New("process " + fmt.Sprint(p.PID) + " would refuse a reload: " + strings.Join(why, "; "))
}

// longestShown is the length, in runes, of the longest value that is printed whole.
const longestShown = 80

// printPreview writes p as text.
func printPreview(w io.Writer, p *control.Preview) error {
	runs := p.Runs
	if runs == "" {
		runs = "the embedded default configuration"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "framehost, process %d, runs %s\n", p.PID, runs)
	if p.Runs != "" && !sameFile(p.Runs, p.File) {
		fmt.Fprintf(&text, "note: a reload reads that file; the following is about %s\n", p.File)
	}
	switch {
	case !p.Accepted:
		text.WriteString("a reload would be refused, and change nothing; the differences:\n")
	case !p.Changes():
		text.WriteString("a reload would be accepted, and change nothing\n")
	default:
		text.WriteString("a reload would be accepted:\n")
	}
	printChanges(&text, "needs a restart: ", p.Restart)
	printChanges(&text, "at once: ", p.Live)
	for i := range p.Routes {
		r := &p.Routes[i]
		fmt.Fprintf(&text, "%s: route %s%s\n", r.Change, r.Name, happens(r))
		printChanges(&text, "  ", r.Values)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func printChanges(w *strings.Builder, prefix string, changes []config.ValueChange) {
	for _, c := range changes {
		c.From, c.To = shortened(c.From), shortened(c.To)
		fmt.Fprintf(w, "%s%s\n", prefix, c)
	}
}

// happens describes what a reload does with a route's sessions.
func happens(r *control.RoutePreview) string {
	live := count(r.Sessions, "session")
	if r.Members > 0 {
		live = count(r.Members, "member")
	}
	switch r.Sessions + r.Members {
	case 0:
		live = "no live session"
	case 1:
		live += " keeps the values that it began with"
	default:
		live += " keep the values that they began with"
	}
	switch {
	case r.Change == config.Added:
		return ""
	case r.Change == config.Removed:
		return ": it stops listening; " + live
	case r.Change == config.Changed && r.Members > 0:
		return ": " + live + "; datagram endpoints that changed are opened anew"
	}
	return ": " + live
}

// shortened shortens a long value; --json shows it whole.
func shortened(value string) string {
	if runes := []rune(value); len(runes) > longestShown {
		return string(runes[:longestShown]) + "..."
	}
	return value
}

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return a == b
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}
