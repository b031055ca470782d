// Package discovery announces services on a LAN by broadcast, and finds them.
//
//	                announce, again and again, then goodbye
//	Announcer  ------------------------------------------------>  Browser --> Resolver
//	           <------------------------------------------------
//	                query, now and then; an answer is an announcement too
//
// An [Announcer] tells the LAN about one [Service] at an interval, says goodbye when it stops, and answers queries. A
// [Browser] asks, and keeps what it hears until its time to live has passed. A [Resolver] is a Browser that picks, for
// those who want to dial a service, where to dial next. All of them speak through a [Station], which has the socket and
// the key; a process needs one. The socket is a [Transport]: [UDP], or something in memory for tests.
//
// The packet is described byte by byte in PACKET.md.
//
// # What is promised
//
//   - Bounded: a packet is at most [MaxPacket] bytes, a Browser remembers at most [BrowserOptions].MaxServices services,
//     and an Announcer sends at most two answers a second, whoever asks.
//   - No reflection: whatever is sent goes to the broadcast addresses of the LAN, never to an address that a packet
//     came from. So a query with a false source can't direct answers at anybody.
//   - A packet that is not exactly what PACKET.md says is counted, and changes nothing else.
//   - A service is gone when it says goodbye, or when its time to live has passed since it was last heard.
//
// # Who is heard
//
// An announcement carries a random identity that its Announcer drew when it was made, so a service that was restarted is
// another one. A Browser ignores the identities in [BrowserOptions].Ignore, which is how a route does not find itself;
// other services of the same process or machine are found like any others.
//
// A packet that is sent on several interfaces may be heard several times. Its sequence number tells, and only the first
// counts.
//
// # With a key
//
// With [StationOptions].Key each packet ends in its HMAC-SHA-256, and packets without one, or with another key's, are
// ignored and counted. Everyone on the LAN who is meant to take part has the same key. The payloads of the packets are
// not secret. Without a key, anyone on the LAN may announce anything; a Browser without a key believes signed packets as it
// believes unsigned ones.
//
// Against packets recorded and sent again, two rules hold for announcements and goodbyes if there is a key:
//
//   - Those of one identity rise in sequence. One that does not is ignored. This is remembered, also of services that
//     are gone, for as long as the second rule would let an old packet pass.
//   - Each says when it was sent, which must be within [StationOptions].Window of the Browser's clock.
//
// Clocks that are wrong cost a query, but keep nobody from being found: an answer echoes the random nonce of the query,
// which proves that it is fresh whatever it says about the time. The Browser notes how far off the clock was and holds
// later packets against that. A Browser that hears a packet from outside the window asks, at most once in five seconds.
//
// What remains possible for someone who can record and send on the LAN but does not have the key:
//
//   - A Browser that was started just now may believe in a service that said goodbye less than the window ago, until its
//     time to live has passed. If the clock of that service was ahead, the same is possible as long afterwards.
//   - Where the Announcer gives no [AnnouncerOptions].Addresses, a service is at the address that its packet came from,
//     which the HMAC does not cover. Someone who delivers a packet before its sender does can put another one there.
//     Give addresses where that matters.
//   - Queries sent again are answered, at the bounded rate, to nobody's use. Their time is not looked at, since whoever
//     asks may be the one whose clock is wrong.
package discovery

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"
)

// Limits of what can be announced. PACKET.md has all of them.
const (
	MaxPacket    = 1200      // bytes of a packet, with everything
	MaxName      = 63        // bytes of a service's name, of a codec's name and of a label's key
	MaxLabel     = 255       // bytes of a label's value
	MaxLabels    = 16        // labels of a service
	MaxAddresses = 8         // addresses of a service
	MaxTTL       = time.Hour // how long a service can ask to be remembered
)

// DefaultPort is the UDP port of announcements.
const DefaultPort = 7331

// An ID is the identity of one Announcer, drawn at random when it is made.
type ID [16]byte

func newID() (id ID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// String returns id in 32 hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText returns String, for logs in JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// A Network is what a service is reached by.
type Network uint8

// The networks, with their numbers in a packet.
const (
	NetworkTCP Network = 1
	NetworkTLS Network = 2
	NetworkUDP Network = 3
)

// String returns the network as the scheme of a URL: tcp, tls or udp.
func (n Network) String() string {
	switch n {
	case NetworkTCP:
		return "tcp"
	case NetworkTLS:
		return "tls"
	case NetworkUDP:
		return "udp"
	default:
		return fmt.Sprintf("network %d", uint8(n))
	}
}

// MarshalText returns String, for logs in JSON.
func (n Network) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// A Service is what is announced.
type Service struct {
	// Name is what the service is looked for by, such as "scales": 1 to MaxName ASCII letters, digits, '-', '_' and '.',
	// the first one a letter or digit. Upper and lower case differ. Several may have the same name: they are taken to do
	// the same, and a Resolver spreads over them.
	Name string
	// Network is what it is reached by; 0 means NetworkTCP.
	Network Network
	// Port is where it listens, 1 to 65535.
	Port uint16
	// Codec names the framing that it speaks, as information for people and programs; it may be empty. At most MaxName
	// bytes of text, as that of labels.
	Codec string
	// Labels are free: at most MaxLabels, with keys of 1 to MaxName and values of 0 to MaxLabel bytes of UTF-8 without
	// control characters, line separators and characters that change the direction of text.
	Labels map[string]string
}

// Found is a service that a Browser has heard of.
type Found struct {
	Service
	ID ID
	// Addresses are where it is reached, at least one: those that it announced, the one its packet came from first
	// if it is among them; else the one its packet came from.
	Addresses []netip.AddrPort
	// Origin is where its packets come from. On a machine with several addresses on this LAN it stays the same as long
	// as packets keep coming from there.
	Origin Origin
	// Signed says that its packets are signed with our key. It is false if there is no key.
	Signed bool
	// Expires is when it will be forgotten unless it is heard again. An announcement that changes only this is not
	// reported as a change.
	Expires time.Time
}
