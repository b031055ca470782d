package host

import (
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/relay"
)

// logSessionEnd logs how a session ended.
func logSessionEnd(log hclog.Logger, upstream string, result *relay.Result) {
	logEnd(log, "session ended", result.Reason, result.Direction, result.Err,
		"upstream", upstream, "reason", string(result.Reason), "age", result.Stats.Age.Round(time.Millisecond),
		"frames_to_upstream", result.Stats.ToUpstream.FramesOut, "frames_to_downstream", result.Stats.ToDownstream.FramesOut)
}

// logEnd logs how a session or a member ended, as severely as its reason is. fields have the reason.
func logEnd(log hclog.Logger, message string, reason relay.Reason, direction relay.Direction, err error, fields ...any) {
	if direction != relay.Neither {
		fields = append(fields, "direction", direction.String())
	}
	if err != nil {
		fields = append(fields, "error", err)
	}
	switch reason {
	case relay.Fin, relay.Drained, relay.RouteRemoved, relay.IdleTimeout:
		log.Info(message, fields...)
	case relay.CodecFailed, relay.MemoryShort, relay.IOError:
		log.Error(message, fields...)
	default:
		log.Warn(message, fields...)
	}
}

// logSkipped reports a violation that a session or a member goes on after; one that ends it is told with its end.
func logSkipped(log hclog.Logger, v *relay.Violation) {
	if v.Skipped {
		log.Warn("violation skipped", violationFields(v)...)
	}
}

func violationFields(v *relay.Violation) []any {
	return []any{
		"direction", v.Direction.String(), "offset", v.Offset, "at", v.At, "frame", v.Frame,
		"violation", v.Err, "got", fmt.Sprintf("%x", v.Bytes), "want", v.Want,
	}
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
