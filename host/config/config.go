package config

import (
	"io/fs"
	"net/netip"
	"time"

	"github.com/framehost/framehost/codecs"
)

// Config is a whole configuration, validated, with defaults filled in. It isn't changed after it was loaded, so it is
// safe for concurrent use. The comments of the fields are the manual; in the file a field has the name of its tag.
type Config struct {
	// Limits bound what peers can make framehost take. A route can have its own.
	Limits Limits `config:"limits"`
	// Timeouts bound how long framehost waits. A route can have its own.
	Timeouts Timeouts `config:"timeouts"`
	// Log says what is logged, and how.
	Log Log `config:"log"`
	// Control is the local socket for `framehost status` and friends.
	Control Control `config:"control"`
	// Metrics is where metrics can be fetched.
	Metrics Metrics `config:"metrics"`
	// Quarantine is where frames are kept that broke their framing, for routes with on_violation: quarantine.
	Quarantine Quarantine `config:"quarantine"`
	// Discovery announces and finds services on a LAN.
	Discovery Discovery `config:"discovery"`
	// DataPlane says how payloads travel to and from plugin processes. grpc: as messages on gRPC streams, which every plugin
	// has, in any language and on any system. shm: through memory that framehost and the plugin's process share, which is
	// for Linux and plugins made with the Go SDK; a plugin that can't have it does not start. auto: shm where both ends
	// can, else grpc; `framehost status` says which it is, and why. What comes out is the same by either. A plugin of
	// plugins can have its own. Default: auto.
	DataPlane DataPlane `config:"data_plane"`
	// Plugins are the codec plugins that are not built in.
	Plugins []Plugin `config:"plugins"`
	// Codecs are plugins with their options, under the names that routes use.
	Codecs []Codec `config:"codecs"`
	// Routes say which endpoints are joined.
	Routes []Route `config:"routes"`

	// File is the name of the file that was read, as it was given; "" for none.
	File string `config:"-"`
	// Set are the values that flags and variables set, as KEY=VALUE, in the order of their keys. LoadOptions.Set takes them.
	Set []string `config:"-"`
	// Warnings are about what is allowed but probably not meant, sorted by position.
	Warnings []Warning `config:"-"`

	positions map[string]Position
}

// Limits bound what peers can make framehost take. 0: no limit.
type Limits struct {
	// MaxFrame is the longest payload that is accepted, in either direction: 1B to 1GiB; 0 stands for 1GiB. A codec's
	// own max_frame overrides this one. A route's own limits.max_frame is a ceiling for its codecs as well.
	// Default: 1MiB.
	MaxFrame Size `config:"max_frame" range:"1B..1GiB" zero:"ok"`
	// Memory is the most memory that all buffers together take: 1MiB or more; 0: no limit. It can't be set in a route. The first
	// 64KiB of each direction of a session never wait, even beyond the limit, so that short frames always pass. When memory is
	// used up, the sessions that hold most wait, and those of them that make no progress for 5 s end (memory).
	// Default: 1GiB.
	Memory Size `config:"memory" range:"1MiB.." zero:"ok"`
	// MaxConnections is the greatest number of accepted connections at a time; 0: no limit. In a route it counts that
	// route's alone, and the limit for all of them holds as well. Default: 10000.
	MaxConnections int `config:"max_connections" range:"0.."`
	// MaxConnectionsPerAddress is the greatest number of connections at a time, in a route, from one peer address;
	// 0: no limit. Default: 0.
	MaxConnectionsPerAddress int `config:"max_connections_per_address" range:"0.."`
}

// Timeouts bound how long framehost waits. 0s: for ever.
type Timeouts struct {
	// Start bounds one attempt to start a plugin, from executing it until it is ready for calls; after it the process is
	// killed and started again. It can't be set in a route, since routes share plugins. Default: 30s.
	Start time.Duration `config:"start"`
	// Connect bounds one attempt to connect to an upstream. Default: 5s.
	Connect time.Duration `config:"connect"`
	// Select is how long the first bytes of a connection are waited for while a starts_with rule is undecided; after
	// it the rule does not match. Default: 1s.
	Select time.Duration `config:"select"`
	// Idle ends a session in which no byte has come either way for this long. Default: 0s.
	Idle time.Duration `config:"idle"`
	// Frame is how long a frame may stay unfinished, from its first byte. Default: 5m.
	Frame time.Duration `config:"frame"`
	// Write ends a session whose receiver takes no byte for this long while there are some to be written. Default: 2m.
	Write time.Duration `config:"write"`
	// HalfClose ends a session of which one direction has ended and the other has been silent for this long.
	// Default: 5m.
	HalfClose time.Duration `config:"half_close"`
	// Drain is how long sessions may go on after SIGTERM. Each ends when it ends by itself, or has been silent for a second
	// between two frames; after Drain the others are cut. Default: 30s.
	Drain time.Duration `config:"drain"`
	// Codec is how long a plugin may take for one call; then it is killed and the call made again. It can't be set in a
	// route, since routes share plugins. Default: 5s.
	Codec time.Duration `config:"codec"`
	// Keepalive is the interval of TCP keepalive probes; a peer that leaves 4 unanswered is lost. Default: 15s.
	Keepalive time.Duration `config:"keepalive"`
}

// Log says what is logged, and how.
type Log struct {
	// Level is the least severe level that is logged: trace, debug, info, warn, error or off. Default: info.
	Level LogLevel `config:"level"`
	// Format is text or json. Default: text.
	Format LogFormat `config:"format"`
	// PayloadBytes is how many bytes of each payload are logged, at level trace: 0 to 64KiB; a number without unit
	// counts bytes. Default: 0, none.
	PayloadBytes Size `config:"payload_bytes" range:"0B..64KiB" bare:"ok"`
	// WireBytes is how many bytes of a frame that broke its framing, or of a payload that can't be represented, are shown in
	// the log at level warn and by `framehost violations`. They may include payload. 0 to 64KiB; a number without unit counts
	// bytes; 0: none. Default: 32.
	WireBytes Size `config:"wire_bytes" range:"0B..64KiB" bare:"ok"`
}

// Control is the local socket for `framehost status` and friends.
type Control struct {
	// Socket is the path of a Unix socket, at most 107 bytes; a relative one is relative to the file.
	// Default: "", a place that depends on the system and the user.
	Socket string `config:"socket" empty:"ok"`
}

// Metrics is where metrics can be fetched.
type Metrics struct {
	// Listen is empty: serving metrics is not built yet. Default: "".
	Listen string `config:"listen" empty:"ok"`
}

// Quarantine is where frames are kept that broke their framing.
type Quarantine struct {
	// Dir is a directory; a relative path is relative to the file. It must be set where a route has
	// on_violation: quarantine. Default: "", none.
	Dir string `config:"dir" empty:"ok"`
	// Max is how many bytes the directory may hold, with 512 for each file besides its own; nothing more is kept then
	// until files are taken out. 1KiB or more. Default: 64MiB.
	Max Size `config:"max" range:"1KiB.."`
}

// Discovery is how services are announced and found on a LAN, for endpoints with announce or dial: discover://SERVICE.
type Discovery struct {
	// Port is the UDP port of announcements: 1 to 65535. Everyone who is to be heard has the same. Default: 7331.
	Port int `config:"port" range:"1..65535"`
	// Interfaces are those that are used, each by its name, by an IPv4 address that it has, or by the network of such an
	// address: eth0, 192.168.1.5, 192.168.1.0/24. Default: none named, which is all but loopback.
	Interfaces []string `config:"interfaces"`
	// KeyFile is the file of the key that announcements are signed with, 16 to 4096 bytes; a relative path is relative
	// to the configuration's. With a key, announcements that are not signed with it are ignored. Default: "", they are not signed.
	KeyFile string `config:"key_file" empty:"ok"`
}

// Plugin is a codec plugin that is not built in: a program.
type Plugin struct {
	At Position `config:"-"`
	// Name is what codecs call it. It can't be that of a plugin that is built in.
	Name string `config:"name" required:"ok"`
	// Path is the program; a relative path is relative to the file. It is not searched for.
	Path string `config:"path" required:"ok"`
	// SHA256 is what the program's bytes must hash to, as 64 hex digits; they are checked at each start. Default: "",
	// not checked.
	SHA256 string `config:"sha256"`
	// Args are the program's arguments. Default: none.
	Args []string `config:"args"`
	// Env are environment variables for the program. Of framehost's own it gets PATH, HOME and a few like them, which
	// these go before. Default: none.
	Env map[string]string `config:"env"`
	// DataPlane is as data_plane of the whole configuration, for this plugin alone. Default: what that is.
	DataPlane DataPlane `config:"data_plane"`
}

// Codec is a plugin with options, or a profile.
type Codec struct {
	At Position `config:"-"`
	// Name is what endpoints call it; any but "none".
	Name string `config:"name" required:"ok"`
	// Plugin is the name of a plugin, built in or from plugins. Exactly one of plugin and profile is given in the file;
	// once loaded, this is the plugin of the profile as well.
	Plugin string `config:"plugin"`
	// Profile is the name of a ready set of options; `framehost profiles` lists them.
	Profile string `config:"profile"`
	// Options are the plugin's; `framehost plugin describe NAME` lists them. With a profile they are laid over its own.
	Options Options `config:"options"`
	// MaxFrame is the longest payload, as limits.max_frame: 1B to 1GiB. Default: the profile's, or limits.max_frame.
	// 0: it is limits.max_frame.
	MaxFrame Size `config:"max_frame" range:"1B..1GiB"`
}

// Route joins endpoints. It is paired or a hub.
//
// Paired, each connection of one side has one of the other: where From listens, each that is accepted; where both dial,
// there is one pair, made again when it ends. A UDP listener with flows is paired, with a session for each peer address.
//
// In a hub each frame goes to every receiver but the one it came from. A route is a hub where To listens or is a list,
// and where datagrams come or go without flows.
type Route struct {
	At Position `config:"-"`
	// Name is what logs and status call it.
	Name string `config:"name" required:"ok"`
	// From is the side that reaches framehost, where it listens.
	From Endpoint `config:"from" required:"ok"`
	// To is the side that framehost reaches. In the file it can be a list: then this is its first element, and the route
	// a hub, however long the list is.
	To Endpoint `config:"to" required:"ok"`
	// More are the other elements where To is a list.
	More []Endpoint `config:"-"`
	// OnViolation says what happens when a peer breaks its framing: close (the session), skip (the frame), or quarantine
	// (skip it, and keep its bytes). Default: close.
	OnViolation OnViolation `config:"on_violation"`
	// Limits are those in force for this route: what it sets itself, laid over those of the whole configuration.
	Limits Limits `config:"limits"`
	// Timeouts are those in force for this route: what it sets itself, laid over those of the whole configuration.
	Timeouts Timeouts `config:"timeouts"`

	toIsList    bool
	ownMaxFrame bool
}

// Sides returns the endpoints of r, From first. They are those of r, not copies.
func (r *Route) Sides() []*Endpoint {
	sides := []*Endpoint{&r.From, &r.To}
	for i := range r.More {
		sides = append(sides, &r.More[i])
	}
	return sides
}

// IsHub reports whether r is a hub, and otherwise it is paired. Its endpoints have addresses.
func (r *Route) IsHub() bool {
	return r.toIsList || r.To.Listen != nil || (r.From.Datagrams() || r.To.Datagrams()) && r.From.UDP.Flows == nil
}

// Endpoint is where bytes enter or leave. Exactly one of Listen and Dial is not nil.
type Endpoint struct {
	At Position `config:"-"`
	// Listen is where connections are accepted or datagrams received: tcp://HOST:PORT, unix://PATH or udp://HOST:PORT.
	// Without HOST it is all addresses. Port 0 takes any free one. For udp, HOST can be a multicast group, which is
	// joined; where it is one address, most systems give it no broadcasts. UDP listeners can share a port, unless one
	// has flows: each gets every broadcast and multicast, but what is sent to one host goes to one of them.
	Listen *Address `config:"listen"`
	// Dial is where connections are made to or datagrams sent: tcp://HOST:PORT, unix://PATH, udp://HOST:PORT, or
	// discover://SERVICE for a service that is announced on the LAN. For udp, HOST can be a multicast group or a
	// broadcast address; 255.255.255.255 (or *) reaches each network of the interfaces.
	Dial *Address `config:"dial"`
	// Codec is the name of a codec, or "none". On a stream, none passes bytes unframed: then both sides must say so, and
	// it can't be in a hub. On datagrams, none means that a datagram is a payload; a codec, that whole frames are inside.
	Codec string `config:"codec" required:"ok"`
	// Select chooses another codec for a connection, when it opens: the first rule that matches wins. Only where
	// framehost listens, and not for datagrams.
	Select []Rule `config:"select"`
	// Direction: both; receive: framehost never writes to this side; send: what this side sends is read, discarded and
	// counted. Default: both; a UDP listener without flows only receives, and once loaded says so.
	Direction Direction `config:"direction"`
	// Shutdown shuts the unused direction of the socket at once, with direction receive or send. Many devices take that
	// as hanging up. Not for datagrams. Default: false.
	Shutdown bool `config:"shutdown"`
	// Allow are the peer addresses that may connect or send datagrams, as CIDR or single addresses. Only for listen: tcp
	// and udp. Default: all.
	Allow []netip.Prefix `config:"allow"`
	// Deny are peer addresses that may not, even if allowed. Only for listen: tcp and udp. Default: none.
	Deny []netip.Prefix `config:"deny"`
	// Mode is the permissions of a listening Unix socket, as octal digits. Default: 0660.
	Mode fs.FileMode `config:"mode"`
	// Reconnect is how a dialer waits between attempts, where no downstream waits for it: in routes that dial on both
	// sides, and in hubs. Not for datagrams.
	Reconnect Reconnect `config:"reconnect"`
	// UDP is about datagrams: only for udp.
	UDP UDP `config:"udp"`
	// Queue bounds the frames that wait for a receiver. Each accepted connection has its own queue; an endpoint that is dialed
	// has one for all its connections. Only in hubs.
	Queue Queue `config:"queue"`
	// Echo says that a sender receives its own frames too. Only in hubs. Default: false.
	Echo bool `config:"echo"`
	// Announce makes this endpoint known on the LAN, so that others can dial discover://SERVICE. Only for listen: tcp and
	// udp. nil: it is not announced. Default: it is not.
	Announce *Announce `config:"announce"`
}

// Address returns Listen or Dial, whichever there is; nil if neither.
func (e *Endpoint) Address() *Address {
	if e.Listen != nil {
		return e.Listen
	}
	return e.Dial
}

// Datagrams reports whether it is datagrams that enter or leave, rather than streams.
func (e *Endpoint) Datagrams() bool {
	a := e.Address()
	return a != nil && a.Scheme == "udp"
}

// UDP is about datagrams.
type UDP struct {
	// Interfaces are those that are listened on or sent from, each by its name, by an address that it has, or by the
	// network of such an address: eth0, 192.168.1.5, 192.168.1.0/24. They may come and go. Default: none named, which is
	// all of them, or the one that the system chooses to reach a single host.
	Interfaces []string `config:"interfaces"`
	// Groups are multicast groups that are joined, on each of the interfaces; all IPv4 or all IPv6. Only where framehost
	// listens on all addresses. Default: none.
	Groups []netip.Addr `config:"groups"`
	// TTL is how many networks a datagram may cross: 1 to 255, where 1 is the sender's network alone. Only where
	// framehost dials a multicast group. Default: 1.
	TTL int `config:"ttl" range:"1..255"`
	// ReceiveBuffer is how much the system keeps of what was not read yet, if it grants that: 4KiB to 1GiB. Each datagram
	// counts with some hundred bytes more. Default: 4MiB.
	ReceiveBuffer Size `config:"receive_buffer" range:"4KiB..1GiB"`
	// Flows make a session for each peer address, so that answers find their way back. Only where from listens and to
	// dials, and is no list. nil: there are none, and a listener only receives. Default: none; of {}, their defaults.
	Flows *Flows `config:"flows"`
}

// Flows bound the conversations that a UDP listener has with its peers.
type Flows struct {
	// Max is the greatest number of flows at a time; what would begin another is dropped and counted: 1 to 1000000.
	// Default: 1024.
	Max int `config:"max" range:"1..1000000"`
	// Idle ends a flow in which no datagram has come or gone for this long: 1ms to 24h. Default: 60s.
	Idle time.Duration `config:"idle" range:"1ms..24h"`
}

// Queue bounds the frames that wait for a receiver in a hub. An empty queue takes one frame however long it is. While the
// queue is full and the receiver's connection takes bytes, senders wait. While the connection takes none, they wait up to
// 100ms, and in the long run at most half of the time; then the policy applies, until the queue has been empty. The queue of
// an endpoint that is dialed outlasts its connections: between two of them, frames wait in it, and the policy applies when it
// is full.
type Queue struct {
	// Frames is the greatest number of frames: 1 to 1000000. Default: 1024.
	Frames int `config:"frames" range:"1..1000000"`
	// Bytes is the greatest number of their bytes, as they are written: 1B to 1GiB. Default: 1MiB.
	Bytes Size `config:"bytes" range:"1B..1GiB"`
	// Policy is what happens to a frame when the receiver does not keep up: drop_oldest (the frames that have waited longest are
	// dropped for it), drop_newest (it is dropped), disconnect (the receiver is disconnected, so not for datagrams; without a
	// connection, all waiting frames are dropped), or block (its sender waits, and with it every receiver of that sender). Dropped
	// frames are counted. Default: drop_oldest.
	Policy QueuePolicy `config:"policy"`
}

// Announce makes a listener known on the LAN.
type Announce struct {
	// Service is the name that it is found by: 1 to 63 letters, digits, dots, hyphens and underscores, a letter or digit
	// first. Upper and lower case differ. Several listeners can have the same, if they do the same.
	Service string `config:"service" required:"ok"`
	// Interval is the time between announcements: 100ms to 30m. Default: 10s.
	Interval time.Duration `config:"interval" range:"100ms..30m"`
	// TTL is how long others remember an announcement: at least twice the interval, at most 1h, in whole milliseconds.
	// Default: 30s, or three intervals if that is longer and no more than 1h.
	TTL time.Duration `config:"ttl" range:"200ms..1h"`
	// Labels describe it to programs that look for it: at most 16, names of 1 to 63 and values of 0 to 255 bytes.
	// Default: none.
	Labels map[string]string `config:"labels"`
	// DNSSD is the type of service that it is announced as by DNS-SD over multicast DNS too, for programs that are no
	// framehost: _NAME._tcp or _NAME._udp, as framehost listens, where NAME is 1 to 15 letters, digits and hyphens (RFC
	// 6763, section 7). Types are listed at https://www.iana.org/assignments/service-names-port-numbers. The labels, and the
	// codec as codec=NAME, become its TXT record, so that each label has at most 254 bytes with its name, which is ASCII
	// without =, is not codec, and differs from others in more than case. Default: "", it is not.
	DNSSD string `config:"dns_sd" empty:"ok"`
}

// Reconnect is how long a dialer waits between attempts: Min after the first, then longer each time, up to Max.
type Reconnect struct {
	// Min is the first wait: 1ms to 1h. Default: 100ms.
	Min time.Duration `config:"min" range:"1ms..1h"`
	// Max is the longest wait: min to 24h. Default: 30s.
	Max time.Duration `config:"max" range:"1ms..24h"`
}

// Rule chooses a codec by what is known of a connection when it opens. It has exactly one condition.
type Rule struct {
	At Position `config:"-"`
	// Address matches peers whose address is in it: CIDR, or one address. The zero Prefix: not this condition.
	Address netip.Prefix `config:"address"`
	// StartsWith matches connections whose first bytes are these: 1 to 256 bytes. "": not this condition.
	StartsWith codecs.Bytes `config:"starts_with"`
	// Codec is the name of the codec for connections that match.
	Codec string `config:"codec" required:"ok"`
}

// Default returns the configuration of an empty file: every default, and no route.
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

// MaxFrame returns the longest payload, in bytes, that codec c carries in route r: what the codec says itself, or else
// the limit in force; and no more than a limit that the route sets itself.
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

// MaxFrameOption returns the name of the option that MaxFrame's result comes from.
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

// Codec returns the codec of that name, or nil. "none" is not a codec.
func (c *Config) Codec(name string) *Codec {
	for i := range c.Codecs {
		if c.Codecs[i].Name == name {
			return &c.Codecs[i]
		}
	}
	return nil
}

// Plugin returns the entry of plugins with that name, or nil, as for plugins that are built in.
func (c *Config) Plugin(name string) *Plugin {
	for i := range c.Plugins {
		if c.Plugins[i].Name == name {
			return &c.Plugins[i]
		}
	}
	return nil
}

// Where returns where the value of key, such as "routes[0].from.listen", was written; for a key that wasn't, the
// place of what encloses it, under the name of key.
func (c *Config) Where(key string) Position { return where(c.positions, c.File, key) }

// IsSet reports whether the file, a variable or a flag sets key.
func (c *Config) IsSet(key string) bool {
	_, ok := c.positions[key]
	return ok
}
