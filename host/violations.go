package host

import (
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"github.com/framehost/framehost/host/quarantine"
	"github.com/framehost/framehost/host/relay"
)

// keptViolations is how many violations of each route are kept for `framehost violations`. They are the last ones.
const keptViolations = 64

// ViolationStatus is one of the last violations of a route, as `framehost violations` shows it. Its JSON is stable: fields are
// added, not changed. README.md explains them.
type ViolationStatus struct {
	Time      time.Time `json:"time"`
	Route     string    `json:"route"`
	Session   uint64    `json:"session"` // ID of the session, or of the member of a hub
	Peer      string    `json:"peer"`    // the sender; for a datagram its source
	Codec     string    `json:"codec"`   // of the peer
	Direction string    `json:"direction"`
	Error     string    `json:"error"`
	Offset    int64     `json:"offset"` // of the first byte of the frame, in what the peer sent
	At        int64     `json:"at"`     // offset of the byte at which the violation became certain
	Frame     int64     `json:"frame"`  // how many frames came before this one
	// PayloadAt is the offset of that byte in the payload, if the receiver's framing can't carry the payload.
	PayloadAt *int64 `json:"payload_at,omitempty"`
	Held      int    `json:"held,omitempty"`      // bytes of an unfinished frame
	Announced uint64 `json:"announced,omitempty"` // payload bytes that the frame announces
	Length    uint64 `json:"length,omitempty"`    // of a payload that is too long
	Got       string `json:"got"`                 // the first bytes in hex, log.wire_bytes of them at most
	Text      string `json:"text"`                // the same as quoted text
	GotAt     string `json:"got_at,omitempty"`    // the bytes at At, in hex, if Got does not reach that far
	Want      string `json:"want"`
	Allow     string `json:"allow,omitempty"` // the option that would allow the frame
	Skipped   bool   `json:"skipped"`         // the session goes on
	// Quarantined is the file with the dropped bytes. The last NotKept of the dropped bytes are not in the file.
	Quarantined string `json:"quarantined,omitempty"`
	NotKept     int64  `json:"not_kept,omitempty"`
}

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
func (k *violations) status() []ViolationStatus {
	k.mu.Lock()
	kept := slices.Clone(k.last)
	if len(kept) == keptViolations {
		kept = append(kept[k.next:], kept[:k.next]...)
	}
	k.mu.Unlock()
	all := make([]ViolationStatus, 0, len(kept))
	for i := range kept {
		all = append(all, kept[i].status())
	}
	return all
}

func (k *keptViolation) status() ViolationStatus {
	v, sender := &k.v, k.by.direction(k.v.Direction)
	s := ViolationStatus{
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

// violationsOf returns the kept violations of the route of that name.
func (h *Host) violationsOf(name string) *violations {
	kept, _ := h.violations.LoadOrStore(name, &violations{})
	return kept.(*violations)
}

// Violations returns the last violations of the route of that name, or of all routes if name is "", the oldest first. ok is
// false if there is no such route.
func (h *Host) Violations(name string) (all []ViolationStatus, ok bool) {
	h.mu.Lock()
	routes := slices.Clone(h.routes)
	h.mu.Unlock()
	all = []ViolationStatus{}
	for _, r := range routes {
		if name == "" || r.config.Name == name {
			ok = true
			all = append(all, r.violations.status()...)
		}
	}
	slices.SortStableFunc(all, func(a, b ViolationStatus) int { return a.Time.Compare(b.Time) })
	return all, ok || name == ""
}
