package host

import (
	"encoding/hex"
	"errors"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/relay"
)

// logSessionEnd logs how a session ended.
func logSessionEnd(log hclog.Logger, downstream, upstream string, result *relay.Result) {
	logEnd(log, "session ended", result.Reason, result.Direction, told(result.Err, downstream, upstream),
		"upstream", upstream, "reason", string(result.Reason), "age", result.Stats.Age.Round(time.Millisecond),
		"frames_to_upstream", result.Stats.ToUpstream.FramesOut, "frames_to_downstream", result.Stats.ToDownstream.FramesOut)
}

// logEnd logs how a session or a member ended, as severely as its reason is. fields have the reason.
// err is what told made of the error.
func logEnd(log hclog.Logger, message string, reason relay.Reason, direction relay.Direction, err []any, fields ...any) {
	if direction != relay.Neither {
		fields = append(fields, "direction", direction.String())
	}
	fields = append(fields, err...)
	switch reason {
	case relay.Fin, relay.Drained, relay.RouteRemoved, relay.IdleTimeout:
		log.Info(message, fields...)
	case relay.CodecFailed, relay.MemoryShort, relay.IOError:
		log.Error(message, fields...)
	default:
		log.Warn(message, fields...)
	}
}

// told returns what a log line tells of err: of a violation all its parts. downstream and upstream are the peers of a
// session, "" where the line names the one peer there is.
func told(err error, downstream, upstream string) []any {
	var violation *relay.Violation
	switch {
	case errors.As(err, &violation):
		return violationFields(violation, downstream, upstream)
	case err != nil:
		return []any{"error", err}
	default:
		return nil
	}
}

// logSkipped returns what reports the violations that a session or a member goes on after; one that ends it is told with
// its end. A peer can make as many as it can send frames, so not all are logged; all are counted.
func logSkipped(log hclog.Logger, downstream, upstream string) func(relay.Violation) {
	lines := &sometimes{}
	return func(v relay.Violation) {
		if !v.Skipped {
			return
		}
		fields := append([]any{"direction", v.Direction.String()}, violationFields(&v, downstream, upstream)...)
		lines.log(log.Warn, "violation skipped", fields...)
	}
}

// logDatagrams returns what reports the violations of a member that no violation ends, as many as logSkipped does.
func logDatagrams(log hclog.Logger) func(relay.Violation) {
	lines := &sometimes{}
	return func(v relay.Violation) {
		fields := append([]any{"direction", v.Direction.String()}, violationFields(&v, "", "")...)
		if v.Source.IsValid() {
			fields = append(fields, "source", v.Source)
		}
		lines.log(log.Warn, "violation in a datagram", fields...)
	}
}

// violationFields tells of a violation whose it is, where it is in what that peer sent, and what is there.
func violationFields(v *relay.Violation, downstream, upstream string) []any {
	var fields []any
	switch {
	case v.Direction == relay.ToUpstream && downstream != "":
		fields = []any{"peer", downstream}
	case v.Direction == relay.ToDownstream && upstream != "":
		fields = []any{"peer", upstream}
	}
	return append(fields, "error", v.Err, "offset", v.Offset, "at", v.At, "frame", v.Frame,
		"got", hex.EncodeToString(v.Bytes), "want", v.Want)
}

// quarantines says where the bytes of violations are kept, nil if they are not. id is the session's, or the member's.
func (r *route) quarantines(id uint64) func(relay.Violation) io.WriteCloser {
	return func(v relay.Violation) io.WriteCloser {
		q := r.host.quarantine.Load()
		if q == nil {
			return nil
		}
		return q.file(r.config.Name, id, v.Direction.String(), v.Offset)
	}
}
