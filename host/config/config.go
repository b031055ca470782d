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
	// DataPlane says how payloads travel to and from plugin processes: auto (the best that both have) or grpc.
	// Default: auto.
	DataPlane DataPlane `config:"data_plane"`
	// Plugins are the codec plugins that are not built in.
	Plugins []Plugin `config:"plugins"`
	// Codecs are plugins with their options, under the names that routes use.
	Codecs []Codec `config:"codecs"`
	// Routes say which endpoints are joined.
	Routes []Route `config:"routes"`

	// File is the name of the file that was read, as it was given; "" for none.
	File string `config:"-"`
	// Warnings are about what is allowed but probably not meant, sorted by position.
	Warnings []Warning `config:"-"`

	positions map[string]Position
}

// Limits bound what peers can make framehost take. 0: no limit.
type Limits struct {
	// MaxFrame is the longest payload that is accepted, in either direction: 1B to 1GiB; 0 stands for 1GiB. A codec's
	// own max_frame goes before this one. A route's own limits.max_frame is a ceiling for its codecs as well.
	// Default: 1MiB.
	MaxFrame Size `config:"max_frame" range:"1B..1GiB" zero:"ok"`
	// Memory is the most memory that all buffers together take: 1MiB or more; 0: no limit. It can't be set in a route.
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
	// Drain is how long sessions may go on after framehost was told to end, or their route was removed. Default: 30s.
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

// Discovery announces and finds services on a LAN. It is not built yet: only the defaults are accepted.
type Discovery struct {
	// Port is the UDP port of announcements: 1 to 65535. Default: 7331.
	Port int `config:"port" range:"1..65535"`
	// Interfaces are those that are used. Default: none named, which is all.
	Interfaces []string `config:"interfaces"`
	// KeyFile holds the key that announcements are signed with. Default: "", they are not.
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
	// DataPlane is as data_plane of the whole configuration. Default: what that is.
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

// Route joins two endpoints: each connection of one is paired with one of the other.
type Route struct {
	At Position `config:"-"`
	// Name is what logs and status call it.
	Name string `config:"name" required:"ok"`
	// From is the side that reaches framehost, where it listens.
	From Endpoint `config:"from" required:"ok"`
	// To is the side that framehost reaches.
	To Endpoint `config:"to" required:"ok"`
	// OnViolation says what happens when a peer breaks its framing: close (the session), skip (the frame), or quarantine
	// (skip it, and keep its bytes). Default: close.
	OnViolation OnViolation `config:"on_violation"`
	// Limits are those in force for this route: what it sets itself, laid over those of the whole configuration.
	Limits Limits `config:"limits"`
	// Timeouts are those in force for this route: what it sets itself, laid over those of the whole configuration.
	Timeouts Timeouts `config:"timeouts"`

	ownMaxFrame bool
}

// Endpoint is where bytes enter or leave. Exactly one of Listen and Dial is not nil.
type Endpoint struct {
	At Position `config:"-"`
	// Listen is where connections are accepted: tcp://HOST:PORT or unix://PATH. Port 0 takes any free one.
	Listen *Address `config:"listen"`
	// Dial is where connections are made to: tcp://HOST:PORT or unix://PATH.
	Dial *Address `config:"dial"`
	// Codec is the name of a codec, or "none": bytes pass unframed, and then both sides must say so.
	Codec string `config:"codec" required:"ok"`
	// Select chooses another codec for a connection, when it opens: the first rule that matches wins. Only where
	// framehost listens, and only in from.
	Select []Rule `config:"select"`
	// Direction: both; receive: framehost never writes to this side; send: what this side sends is read, discarded and
	// counted. Default: both.
	Direction Direction `config:"direction"`
	// Shutdown shuts the unused direction of the socket at once, with direction receive or send. Many devices take that
	// as hanging up. Default: false.
	Shutdown bool `config:"shutdown"`
	// Allow are the peer addresses that may connect, as CIDR or single addresses. Only for listen: tcp.
	// Default: all.
	Allow []netip.Prefix `config:"allow"`
	// Deny are peer addresses that may not connect, even if allowed. Only for listen: tcp. Default: none.
	Deny []netip.Prefix `config:"deny"`
	// Mode is the permissions of a listening Unix socket, as octal digits. Default: 0660.
	Mode fs.FileMode `config:"mode"`
	// Reconnect is how a dialer waits between attempts, where there is no downstream to tell: in routes that dial on
	// both sides.
	Reconnect Reconnect `config:"reconnect"`
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
			Connect: 5 * time.Second, Select: time.Second, Frame: 5 * time.Minute, Write: 2 * time.Minute,
			HalfClose: 5 * time.Minute, Drain: 30 * time.Second, Codec: 5 * time.Second, Keepalive: 15 * time.Second,
		},
		Log:        Log{Level: "info", Format: FormatText},
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
