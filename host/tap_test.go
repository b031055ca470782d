package host

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// Payloads are logged only if log.payload_bytes is set and the level is trace, and each with at most that many bytes.
func TestPayloadsAreLoggedOnlyWhenAskedFor(t *testing.T) {
	tests := []struct {
		name  string
		bytes int
		level hclog.Level
		want  []string
	}{
		{"not asked for", 0, hclog.Trace, nil},
		{"not at this level", 6, hclog.Debug, nil},
		{"asked for", 6, hclog.Trace, []string{"downstream line 9 secret", "upstream long 7 answer"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var book logBook
			up := listenUpstream(t)
			c := parse(t, fmt.Sprintf(`
log: {payload_bytes: %d}
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: long}}`, test.bytes, up.Addr()))
			h, err := Start(t.Context(), c, Options{Logger: book.logger(test.level)})
			if err != nil {
				t.Fatal(err)
			}
			down := dialRoute(t, h, "r")
			send(t, down, "secret\x00me\n")
			peer := up.accept()
			expect(t, peer, "\x00\x00\x00\x09secret\x00me")
			send(t, peer, "\x00\x00\x00\x07answer!")
			expect(t, down, "answer!\n")
			down.Close()
			peer.Close()
			if err := h.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			var got []string
			for _, line := range book.find(t, "payload") {
				begins, _ := line["begins"].(string)
				got = append(got, fmt.Sprintf("%v %v %v %s", line["from"], line["codec"], line["bytes"], strings.Trim(begins, `"`)))
			}
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if test.want == nil && (strings.Contains(book.text(), "secret") || strings.Contains(book.text(), "answer")) {
				t.Errorf("a payload is in the log:\n%s", book.text())
			}
		})
	}
}
