package route

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/loglimit"
	"github.com/framehost/framehost/host/quarantine"
	"github.com/framehost/framehost/host/relay"
)

// A reporter reports the violations of one session, or of one member of a hub, and how it ended.
type reporter struct {
	route   *Route
	log     hclog.Logger
	id      uint64 // of the session or the member
	message string // log message for a violation after which the session or member goes on

	// The senders and their codecs: index 0 sends to upstream, 1 to downstream. For a member of a hub both are that member.
	peers, codecs [2]string

	lines loglimit.Limiter
}

// sessionReporter returns the reporter of a session between two connections.
func (r *Route) sessionReporter(log hclog.Logger, id uint64, downstream, upstream string, codecs [2]string) *reporter {
	return &reporter{route: r, log: log, id: id, message: "violation skipped", peers: [2]string{downstream, upstream}, codecs: codecs}
}

// memberReporter returns the reporter of a member of a hub. datagrams says that the member receives datagrams. peer is "" if
// they come from several peers: each violation then names its source.
func (r *Route) memberReporter(log hclog.Logger, id uint64, peer, codec string, datagrams bool) *reporter {
	p := &reporter{route: r, log: log, id: id, message: "violation skipped", peers: [2]string{peer, peer}, codecs: [2]string{codec, codec}}
	if datagrams {
		p.message = "violation in a datagram"
	}
	return p
}

// direction returns the index in peers and codecs of the sender in direction d.
func (*reporter) direction(d relay.Direction) int {
	if d == relay.ToDownstream {
		return 1
	}
	return 0
}

// violation keeps v for `framehost violations`, and logs it if the session or member goes on. A violation that ends the session
// or member is logged by ended. A peer can cause a violation with each frame, so not all are logged; all are counted.
func (p *reporter) violation(v relay.Violation) {
	p.route.violations.add(p, &v)
	if v.Skipped {
		p.lines.LogWith(p.log.Warn, p.message, func() []any {
			return append([]any{"direction", v.Direction.String()}, p.violationFields(&v)...)
		})
	}
}

// errorFields returns the log fields for err: all fields of a violation if err is one, none if err is nil.
func (p *reporter) errorFields(err error) []any {
	var violation *relay.Violation
	switch {
	case errors.As(err, &violation):
		return p.violationFields(violation)
	case err != nil:
		return []any{"error", err}
	default:
		return nil
	}
}

// violationFields returns the log fields for v: the sender, the place in the sender's stream, the bytes there, and what the
// framing wants instead.
func (p *reporter) violationFields(v *relay.Violation) []any {
	var fields []any
	if peer := p.peers[p.direction(v.Direction)]; peer != "" && !v.Source.IsValid() {
		fields = append(fields, "peer", peer)
	}
	if v.Source.IsValid() {
		fields = append(fields, "source", v.Source)
	}
	fields = append(fields, "error", v.Err, "offset", v.Offset, "at", v.At)
	if v.Payload {
		fields = append(fields, "payload_at", v.PayloadAt)
	}
	fields = append(fields, "frame", v.Frame)
	if v.Held > 0 {
		fields = append(fields, "held", v.Held)
	}
	if v.Announced > 0 {
		name := "announced"
		if v.Payload {
			name = "length"
		}
		fields = append(fields, name, v.Announced)
	}
	if len(v.Bytes) > 0 {
		fields = append(fields, "got", hex.EncodeToString(v.Bytes), "text", printable(v.Bytes))
	}
	if len(v.BytesAt) > 0 {
		fields = append(fields, "got_at", hex.EncodeToString(v.BytesAt))
	}
	fields = append(fields, "want", v.Want)
	if allow := p.allow(v); allow != "" {
		fields = append(fields, "allow", allow)
	}
	if kept, ok := v.Kept.(*quarantine.File); ok {
		name, missing := kept.Flushed()
		if name != "" {
			fields = append(fields, "quarantined", name)
		}
		if missing > 0 {
			fields = append(fields, "not_kept", missing)
		}
	}
	return fields
}

// allow returns the option, and the value for it, that would allow a frame that is too long; "" for other violations.
func (p *reporter) allow(v *relay.Violation) string {
	if v.MaxFrame == 0 {
		return ""
	}
	sender := p.direction(v.Direction)
	name := p.codecs[sender]
	if v.Payload {
		name = p.codecs[1-sender]
	}
	option := "the max_frame of the receiver's codec"
	if !v.Payload || v.Direction == relay.ToUpstream || v.Direction == relay.ToDownstream {
		option = p.route.config.MaxFrameOption(p.route.Codecs().Config().Codec(name))
	}
	limit := config.Size(v.MaxFrame).String()
	switch {
	case v.Announced > codecs.MaxFrame:
		return fmt.Sprintf("nothing (%s is %s, and can be %s at most): these bytes are probably no length",
			option, limit, config.Size(codecs.MaxFrame))
	case v.Announced > 0:
		return fmt.Sprintf("%s of at least %dB (it is %s)", option, v.Announced, limit)
	default:
		return fmt.Sprintf("a higher %s (it is %s)", option, limit)
	}
}

// printable returns b as quoted text, with escapes for bytes that are not printable ASCII.
func printable(b []byte) string { return strconv.QuoteToASCII(string(b)) }

// sessionEnded logs how a session ended and how much it dropped or did not deliver.
func (p *reporter) sessionEnded(upstream string, result *relay.Result) {
	fields := []any{"upstream", upstream, "reason", string(result.Reason), "age", result.Stats.Age.Round(time.Millisecond),
		"frames_to_upstream", result.Stats.ToUpstream.FramesOut, "frames_to_downstream", result.Stats.ToDownstream.FramesOut}
	lost := append(droppedFields(&result.Stats.ToUpstream, "_to_upstream"), droppedFields(&result.Stats.ToDownstream, "_to_downstream")...)
	p.ended("session ended", result.Reason, result.Direction, result.Err, append(fields, lost...), len(lost) > 0)
}

// droppedFields returns log fields for the counts in s, other than 0, of what one direction dropped or did not deliver. suffix
// is appended to each name.
func droppedFields(s *relay.FlowStats, suffix string) (fields []any) {
	for _, count := range []struct {
		name string
		n    int64
	}{
		{"violations", s.Violations}, {"unrepresentable", s.Unrepresentable}, {"dropped_tails", s.DroppedTails},
		{"bytes_skipped", s.BytesSkipped}, {"frames_not_delivered", s.FramesNotDelivered}, {"bytes_not_delivered", s.BytesNotDelivered},
	} {
		if count.n > 0 {
			fields = append(fields, count.name+suffix, count.n)
		}
	}
	return fields
}

// ended logs how a session or a member ended. The level follows from the reason, and is at least a warning if lost is set.
// Before that, ended logs how many lines about violations were held back. A peer can cause an end with each connection, so
// not all ends are logged; all are counted.
func (p *reporter) ended(message string, reason relay.Reason, direction relay.Direction, err error, fields []any, lost bool) {
	p.lines.Flush()
	if direction != relay.Neither {
		fields = append(fields, "direction", direction.String())
	}
	fields = append(fields, p.errorFields(err)...)
	level := hclog.Warn
	switch reason {
	case relay.Fin, relay.Drained, relay.IdleTimeout:
		if !lost {
			level = hclog.Info
		}
	case relay.CodecFailed, relay.MemoryShort, relay.IOError:
		level = hclog.Error
	}
	p.route.ends.Log(p.route.log, p.log, level, message, string(reason), fields)
}
