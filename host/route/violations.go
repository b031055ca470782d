package route

import (
	"encoding/hex"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/quarantine"
	"github.com/framehost/framehost/host/relay"
)

// keptViolations is how many violations of each route are kept for `framehost violations`. They are the last ones.
const keptViolations = 64

// violations keeps the last violations of a route. The zero value is ready to use; violations is safe for concurrent use.
type violations struct {
	mu   sync.Mutex
	last []keptViolation // up to keptViolations of them; a ring when full
	next int             // index in last for the next violation
}

type keptViolation struct {
	at time.Time
	by *reporter
	v  relay.Violation
}

func (k *violations) add(by *reporter, v *relay.Violation) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.last) < keptViolations {
		k.last = append(k.last, keptViolation{})
	}
	k.last[k.next] = keptViolation{time.Now(), by, *v}
	k.next = (k.next + 1) % keptViolations
}

// status returns the kept violations, the oldest first.
func (k *violations) status() []control.ViolationStatus {
	k.mu.Lock()
	kept := slices.Clone(k.last)
	if len(kept) == keptViolations {
		kept = append(kept[k.next:], kept[:k.next]...)
	}
	k.mu.Unlock()
	all := make([]control.ViolationStatus, 0, len(kept))
	for i := range kept {
		all = append(all, kept[i].status())
	}
	return all
}

func (k *keptViolation) status() control.ViolationStatus {
	v, sender := &k.v, k.by.direction(k.v.Direction)
	s := control.ViolationStatus{
		Time: k.at, Route: k.by.route.config.Name, Session: k.by.id, Peer: k.by.peers[sender], Codec: k.by.codecs[sender],
		Direction: v.Direction.String(), Error: v.Err.Error(), Offset: v.Offset, At: v.At, Frame: v.Frame, Held: v.Held,
		Announced: v.Announced, Got: hex.EncodeToString(v.Bytes), GotAt: hex.EncodeToString(v.BytesAt), Want: v.Want,
		Allow: k.by.allow(v), Skipped: v.Skipped,
	}
	if v.Source.IsValid() {
		s.Peer = v.Source.String()
	}
	if len(v.Bytes) > 0 {
		s.Text = printable(v.Bytes)
	}
	if v.Payload {
		s.PayloadAt, s.Length, s.Announced = &v.PayloadAt, v.Announced, 0
	}
	if kept, ok := v.Kept.(*quarantine.File); ok {
		s.Quarantined, s.NotKept = kept.Flushed()
	}
	return s
}

// Violations returns the last violations of all routes of this name, the oldest first.
func (r *Route) Violations() []control.ViolationStatus { return r.violations.status() }

// quarantines returns a function that opens a place for the bytes of a violation of the session or member id. The function returns nil
// if no quarantine is open.
func (r *Route) quarantines(id uint64) func(relay.Violation) io.WriteCloser {
	return func(v relay.Violation) io.WriteCloser {
		q := r.shared.Quarantine.Load()
		if q == nil {
			return nil
		}
		return q.File(r.config.Name, id, v.Direction.String(), v.Offset)
	}
}
