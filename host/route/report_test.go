package route

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/loglimit"
	"github.com/framehost/framehost/host/relay"
)

// For many resets, the log has ten lines and then the number of lines held back. An end for another reason is still logged.
func TestEndsAreLoggedSometimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		log := hclog.New(&hclog.LoggerOptions{Output: &text})
		r := &Route{config: &config.Route{Name: "r"}, log: log.With("route", "r"), ledger: &ledger{}}
		end := func(id uint64, reason relay.Reason) {
			reports := r.sessionReporter(r.log.With("session", id), id, "a", "b", [2]string{"line", "counted"})
			reports.sessionEnded("b", &relay.Result{Reason: reason})
		}
		const storm = 1000
		for id := range uint64(storm) {
			end(id, relay.Reset)
		}
		end(storm, relay.CodecFailed)
		time.Sleep(2 * loglimit.Pause)
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(text.String()), "\n")
		if len(lines) != loglimit.Burst+2 {
			t.Fatalf("got %d lines, want %d:\n%s", len(lines), loglimit.Burst+2, text.String())
		}
		if got := lines[loglimit.Burst]; !strings.Contains(got, "[ERROR]") || !strings.Contains(got, "reason=codec_failed") {
			t.Errorf("got %q, want the end for another reason", got)
		}
		left := fmt.Sprintf("more_since_the_last_line=%d reason=reset", storm-loglimit.Burst)
		if got := lines[loglimit.Burst+1]; !strings.Contains(got, left) || strings.Contains(got, "session=") {
			t.Errorf("got %q, want %q, of the route and of no session", got, left)
		}
		text.Reset()
		for id := range uint64(loglimit.Burst + 3) {
			end(id, relay.Reset)
		}
		r.ends.Flush()
		if n := strings.Count(text.String(), "\n"); n == 0 || !strings.Contains(text.String(), "more_since_the_last_line") {
			t.Errorf("when the route ends: got %q, want what was left out", text.String())
		}
	})
}
