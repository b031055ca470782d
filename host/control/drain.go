package control

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/framehost/framehost/host/relay"
)

// ErrNoRoute means that the host has no route of the requested name. The error of such a request wraps it.
var ErrNoRoute = errors.New("there is no route")

// ErrCut means that sessions were cut before they had delivered everything. The errors of a Shutdown and of [DrainReport.Err] wrap it.
var ErrCut = errors.New("sessions were cut before they had delivered everything")

// A DrainReport lists the sessions that a drain of one route ended, as `framehost drain` shows it. Its JSON is stable: fields
// are added, not changed.
type DrainReport struct {
	Route string           `json:"route"`
	Ended []DrainedSession `json:"ended"` // in the order of their IDs
	// Cut is how many of the ended sessions were cut by timeouts.drain before they had delivered everything.
	Cut int `json:"cut"`
	// Left is how many sessions have not ended: their peers were reset, and each waits for a plugin to answer a call.
	Left int `json:"left"`
	// What the ended sessions did not deliver: frames that were decoded and not written, and bytes.
	FramesNotDelivered int64 `json:"frames_not_delivered"`
	BytesNotDelivered  int64 `json:"bytes_not_delivered"`
}

// DrainedSession is a session or a hub connection that a drain ended.
type DrainedSession struct {
	ID         uint64 `json:"id"`
	Downstream string `json:"downstream,omitempty"` // of a session, as is Upstream
	Upstream   string `json:"upstream,omitempty"`
	Endpoint   string `json:"endpoint,omitempty"` // of a hub connection, as is Peer
	Peer       string `json:"peer,omitempty"`

	Age                time.Duration `json:"age_ns"`
	Reason             string        `json:"reason"`
	FramesNotDelivered int64         `json:"frames_not_delivered"`
	BytesNotDelivered  int64         `json:"bytes_not_delivered"`
}

// Reasons lists how many sessions ended for each reason, the most frequent first.
func (d *DrainReport) Reasons() string {
	closed := map[string]int64{}
	for i := range d.Ended {
		closed[d.Ended[i].Reason]++
	}
	return Reasons(closed)
}

// WasCut reports whether the session was cut before it had delivered everything.
func (s *DrainedSession) WasCut() bool {
	return s.Reason == string(relay.DrainTimeout) && (s.FramesNotDelivered > 0 || s.BytesNotDelivered > 0)
}

// Err returns an error that wraps ErrCut if the drain cut sessions before they had delivered everything, or left some that
// have not ended; otherwise nil.
func (d *DrainReport) Err() error {
	if d.Cut == 0 && d.Left == 0 {
		return nil
	}
	frames, bytes := int64(0), int64(0)
	for i := range d.Ended {
		if one := &d.Ended[i]; one.WasCut() {
			frames += one.FramesNotDelivered
			bytes += one.BytesNotDelivered
		}
	}
	err := fmt.Errorf("%w: %d cut, %d frames and %d bytes not delivered", ErrCut, d.Cut+d.Left, frames, bytes)
	if d.Left > 0 {
		err = fmt.Errorf("%w; of %d it is not known yet what, for their plugin has not answered", err, d.Left)
	}
	return err
}

// Reasons lists how many sessions ended for each reason, the most frequent first, as in "3 fin, 1 reset".
func Reasons(closed map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(closed), func(a, b string) int {
		if closed[a] != closed[b] {
			return int(closed[b] - closed[a])
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", closed[name], name)
	}
	return strings.Join(names, ", ")
}
