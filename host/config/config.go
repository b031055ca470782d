package config

import (
	"io/fs"
	"net/netip"
	"time"

	"github.com/framehost/framehost/codecs"
)

// Config is a whole configuration, validated and with defaults filled in. It is not changed after it was loaded, so it is safe for
// concurrent use. The comments of the fields are the manual; in the file, the key of a field is the name in its tag.
type Config struct {
	// Limits bound the memory and the connections that peers can make framehost use. A route can set its own.
	Limits Limits `config:"limits"`
	// Timeouts bound how long framehost waits. A route can set its own.
	Timeouts Timeouts `config:"timeouts"`
	// Log sets which messages are logged, and their format.
	Log Log `config:"log"`
	// Control sets the local socket for `framehost status` and the other commands that talk to a running framehost.
	Control Control `config:"control"`
	// Metrics sets where metrics can be fetched.
	Metrics Metrics `config:"metrics"`
	// Quarantine sets where framehost stores the bytes of frames that broke their framing, for routes with on_violation: quarantine.
	Quarantine Quarantine `config:"quarantine"`
	// Discovery sets how services are announced and found on a LAN.
	Discovery Discovery `config:"discovery"`
	// DataPlane is how payloads travel to and from plugin processes. grpc: as messages on gRPC streams, which every plugin supports,
	// in any language and on any system. shm: through memory that framehost and the plugin's process share; this needs Linux and a
	// plugin made with the Go SDK. If shared memory is unavailable, the plugin fails to start. auto: shm if both sides support it, else
	// grpc; `framehost status` says which one is in use, and why. The results of calls are the same with either. An entry of plugins
	// can set its own. Default: auto.
	DataPlane DataPlane `config:"data_plane"`
	// Plugins are the codec plugins that are not built in.
	Plugins []Plugin `config:"plugins"`
	// Codecs are plugins with their options, under the names that routes use.
	Codecs []Codec `config:"codecs"`
	// Routes are the pairs or groups of endpoints that framehost connects.
	Routes []Route `config:"routes"`

	// File is the name of the file that was read, as it was given; "" if no file was read.
	File string `config:"-"`
	// Set are the values that flags and environment variables set, as KEY=VALUE, in the order of their keys. They can be passed on as
	// LoadOptions.Set.
	Set []string `config:"-"`
	// Warnings report settings that are allowed but probably not meant, sorted by position.
	Warnings []Warning `config:"-"`

	positions map[string]Position
}

// Limits bound the memory and the connections that peers can make framehost use. 0: no limit.
type Limits struct {
	// MaxFrame is the longest payload that framehost accepts, in either direction: 1B to 1GiB; 0 means 1GiB. A codec's own max_frame
	// overrides this one. If a route sets limits.max_frame, no codec in the route accepts more. Default: 1MiB.
	MaxFrame Size `config:"max_frame" range:"1B..1GiB" zero:"ok"`
	// Memory is the most memory that all buffers together may use: 1MiB or more; 0: no limit. It can't be set in a route. The first
	// 64KiB of each direction of a session are always granted, even beyond the limit, so that short frames always pass. When memory
	// is used up, the sessions that hold the most wait. A waiting session that makes no progress for 5s ends with the reason
	// memory. Default: 1GiB.
	Memory Size `config:"memory" range:"1MiB.." zero:"ok"`
	// MaxConnections is the greatest number of accepted connections at a time; 0: no limit. In a route it counts only the connections
	// of that route, and the limit for all routes together holds as well. Default: 10000.
	MaxConnections int `config:"max_connections" range:"0.."`
	// MaxConnectionsPerAddress is the greatest number of connections at a time from one peer address to one route; 0: no limit.
	// Default: 0.
	MaxConnectionsPerAddress int `config:"max_connections_per_address" range:"0.."`
}

// Timeouts bound how long framehost waits. 0s: for ever.
type Timeouts struct {
	// Start bounds one attempt to start a plugin, from executing the program until it is ready for calls. When it expires, framehost
	// kills the process and starts the plugin again. It can't be set in a route, since routes share plugins. Default: 30s.
	Start time.Duration `config:"start"`
	// Connect bounds one attempt to connect to an upstream. Default: 5s.
	Connect time.Duration `config:"connect"`
	// Select is how long framehost waits for the first bytes of a connection while a starts_with rule is undecided. When it expires,
	// the rule does not match. Default: 1s.
	Select time.Duration `config:"select"`
	// Idle ends a session in which neither side has sent a byte for this long. Default: 0s.
	Idle time.Duration `config:"idle"`
	// Frame is how long a frame may stay unfinished, from its first byte. Default: 5m.
	Frame time.Duration `config:"frame"`
	// Write ends a session whose receiver accepts no byte for this long while bytes wait to be written. Default: 2m.
	Write time.Duration `config:"write"`
	// HalfClose ends a session in which one direction has ended and the other has been silent for this long. Default: 5m.
	HalfClose time.Duration `config:"half_close"`
	// Drain is how long sessions may go on after SIGTERM. In that time, framehost ends a session that has been silent for a second
	// between two frames. When it expires, framehost cuts the sessions that are left. Default: 30s.
	Drain time.Duration `config:"drain"`
	// Codec is how long a plugin may take for one call. When it expires, framehost kills the plugin's process and makes the call again.
	// It can't be set in a route, since routes share plugins. Default: 5s.
	Codec time.Duration `config:"codec"`
	// Keepalive is the interval of TCP keepalive probes. framehost gives up a peer that leaves 4 probes unanswered. Default: 15s.
	Keepalive time.Duration `config:"keepalive"`
}

// Log sets which messages are logged, and their format.
type Log struct {
	// Level is the least severe level that is logged: trace, debug, info, warn, error or off. Default: info.
	Level LogLevel `config:"level"`
	// Format is text or json. Default: text.
	Format LogFormat `config:"format"`
	// PayloadBytes is how many bytes of each payload are logged, at level trace: 0 to 64KiB; a number without unit counts bytes;
	// 0: none. Default: 0.
	PayloadBytes Size `config:"payload_bytes" range:"0B..64KiB" bare:"ok"`
	// WireBytes is how many bytes of a frame that broke its framing, or of a payload that can't be represented, are shown in the log
	// at level warn and by `framehost violations`. They may include payload. 0 to 64KiB; a number without unit counts bytes;
	// 0: none. Default: 32.
	WireBytes Size `config:"wire_bytes" range:"0B..64KiB" bare:"ok"`
}

// Control sets the local socket for `framehost status` and the other commands that talk to a running framehost.
type Control struct {
	// Socket is the path of a Unix socket, at most 107 bytes; a relative path is relative to the configuration file.
	// Default: "", which means a path that depends on the system and the user.
	Socket string `config:"socket" empty:"ok"`
}

// Metrics sets where metrics can be fetched.
type Metrics struct {
	// Listen must be empty: serving metrics is not built yet. Default: "".
	Listen string `config:"listen" empty:"ok"`
}

// Quarantine sets where framehost stores the bytes of frames that broke their framing.
type Quarantine struct {
	// Dir is a directory; a relative path is relative to the configuration file. It must be set if a route has on_violation:
	// quarantine. Default: "", which means none.
	Dir string `config:"dir" empty:"ok"`
	// Max is how many bytes the directory may hold: 1KiB or more. Each file counts as its own size and 512 bytes. When the directory
	// is full, framehost stores nothing more until files are removed. Default: 64MiB.
	Max Size `config:"max" range:"1KiB.."`
}

// Discovery sets how services are announced and found on a LAN, for endpoints with announce or dial: discover://SERVICE.
type Discovery struct {
	// Port is the UDP port of announcements: 1 to 65535. All hosts that discover each other must use the same port. Default: 7331.
	Port int `config:"port" range:"1..65535"`
	// Interfaces are the network interfaces that are used. Each is given by its name, by an IPv4 address that it has, or by the network
	// of such an address: eth0, 192.168.1.5, 192.168.1.0/24. Default: none, which means all but loopback.
	Interfaces []string `config:"interfaces"`
	// KeyFile is the file with the key that announcements are signed with, 16 to 4096 bytes; a relative path is relative to the
	// configuration file. With a key, framehost ignores announcements that are not signed with it. Default: "", which means that
	// announcements are not signed.
	KeyFile string `config:"key_file" empty:"ok"`
}

// Plugin is a codec plugin that is not built in: a program.
type Plugin struct {
	At Position `config:"-"`
	// Name is the name that codecs use for the plugin. It can't be the name of a plugin that is built in.
	Name string `config:"name" required:"ok"`
	// Path is the path of the program; a relative path is relative to the configuration file. PATH is not searched.
	Path string `config:"path" required:"ok"`
	// SHA256 is the SHA-256 hash that the program's bytes must have, as 64 hex digits. Each start executes only bytes with this hash.
	// Default: "", which means that the hash is not checked.
	SHA256 string `config:"sha256"`
	// Args are the program's arguments. Default: none.
	Args []string `config:"args"`
	// Env are environment variables for the program. They override the few variables that the program gets from framehost's own
	// environment, such as PATH and HOME. Default: none.
	Env map[string]string `config:"env"`
	// DataPlane is the data_plane of this plugin alone. Default: data_plane of the whole configuration.
	DataPlane DataPlane `config:"data_plane"`
}

// Codec is a plugin with options, or a profile.
type Codec struct {
	At Position `config:"-"`
	// Name is the name that endpoints use for the codec. It can't be "none".
	Name string `config:"name" required:"ok"`
	// Plugin is the name of a plugin, built in or from plugins. The file gives either plugin or profile. In a loaded Config with a
	// profile, Plugin is the profile's plugin.
	Plugin string `config:"plugin"`
	// Profile is the name of a ready set of options; `framehost profiles` lists them.
	Profile string `config:"profile"`
	// Options are the options of the plugin; `framehost plugin describe NAME` lists them. They override those of the profile.
	Options Options `config:"options"`
	// MaxFrame is the longest payload, like limits.max_frame: 1B to 1GiB. In a loaded Config, 0 means that limits.max_frame counts.
	// Default: max_frame of the profile if it has one, else limits.max_frame.
	MaxFrame Size `config:"max_frame" range:"1B..1GiB"`
}

// Route connects endpoints. A route is either paired or a hub.
//
// In a paired route, each connection on one side belongs to one connection on the other. If From listens, each accepted connection
// gets a connection to To. If both sides dial, there is one pair of connections, made again when it ends. A route from a UDP listener
// with flows is paired and has a session for each peer address.
//
// In a hub, each frame goes to every receiver but the one that it came from. A route is a hub if To listens or is a list, or if
// a side has datagrams and From has no flows.
type Route struct {
	At Position `config:"-"`
	// Name is the name of the route in logs and in `framehost status`.
	Name string `config:"name" required:"ok"`
	// From is the side that reaches framehost, if it listens.
	From Endpoint `config:"from" required:"ok"`
	// To is the side that framehost reaches: an endpoint or, in a hub, a list of endpoints. A list makes the route a hub, even if it
	// has one element only. In a loaded Config, To is the first element.
	To Endpoint `config:"to" required:"ok"`
	// More are the elements of the list after the first, if to is a list.
	More []Endpoint `config:"-"`
	// OnViolation is what happens when a peer breaks its framing: close (end the session), skip (drop the frame and go on), or
	// quarantine (skip the frame and store its bytes). Default: close.
	OnViolation OnViolation `config:"on_violation"`
	// Limits are the limits of this route. They override those of the whole configuration.
	Limits Limits `config:"limits"`
	// Timeouts are the timeouts of this route. They override those of the whole configuration.
	Timeouts Timeouts `config:"timeouts"`

	toIsList    bool
	ownMaxFrame bool
}

// Sides returns the endpoints of r, From first. They point into r.
func (r *Route) Sides() []*Endpoint {
	sides := []*Endpoint{&r.From, &r.To}
	for i := range r.More {
		sides = append(sides, &r.More[i])
	}
	return sides
}

// IsHub reports whether r is a hub rather than paired. Call it only if every endpoint of r has an address.
func (r *Route) IsHub() bool {
	return r.toIsList || r.To.Listen != nil || (r.From.Datagrams() || r.To.Datagrams()) && r.From.UDP.Flows == nil
}

// Endpoint is where bytes enter or leave. Exactly one of Listen and Dial is not nil.
type Endpoint struct {
	At Position `config:"-"`
	// Listen is the address where framehost accepts connections or receives datagrams: tcp://HOST:PORT, unix://PATH or udp://HOST:PORT.
	// Without HOST, framehost listens on all addresses. Port 0 means any free port. For udp, HOST can be a multicast group, which
	// framehost joins; if HOST is a single address, most systems deliver no broadcasts to it. UDP listeners can share a port unless one
	// of them has flows: each gets every broadcast and multicast datagram, but a datagram for one host goes to only one of them.
	Listen *Address `config:"listen"`
	// Dial is the address that framehost connects to or sends datagrams to: tcp://HOST:PORT, unix://PATH, udp://HOST:PORT, or
	// discover://SERVICE for a service that is announced on the LAN. For udp, HOST can be a multicast group or a broadcast address;
	// 255.255.255.255 (or *) reaches every network of the interfaces.
	Dial *Address `config:"dial"`
	// Codec is the name of a codec, or "none". On a stream, none passes bytes on unframed: then both sides must have none, and the
	// route can't be a hub. On datagrams, none means that each datagram is one payload, and a codec means that each datagram holds whole
	// frames.
	Codec string `config:"codec" required:"ok"`
	// Select chooses another codec for a connection when it opens: the first rule that matches counts. Only for listen, and not for
	// datagrams.
	Select []Rule `config:"select"`
	// Direction is both, receive or send. receive: framehost never writes to this side. send: framehost reads, discards and counts the
	// bytes that this side sends. Default: both; for a UDP listener without flows, receive.
	Direction Direction `config:"direction"`
	// Shutdown shuts down the unused direction of the socket at once, with direction receive or send. Many devices take that for the
	// end of the connection. Not for datagrams. Default: false.
	Shutdown bool `config:"shutdown"`
	// Allow are the peer addresses that may connect or send datagrams, as CIDR or single addresses. Only for listen: tcp and udp.
	// Default: all.
	Allow []netip.Prefix `config:"allow"`
	// Deny are the peer addresses that may not connect or send datagrams, even if allow has them. Only for listen: tcp and udp.
	// Default: none.
	Deny []netip.Prefix `config:"deny"`
	// Mode is the permissions of a listening Unix socket, as octal digits. Default: 0660.
	Mode fs.FileMode `config:"mode"`
	// Reconnect is how long a dialer waits between attempts. Only in routes where no downstream waits for the connection: routes that
	// dial on both sides, and hubs. Not for datagrams.
	Reconnect Reconnect `config:"reconnect"`
	// UDP has the settings for datagrams. Only for udp.
	UDP UDP `config:"udp"`
	// Queue bounds the frames that wait for a receiver. Each accepted connection has a queue of its own; an endpoint with dial has one
	// queue for all its connections. Only in hubs.
	Queue Queue `config:"queue"`
	// Echo makes a sender receive its own frames too. Only in hubs. Default: false.
	Echo bool `config:"echo"`
	// Announce announces this endpoint on the LAN, so that other hosts can dial discover://SERVICE. Only for listen: tcp and udp.
	// Default: not announced (nil).
	Announce *Announce `config:"announce"`
}

// Address returns Listen or Dial, whichever is set, or nil if neither is.
func (e *Endpoint) Address() *Address {
	if e.Listen != nil {
		return e.Listen
	}
	return e.Dial
}

// Datagrams reports whether e carries datagrams rather than streams.
func (e *Endpoint) Datagrams() bool {
	a := e.Address()
	return a != nil && a.Scheme == "udp"
}

// UDP has the settings for datagrams.
type UDP struct {
	// Interfaces are the network interfaces that framehost listens on or sends from. Each is given by its name, by an address that it
	// has, or by the network of such an address: eth0, 192.168.1.5, 192.168.1.0/24. Interfaces may appear and disappear while framehost
	// runs. Default: none, which means all interfaces or, to reach a single host, the one that the system chooses.
	Interfaces []string `config:"interfaces"`
	// Groups are multicast groups that framehost joins on each of the interfaces; all IPv4 or all IPv6. Only for listen on all
	// addresses. Default: none.
	Groups []netip.Addr `config:"groups"`
	// TTL is how many networks a datagram may cross: 1 to 255, where 1 means the sender's network alone. Only for dial with a
	// multicast group. Default: 1.
	TTL int `config:"ttl" range:"1..255"`
	// ReceiveBuffer is how many bytes of unread datagrams the system holds, if it grants that much: 4KiB to 1GiB. Each datagram counts
	// as its own size and some hundred bytes more. Default: 4MiB.
	ReceiveBuffer Size `config:"receive_buffer" range:"4KiB..1GiB"`
	// Flows make a session for each peer address, so that answers reach the peer. Only where from listens and to dials and is not a
	// list. flows: {} means flows with their defaults. Default: no flows (nil), and a listener only receives.
	Flows *Flows `config:"flows"`
}

// Flows bound the sessions that a UDP listener has, one for each peer address.
type Flows struct {
	// Max is the greatest number of flows at a time: 1 to 1000000. A datagram that would begin another flow is dropped and counted.
	// Default: 1024.
	Max int `config:"max" range:"1..1000000"`
	// Idle ends a flow in which no datagram was received or sent for this long: 1ms to 24h. Default: 60s.
	Idle time.Duration `config:"idle" range:"1ms..24h"`
}

// Queue bounds the frames that wait for a receiver in a hub. An empty queue accepts one frame of any length. While the queue is full
// and the receiver's connection accepts bytes, senders wait. While the connection accepts none, senders wait up to 100ms at a time, and
// in the long run at most half of the time; then the policy applies until the queue has been empty. The queue of an endpoint with
// dial outlasts its connections: frames wait in the queue until the next connection, and the policy applies when the queue is full.
type Queue struct {
	// Frames is the greatest number of waiting frames: 1 to 1000000. Default: 1024.
	Frames int `config:"frames" range:"1..1000000"`
	// Bytes is the greatest number of bytes of the waiting frames, as they are written: 1B to 1GiB. Default: 1MiB.
	Bytes Size `config:"bytes" range:"1B..1GiB"`
	// Policy is what happens to a new frame when the receiver does not keep up. drop_oldest: the frames that have waited longest are
	// dropped to make room. drop_newest: the new frame is dropped. disconnect: the receiver is disconnected (not for datagrams); if
	// there is no connection, all waiting frames are dropped. block: the sender of the frame waits, and so do all receivers of that
	// sender. Dropped frames are counted. Default: drop_oldest.
	Policy QueuePolicy `config:"policy"`
}

// Announce announces a listener on the LAN.
type Announce struct {
	// Service is the name by which the listener is found: 1 to 63 letters, digits, dots, hyphens and underscores, a letter or digit
	// first. Upper and lower case differ. Several listeners can have the same name if they offer the same service.
	Service string `config:"service" required:"ok"`
	// Interval is the time between announcements: 100ms to 30m. Default: 10s.
	Interval time.Duration `config:"interval" range:"100ms..30m"`
	// TTL is how long other hosts remember an announcement: at least twice the interval, at most 1h, in whole milliseconds.
	// Default: 30s, or three intervals if that is longer and no more than 1h.
	TTL time.Duration `config:"ttl" range:"200ms..1h"`
	// Labels describe the listener to programs that look for it: at most 16, with names of 1 to 63 bytes and values of 0 to 255 bytes.
	// Default: none.
	Labels map[string]string `config:"labels"`
	// DNSSD is a service type: with one, the listener is also announced by DNS-SD over multicast DNS, for programs other than framehost.
	// It is _NAME._tcp or _NAME._udp, to match listen, where NAME is 1 to 15 letters, digits and hyphens (RFC 6763, section 7). Types
	// are listed at https://www.iana.org/assignments/service-names-port-numbers. The TXT record holds the labels, and the codec as
	// codec=NAME. So the name and the value of each label together have at most 254 bytes; its name is ASCII without =, is not codec,
	// and differs from other names in more than case. Default: "", which means no announcement by DNS-SD.
	DNSSD string `config:"dns_sd" empty:"ok"`
}

// Reconnect is how long a dialer waits between attempts: Min after the first, then longer each time, up to Max.
type Reconnect struct {
	// Min is the first wait: 1ms to 1h. Default: 100ms.
	Min time.Duration `config:"min" range:"1ms..1h"`
	// Max is the longest wait: min to 24h. Default: 30s.
	Max time.Duration `config:"max" range:"1ms..24h"`
}

// Rule chooses a codec for a connection when it opens, by the peer's address or by the first bytes. It has exactly one condition.
type Rule struct {
	At Position `config:"-"`
	// Address matches peers with an address in this range: CIDR, or a single address. The zero Prefix means that the rule has another
	// condition.
	Address netip.Prefix `config:"address"`
	// StartsWith matches connections that begin with these bytes: 1 to 256 bytes. "" means that the rule has another condition.
	StartsWith codecs.Bytes `config:"starts_with"`
	// Codec is the name of the codec for connections that match.
	Codec string `config:"codec" required:"ok"`
}

// Default returns the configuration of an empty file: all defaults, and no routes.
func Default() *Config {
	return &Config{
		Limits: Limits{MaxFrame: MiB, Memory: GiB, MaxConnections: 10000},
		Timeouts: Timeouts{
			Start: 30 * time.Second, Connect: 5 * time.Second, Select: time.Second, Frame: 5 * time.Minute, Write: 2 * time.Minute,
			HalfClose: 5 * time.Minute, Drain: 30 * time.Second, Codec: 5 * time.Second, Keepalive: 15 * time.Second,
		},
		Log:        Log{Level: "info", Format: FormatText, WireBytes: 32},
		Quarantine: Quarantine{Max: 64 * MiB},
		Discovery:  Discovery{Port: 7331},
		DataPlane:  DataPlaneAuto,
	}
}

// MaxFrame returns the longest payload, in bytes, that codec c accepts in route r: the codec's own max_frame or, without one, the
// limit of r; but no more than limits.max_frame if r sets it itself. c may be nil.
func (r *Route) MaxFrame(c *Codec) int {
	switch {
	case c == nil || c.MaxFrame == 0:
		return int(r.Limits.MaxFrame)
	case r.ownMaxFrame:
		return int(min(c.MaxFrame, r.Limits.MaxFrame))
	default:
		return int(c.MaxFrame)
	}
}

// MaxFrameOption returns the name of the option that sets the result of MaxFrame.
func (r *Route) MaxFrameOption(c *Codec) string {
	switch {
	case c != nil && c.MaxFrame != 0 && (!r.ownMaxFrame || c.MaxFrame <= r.Limits.MaxFrame):
		return "max_frame of the codec " + c.Name
	case r.ownMaxFrame:
		return "limits.max_frame of the route " + r.Name
	default:
		return "limits.max_frame"
	}
}

// Codecs returns the names of the codecs that connections of e can have.
func (e *Endpoint) Codecs() []string {
	names := []string{e.Codec}
	for _, rule := range e.Select {
		names = append(names, rule.Codec)
	}
	return names
}

// Codec returns the codec called name, or nil. "none" is not a codec.
func (c *Config) Codec(name string) *Codec {
	for i := range c.Codecs {
		if c.Codecs[i].Name == name {
			return &c.Codecs[i]
		}
	}
	return nil
}

// Plugin returns the entry of c.Plugins called name, or nil. Built-in plugins have no entry.
func (c *Config) Plugin(name string) *Plugin {
	for i := range c.Plugins {
		if c.Plugins[i].Name == name {
			return &c.Plugins[i]
		}
	}
	return nil
}

// Where returns the position where the value of key, such as "routes[0].from.listen", was written. For a key that was not written, it
// returns the position of the nearest enclosing key that was, with Key set to key.
func (c *Config) Where(key string) Position { return where(c.positions, c.File, key) }

// IsSet reports whether the file, a variable or a flag sets key.
func (c *Config) IsSet(key string) bool {
	_, ok := c.positions[key]
	return ok
}
