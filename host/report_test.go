package host

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/loglimit"
)

// A violation is reported with route, peer, direction, offset, the bytes found and what was wanted, whether the session goes on
// or not.
func TestViolationsAreReported(t *testing.T) {
	tests := []struct {
		name, policy, message string
	}{
		{"skipped", "skip", "violation skipped"},
		{"closing", "close", "session ended"},
	}
	for _, test := range tests {
		for _, toUpstream := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, to upstream: %v", test.name, toUpstream), func(t *testing.T) {
				var book logBook
				up := listenUpstream(t)
				c := parse(t, fmt.Sprintf(`
routes:
  - {name: r, on_violation: %s, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: line}}`,
					test.policy, up.Addr()))
				h, err := Start(t.Context(), c, Options{Logger: book.logger(hclog.Info)})
				if err != nil {
					t.Fatal(err)
				}
				down := dialRoute(t, h, "r")
				peer := up.accept()
				sender, receiver, direction := down, peer, "to upstream"
				name := down.LocalAddr().String()
				if !toUpstream {
					sender, receiver, direction = peer, down, "to downstream"
					name = up.Addr().String()
				}
				send(t, sender, "good\n!\xff\nnext\n")
				expect(t, receiver, "good\n")
				if test.policy == "skip" {
					expect(t, receiver, "next\n")
					down.Close()
					peer.Close()
				} else {
					waitFor(t, h, func(s *control.Status) bool { return s.Routes[0].Closed["violation"] == 1 })
				}
				if err := h.Shutdown(context.Background()); err != nil {
					t.Error(err)
				}
				lines := book.find(t, test.message)
				if len(lines) != 1 {
					t.Fatalf("got %d lines %q, want one; all of the log is\n%s", len(lines), test.message, book.text())
				}
				want := map[string]any{
					"route": "r", "peer": name, "direction": direction, "offset": 5.0, "at": 5.0, "frame": 1.0, "want": "no !",
				}
				for key, value := range want {
					if lines[0][key] != value {
						t.Errorf("%s: got %v, want %v", key, lines[0][key], value)
					}
				}
				if got, _ := lines[0]["got"].(string); !strings.HasPrefix(got, "21ff0a") {
					t.Errorf("got: got %s, want hex that begins with 21ff0a", got)
				}
			})
		}
	}
}

// A peer that sends nothing but violations does not fill the log; all of them are counted.
func TestManyViolations(t *testing.T) {
	const many = 1000
	var book logBook
	up := listenUpstream(t)
	c := parse(t, fmt.Sprintf(`
routes:
  - {name: r, on_violation: skip, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: long}}`, up.Addr()))
	h, err := Start(t.Context(), c, Options{Logger: book.logger(hclog.Info)})
	if err != nil {
		t.Fatal(err)
	}
	down := dialRoute(t, h, "r")
	send(t, down, strings.Repeat("!\n", many)+"good\n")
	peer := up.accept()
	expect(t, peer, "\x00\x00\x00\x04good")
	if got := h.Status().Routes[0].ToUpstream.Violations; got != many {
		t.Errorf("got %d violations counted, want %d", got, many)
	}
	down.Close()
	peer.Close()
	if err := h.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	lines := book.find(t, "violation skipped")
	if got := len(lines); got < loglimit.Burst || got > many/2 {
		t.Errorf("got %d lines about %d violations, want some", got, many)
	}
	told := 0
	for _, line := range lines {
		if line["error"] != nil {
			told++
		}
		more, _ := line["more_since_the_last_line"].(float64)
		told += int(more)
	}
	if told != many {
		t.Errorf("the lines are about %d violations, want %d", told, many)
	}
	ended := book.find(t, "session ended")
	if len(ended) != 1 || ended[0]["@level"] != "warn" || ended[0]["violations_to_upstream"] != float64(many) {
		t.Errorf("got %v, want a warning with %d violations", ended, many)
	}
	const kept = 64 // as README.md says
	all, err := h.Violations("r")
	if err != nil || len(all) != kept || all[0].Frame != 0 || all[len(all)-1].Offset != 2*(many-1) {
		t.Errorf("%d violations are kept, want the last %d", len(all), kept)
	}
	if _, err := h.Violations("s"); err == nil {
		t.Error("violations of a route that does not exist")
	}
}
