package control

import (
	"fmt"
	"time"

	"github.com/framehost/framehost/host/relay"
)

// Status is the state of a host, as `framehost status` shows it. Its JSON is stable: fields are added, not changed.
type Status struct {
	Version     string         `json:"version"`
	PID         int            `json:"pid"`
	Started     time.Time      `json:"started"`
	Config      string         `json:"config"` // the file; "" for the embedded default
	Draining    bool           `json:"draining"`
	Connections int            `json:"connections"` // accepted ones that are live
	Memory      MemoryStatus   `json:"memory"`
	Plugins     []PluginStatus `json:"plugins"`
	Routes      []RouteStatus  `json:"routes"`
	// Discovery is nil until a route needs it.
	Discovery *DiscoveryStatus `json:"discovery,omitempty"`
}

// Process names the process that answered, and what it runs, for messages.
func (s *Status) Process() string {
	what := s.Config
	if what == "" {
		what = "the embedded default configuration"
	}
	return fmt.Sprintf("framehost, process %d, which runs %s", s.PID, what)
}

// MemoryStatus is the memory budget for buffers, in bytes.
type MemoryStatus struct {
	Used  int64 `json:"used"`
	Limit int64 `json:"limit"` // 0: no limit
}

// PluginStatus is a plugin and its process.
type PluginStatus struct {
	Name            string    `json:"name"`
	Version         string    `json:"version"`
	Path            string    `json:"path"` // "" for a built-in plugin
	Up              bool      `json:"up"`
	PID             int       `json:"pid"`                         // 0 while the plugin is down
	Spares          []int     `json:"spares"`                      // PIDs of processes that take over when PID ends
	Since           time.Time `json:"since"`                       // when the plugin last came up or went down
	DataPlane       string    `json:"data_plane"`                  // grpc or shm
	DataPlaneReason string    `json:"data_plane_reason,omitempty"` // why DataPlane was chosen; "": the configuration names it
	Calls           uint64    `json:"calls"`                       // made to the present process
	Outstanding     int       `json:"outstanding"`                 // calls that are not answered yet
	Restarts        int       `json:"restarts"`
	LastError       string    `json:"last_error,omitempty"`
	LastErrorAt     time.Time `json:"last_error_at,omitzero"`
}

// RouteStatus is the state of a route, with counts since it was started.
type RouteStatus struct {
	Name     string           `json:"name"`
	Removed  bool             `json:"removed,omitempty"` // a reload removed the route, and some of its sessions go on
	From     string           `json:"from"`
	To       string           `json:"to"`
	Accepted int64            `json:"accepted"`
	Refused  int64            `json:"refused"`
	Closed   map[string]int64 `json:"closed"` // ended sessions by reason
	// NotReady is why the route does not relay: a plugin is not up yet, or its codec can't be used. "": the route relays.
	NotReady string `json:"not_ready,omitempty"`
	// ToUpstream and ToDownstream are the totals of all sessions, including live ones.
	ToUpstream   relay.FlowStats `json:"to_upstream"`
	ToDownstream relay.FlowStats `json:"to_downstream"`
	Sessions     []SessionStatus `json:"sessions"`
	Hub          *HubStatus      `json:"hub,omitempty"`   // only for a hub, which has no sessions
	Flows        *FlowsStatus    `json:"flows,omitempty"` // only for a route that answers datagrams
	// Announced are the services that the route announces; Services those that it dials by name and has found.
	Announced []AnnouncedStatus `json:"announced,omitempty"`
	Services  []ServiceStatus   `json:"services,omitempty"`
}

// SessionStatus is a live session.
type SessionStatus struct {
	ID              uint64          `json:"id"`
	Downstream      string          `json:"downstream"`
	Upstream        string          `json:"upstream"`
	DownstreamCodec string          `json:"downstream_codec"`
	UpstreamCodec   string          `json:"upstream_codec"`
	Age             time.Duration   `json:"age_ns"`
	ToUpstream      relay.FlowStats `json:"to_upstream"`
	ToDownstream    relay.FlowStats `json:"to_downstream"`
}

// HubStatus is the state of a route that is a hub. Its counts include members that have left.
type HubStatus struct {
	relay.MemberCounts
	Live []MemberStatus `json:"live"`
	// Away are the dialed endpoints that have no connection now, with the frames that wait for one and those dropped since
	// the route started. Their ID is 0.
	Away      []MemberStatus   `json:"away,omitempty"`
	Datagrams []DatagramStatus `json:"datagrams,omitempty"`
}

// MemberStatus is a member of a hub: a connection or a datagram endpoint. Counts named read and in are from the member to
// the hub, those named written and out from the hub to the member. The frames dropped by the queue of a dialed endpoint are
// counted since the route started, because the queue outlasts connections.
type MemberStatus struct {
	ID       uint64        `json:"id"`
	Endpoint string        `json:"endpoint"` // of the route, as it listens or dials
	Peer     string        `json:"peer"`     // "" for datagrams
	Codec    string        `json:"codec"`
	Age      time.Duration `json:"age_ns"`
	relay.MemberCounts
	HalfClosed   bool `json:"half_closed"` // the peer has ended its own direction and may still receive
	QueuedFrames int  `json:"queued_frames"`
	QueuedBytes  int  `json:"queued_bytes"`
}

// DatagramStatus counts datagrams at the sockets of an endpoint since it was opened. DroppedBySystem, Truncated, Elsewhere
// and Strangers count received datagrams that were dropped.
type DatagramStatus struct {
	Endpoint        string `json:"endpoint"`
	DroppedBySystem uint64 `json:"dropped_by_system"` // not read in time; known only on Linux
	Truncated       uint64 `json:"truncated"`         // truncated by the kernel
	Elsewhere       uint64 `json:"elsewhere"`         // received on an interface that was not chosen, or for another group
	Strangers       uint64 `json:"strangers"`         // from an address other than the dialed one
	CopiesSent      uint64 `json:"copies_sent"`       // one for each network that a broadcast goes to
	CopiesNotSent   uint64 `json:"copies_not_sent"`
}

// FlowsStatus counts the flows of a route that answers datagrams.
type FlowsStatus struct {
	Live      int            `json:"live"`
	Refused   uint64         `json:"refused"` // datagrams that would have begun a flow beyond udp.flows.max
	Dropped   uint64         `json:"dropped"` // datagrams that came faster than the upstream accepted them
	Datagrams DatagramStatus `json:"datagrams"`
}

// AnnouncedStatus is a service that a route announces.
type AnnouncedStatus struct {
	Service   string   `json:"service"`
	Network   string   `json:"network"`
	Port      int      `json:"port"`
	Addresses []string `json:"addresses"` // at present; none: the addresses that packets come from
	ID        string   `json:"id"`
	Announced int64    `json:"announced"` // packets sent, without answers and goodbyes
	Queries   int64    `json:"queries"`   // received for the service
	Answers   int64    `json:"answers"`
	DNSSD     string   `json:"dns_sd,omitempty"` // instance name; "": the service is not announced by DNS-SD
}

// ServiceStatus is a service that a route dials by name and has found.
type ServiceStatus struct {
	Service   string            `json:"service"`
	Network   string            `json:"network"`
	Addresses []string          `json:"addresses"` // IP:PORT, best first
	Codec     string            `json:"codec"`
	Labels    map[string]string `json:"labels"`
	ID        string            `json:"id"`
	Interface string            `json:"interface"` // on which its announcements arrive
	Signed    bool              `json:"signed"`    // with the key of this host
	Expires   time.Time         `json:"expires"`   // unless another announcement arrives before
}

// DiscoveryStatus describes the discovery socket and counts its packets.
type DiscoveryStatus struct {
	Port       int      `json:"port"`
	Interfaces []string `json:"interfaces"` // as configured; none: all
	Signed     bool     `json:"signed"`     // a key file is configured
	Sent       int64    `json:"sent"`
	SendFailed int64    `json:"send_failed"` // of Sent, those that failed on at least one interface
	Received   int64    `json:"received"`    // including the ignored packets counted by the next four fields
	// Ignored packets, by reason.
	Malformed     int64 `json:"malformed"`
	OtherVersions int64 `json:"other_versions"`
	Unsigned      int64 `json:"unsigned"`
	Forged        int64 `json:"forged"`
	OffLink       int64 `json:"off_link"` // from outside the networks of the interfaces; not counted in Received
}

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
