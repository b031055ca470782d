package discovery

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// parse parses a packet. It accepts exactly what PACKET.md describes, so each message has one encoding only. It does not
// check the signature. The error is ErrVersion or wraps ErrMalformed.
func parse(packet []byte) (message, error) {
	var m message
	if len(packet) < len(magic)+1 || string(packet[:len(magic)]) != magic {
		return m, malformed(0, "%q and a version", magic)
	}
	if packet[3] != version {
		return m, ErrVersion
	}
	if len(packet) < headerSize || len(packet) > MaxPacket {
		return m, fmt.Errorf("%w: got %d bytes, want %d to %d", ErrMalformed, len(packet), headerSize, MaxPacket)
	}
	if size := int(binary.BigEndian.Uint16(packet[6:])); size != len(packet) {
		return m, fmt.Errorf("%w: got %d bytes, %d announced", ErrMalformed, len(packet), size)
	}
	m.kind = kind(packet[4])
	m.id = ID(packet[8:24])
	m.sequence = binary.BigEndian.Uint64(packet[24:])
	sent := binary.BigEndian.Uint64(packet[32:])
	if m.sequence == 0 {
		return m, malformed(24, "a sequence number from 1")
	}
	if sent > maxSent {
		return m, malformed(32, "at most %d ms", uint64(maxSent))
	}
	m.sent = int64(sent)

	r := reader{b: packet, at: headerSize}
	switch packet[5] {
	case 0:
	case flagSigned:
		if len(packet) < headerSize+signatureSize {
			return m, malformed(len(packet), "a signature of %d bytes", signatureSize)
		}
		r.b = packet[:len(packet)-signatureSize]
		m.signature = packet[len(r.b):]
	default:
		return m, malformed(5, "flags 0 or %d", flagSigned)
	}
	switch m.kind {
	case announce:
		r.announcement(&m)
	case goodbye:
	case query:
		m.nonces = r.bytes(nonceSize, "a nonce")
		if m.service = r.text(0, MaxName, "a service"); len(m.service) > 0 && !validName(m.service) {
			r.setError(r.at-len(m.service), "a service's name")
		}
	default:
		return m, malformed(4, "a kind from %d to %d", announce, query)
	}
	if r.err == nil && r.at != len(r.b) {
		r.setError(r.at, "no more bytes")
	}
	return m, r.err
}

func malformed(at int, want string, args ...any) error {
	return fmt.Errorf("%w: byte %d: want %s", ErrMalformed, at, fmt.Sprintf(want, args...))
}

// A reader reads fields from b. After the first field that is missing or invalid, err is set and all further fields are
// empty.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) setError(at int, want string, args ...any) {
	if r.err == nil {
		r.err = malformed(at, want, args...)
		r.at = len(r.b)
	}
}

func (r *reader) bytes(n int, want string) []byte {
	if len(r.b)-r.at < n {
		r.setError(r.at, "%d bytes of %s", n, want)
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at : r.at]
}

func (r *reader) byte(least, most int, want string) int {
	b := r.bytes(1, want)
	if b == nil {
		return 0
	}
	if n := int(b[0]); n >= least && n <= most {
		return n
	}
	r.setError(r.at-1, "%s of %d to %d", want, least, most)
	return 0
}

// text reads one byte with a length from least to most, and that many bytes of text.
func (r *reader) text(least, most int, want string) []byte {
	n := r.bytes(1, want)
	if n == nil {
		return nil
	}
	if int(n[0]) < least || int(n[0]) > most {
		r.setError(r.at-1, "%s of %d to %d bytes", want, least, most)
		return nil
	}
	b := r.bytes(int(n[0]), want)
	if !validText(b) {
		r.setError(r.at-len(b), "%s in plain UTF-8", want)
		return nil
	}
	return b
}

func (r *reader) announcement(m *message) {
	m.nonces = r.bytes(nonceSize*r.byte(0, maxNonces, "a number of nonces"), "nonces")
	begin := r.at
	if b := r.bytes(4, "a time to live"); b != nil {
		m.ttl = binary.BigEndian.Uint32(b)
		if m.ttl == 0 || int64(m.ttl) > MaxTTL.Milliseconds() {
			r.setError(begin, "a time to live from 1 to %d ms", MaxTTL.Milliseconds())
		}
	}
	if b := r.bytes(2, "a port"); b != nil {
		if m.port = binary.BigEndian.Uint16(b); m.port == 0 {
			r.setError(r.at-2, "a port from 1")
		}
	}
	m.network = Network(r.byte(int(NetworkTCP), int(NetworkUDP), "a network"))
	if m.service = r.text(1, MaxName, "a service"); r.err == nil && !validName(m.service) {
		r.setError(r.at-len(m.service), "a service's name")
	}
	m.codec = r.text(0, MaxName, "a codec")
	m.addresses = r.addresses()
	m.labels = r.labels()
	if r.err == nil {
		m.raw = r.b[begin:r.at:r.at]
	}
}

func (r *reader) addresses() []byte {
	n := r.byte(0, MaxAddresses, "a number of addresses")
	begin := r.at
	for range n {
		size := r.byte(4, 16, "the size of an address")
		if r.err == nil && size != 4 && size != 16 {
			r.setError(r.at-1, "an address of 4 or 16 bytes")
		}
		if b := r.bytes(size, "an address"); r.err == nil {
			if a, _ := netip.AddrFromSlice(b); !validAddress(a) {
				r.setError(r.at-size, "the address of a host")
			}
		}
	}
	return r.b[min(begin, r.at):r.at]
}

func (r *reader) labels() []byte {
	n := r.byte(0, MaxLabels, "a number of labels")
	begin := r.at
	var last []byte
	for i := range n {
		key := r.text(1, MaxName, "a label's key")
		if r.err == nil && i > 0 && bytes.Compare(last, key) >= 0 {
			r.setError(r.at-len(key), "keys that rise")
		}
		last = key
		r.text(0, MaxLabel, "a label's value")
	}
	return r.b[min(begin, r.at):r.at]
}

// describe returns the service of an announcement, with copies of its bytes.
func (m *message) describe() Service {
	s := Service{Name: string(m.service), Network: m.network, Port: m.port, Codec: string(m.codec)}
	if len(m.labels) > 0 {
		s.Labels = map[string]string{}
	}
	for b := m.labels; len(b) > 0; {
		var key, value []byte
		key, b = cutField(b)
		value, b = cutField(b)
		s.Labels[string(key)] = string(value)
	}
	return s
}

// cutField splits b after its first field, which is one byte with a length and that many bytes. It returns the field without
// the length.
func cutField(b []byte) (field, rest []byte) {
	n := 1 + int(b[0])
	return b[1:n], b[n:]
}

// reachable returns the addresses at which the service of an announcement from origin is reached, best first. It returns
// none if another host announces only loopback addresses.
func (m *message) reachable(origin Origin) []netip.AddrPort {
	source := origin.Address.Addr()
	if len(m.addresses) == 0 {
		return []netip.AddrPort{netip.AddrPortFrom(source, m.port)}
	}
	var all []netip.AddrPort
	for b := m.addresses; len(b) > 0; {
		var address []byte
		address, b = cutField(b)
		a, _ := netip.AddrFromSlice(address)
		switch {
		case a.IsLoopback() && !source.IsLoopback():
			continue // the loopback address of another host would mean this host
		case a.Is6() && a.IsLinkLocalUnicast():
			a = a.WithZone(origin.Interface)
		}
		all = append(all, netip.AddrPortFrom(a, m.port))
		if a == source {
			last := len(all) - 1
			copy(all[1:], all[:last])
			all[0] = netip.AddrPortFrom(a, m.port)
		}
	}
	return all
}

func (r *record) lives() time.Duration { return time.Duration(r.ttl) * time.Millisecond }
