package discovery

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// The layout of a packet; see PACKET.md.
const (
	magic   = "FHD"
	version = 1

	headerSize    = 40 // bytes before the fields that depend on the kind
	signatureSize = 32
	nonceSize     = 8
	maxNonces     = 8

	flagSigned = 1

	maxSent = 1<<48 - 1 // milliseconds
)

type kind uint8

const (
	announce kind = 1
	goodbye  kind = 2
	query    kind = 3
)

type nonce [nonceSize]byte

// A message is a parsed packet. Its slices refer to the packet.
type message struct {
	kind      kind
	signature []byte // nil if the packet is not signed
	id        ID
	sequence  uint64
	sent      int64 // milliseconds since 1970

	nonces  []byte // one after another; a query has its own, an announcement those of the queries that it answers
	service []byte // empty in a query for any service, and in a goodbye
	record         // of an announcement
}

// A record holds the fields of an announcement that describe its service.
type record struct {
	raw       []byte // the whole record, including the service's name
	ttl       uint32 // milliseconds
	port      uint16
	network   Network
	codec     []byte
	addresses []byte // as in the packet, without their count
	labels    []byte // as in the packet, without their count
}

// appendHeader begins a packet; finish completes it.
func appendHeader(b []byte, k kind, id ID, sequence uint64, sent int64) []byte {
	b = append(b, magic...)
	b = append(b, version, byte(k), 0, 0, 0)
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint64(b, sequence)
	return binary.BigEndian.AppendUint64(b, uint64(sent))
}

// finish writes the length of packet, signs it if there is a key, and returns it.
func finish(packet []byte, key *key) []byte {
	size := len(packet)
	if key != nil {
		packet[5] |= flagSigned
		size += signatureSize
	}
	binary.BigEndian.PutUint16(packet[6:], uint16(size))
	if key != nil {
		packet = key.sign(packet)
	}
	return packet
}

// appendQuery appends the fields of a query to a header. An empty service means any.
func appendQuery(b []byte, n nonce, service string) []byte {
	return appendText(append(b, n[:]...), service)
}

// appendNonces appends the nonces that an announcement answers, at most maxNonces.
func appendNonces(b []byte, nonces []nonce) []byte {
	b = append(b, byte(len(nonces)))
	for _, n := range nonces {
		b = append(b, n[:]...)
	}
	return b
}

// appendRecord appends the record of s to an announcement. s must be valid; see Service.Check.
func appendRecord(b []byte, s *Service, ttl uint32, addresses []netip.Addr) []byte {
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, s.Port)
	b = append(b, byte(s.Network))
	b = appendText(b, s.Name)
	b = appendText(b, s.Codec)
	b = append(b, byte(len(addresses)))
	for _, a := range addresses {
		b = append(b, byte(a.BitLen()/8))
		b = append(b, a.AsSlice()...)
	}
	keys := make([]string, 0, len(s.Labels))
	for k := range s.Labels {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b = append(b, byte(len(keys)))
	for _, k := range keys {
		b = appendText(appendText(b, k), s.Labels[k])
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(append(b, byte(len(text))), text...)
}
