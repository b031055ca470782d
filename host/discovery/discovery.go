// Package discovery announces services on a LAN by broadcast, and finds them.
//
//	                announcements at an interval, then goodbye
//	Announcer  ------------------------------------------------>  Browser --> Resolver
//	           <------------------------------------------------
//	                queries; an answer is an announcement too
//
// An [Announcer] announces one [Service] at an interval, answers queries, and says goodbye when it stops. A [Browser] sends
// queries, and remembers each service that it hears until the service's time to live has passed. A [Resolver] uses a
// Browser to choose the address to dial next. All of them send and receive through a [Station], which has the socket and
// the key; one per process is enough. The socket is a [Transport]: [UDP], or one in memory for tests.
//
// PACKET.md describes the packet byte by byte.
//
// # Guarantees
//
//   - Bounded: a packet has at most [MaxPacket] bytes, a Browser remembers at most [BrowserOptions].MaxServices services,
//     and an Announcer sends at most two answers a second, however many queries arrive.
//   - No reflection: packets are sent to the broadcast addresses of the LAN only, never to the source address of a packet.
//     So a query with a forged source can't direct answers at a victim.
//   - A packet that differs from PACKET.md is counted and has no other effect.
//   - A service is gone when it says goodbye, or when its time to live has passed since it was last heard.
//
// # Identities
//
// An announcement carries an identity that its Announcer drew at random when it was made, so a restarted service counts as a
// new one. A Browser ignores the identities in [BrowserOptions].Ignore; a route uses that so as not to find itself. A
// Browser finds other services of the same process or machine like any others.
//
// A packet that is sent on several interfaces may be heard several times. The copies have the same sequence number, and only
// the first counts.
//
// # With a key
//
// With [StationOptions].Key, each packet ends in an HMAC-SHA-256, and packets that are unsigned or signed with another key
// are ignored and counted. All hosts on the LAN that take part have the same key. Packets are not encrypted. Without a key,
// any host on the LAN may announce anything; a Browser without a key accepts signed and unsigned packets alike.
//
// Two rules protect announcements and goodbyes against replay if there is a key:
//
//   - The sequence numbers of one identity must rise; other packets are ignored. A Browser remembers the last number, also
//     of a service that is gone, for as long as the second rule would let an old packet pass.
//   - Each packet says when it was sent. That time must be within [StationOptions].Window of the Browser's clock.
//
// A wrong clock costs a query, but the service is still found: an answer echoes the random nonce of the query, which proves
// that the answer is fresh whatever time it carries. The Browser then stores the difference of the clocks and judges later
// packets by it. When a Browser hears a packet from outside the window, it sends a query, at most once in five seconds.
//
// An attacker who can record and send on the LAN, but does not have the key, can still do this:
//
//   - Make a Browser that has just started believe in a service that said goodbye less than one window ago, until its time
//     to live has passed. If that service's clock was ahead, the attack is possible for as much longer.
//   - Redirect a service whose Announcer has no [AnnouncerOptions].Addresses. Its address is the source of its packets,
//     which the HMAC does not cover, so an attacker who delivers a packet before its sender does can replace it. Set
//     Addresses where that matters.
//   - Repeat queries. They are answered at the bounded rate, and the answers gain the attacker nothing. The time of a query
//     is not checked, since the querying host may be the one whose clock is wrong.
package discovery

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"
)

// Limits of announcements. PACKET.md lists all limits.
const (
	MaxPacket    = 1200      // bytes of a packet, including its header and signature
	MaxName      = 63        // bytes of a service's name, of a codec's name and of a label's key
	MaxLabel     = 255       // bytes of a label's value
	MaxLabels    = 16        // labels of a service
	MaxAddresses = 8         // addresses of a service
	MaxTTL       = time.Hour // the longest time to live
)

// DefaultPort is the UDP port of announcements.
const DefaultPort = 7331

// An ID is the identity of one Announcer, drawn at random when it is made.
type ID [16]byte

func newID() (id ID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// String returns id as 32 hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText returns String, for logs in JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// A Network is the protocol by which a service is reached.
type Network uint8

// The values of Network, as a packet encodes them.
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

// A Service describes a service that is announced.
type Service struct {
	// Name is the name by which the service is found, such as "scales": 1 to MaxName ASCII letters, digits, '-', '_' and
	// '.', the first a letter or digit. Names are case-sensitive. Services of the same name are taken to be equivalent: a
	// Resolver distributes connections among them.
	Name string
	// Network is the protocol by which the service is reached; 0 means NetworkTCP.
	Network Network
	// Port is the port on which the service listens, 1 to 65535.
	Port uint16
	// Codec names the framing that the service uses, for information only. It may be empty, and has at most MaxName bytes
	// of text, with the rules for text of Labels.
	Codec string
	// Labels are free-form: at most MaxLabels, with keys of 1 to MaxName and values of 0 to MaxLabel bytes of UTF-8 without
	// control characters, line separators, and characters that change the direction of text.
	Labels map[string]string
}

// Found is a service that a Browser has found.
type Found struct {
	Service
	ID ID
	// Addresses are the addresses at which the service is reached, at least one: those that it announced, the source of its
	// packets first if announced; or that source alone if it announced none.
	Addresses []netip.AddrPort
	// Origin is where the service's packets come from. If its machine has several addresses on this LAN, Origin stays the
	// same as long as packets keep coming from there.
	Origin Origin
	// Signed says that the service's packets are signed with the Station's key. It is false if there is no key.
	Signed bool
	// Expires is when the Browser forgets the service unless it hears it again. An announcement that changes only Expires
	// is not reported as a change.
	Expires time.Time
}
