package route

import (
	"io"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/relay"
)

// The benchmark measures the cost of reporting a violation when there are so many that hardly any is logged.
func BenchmarkReportOfViolation(b *testing.B) {
	log := hclog.New(&hclog.LoggerOptions{Output: io.Discard})
	r := &Route{config: &config.Route{Name: "r"}, log: log, ledger: &ledger{}}
	reports := r.sessionReporter(log, 1, "a", "b", [2]string{"line", "counted"})
	v := relay.Violation{Direction: relay.ToUpstream, Err: codecs.ErrMalformed, Want: "STX", Bytes: []byte("x\n"), Skipped: true}
	b.ReportAllocs()
	for b.Loop() {
		reports.violation(v)
	}
}
