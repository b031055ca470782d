package discovery

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"unicode/utf8"
)

// wantName describes a valid service name, for messages.
var wantName = fmt.Sprintf("1 to %d letters, digits, '-', '_' and '.', the first a letter or digit", MaxName)

// Check returns an error for the first invalid field of s. A Network of 0 is valid.
func (s *Service) Check() error {
	switch {
	case !validName(s.Name):
		return fmt.Errorf("service: got %q, want %s", s.Name, wantName)
	case s.Network > NetworkUDP:
		return fmt.Errorf("network: got %d, want tcp, tls or udp", uint8(s.Network))
	case s.Port == 0:
		return fmt.Errorf("port: got 0, want 1 to 65535")
	case len(s.Codec) > MaxName || !validText(s.Codec):
		return fmt.Errorf("codec: got %q, want at most %d bytes of plain UTF-8", s.Codec, MaxName)
	case len(s.Labels) > MaxLabels:
		return fmt.Errorf("labels: got %d, want at most %d", len(s.Labels), MaxLabels)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
		if key == "" || len(key) > MaxName || !validText(key) {
			return fmt.Errorf("labels: got key %q, want 1 to %d bytes of plain UTF-8", key, MaxName)
		}
		if value := s.Labels[key]; len(value) > MaxLabel || !validText(value) {
			return fmt.Errorf("labels.%s: got %q, want at most %d bytes of plain UTF-8", key, value, MaxLabel)
		}
	}
	return nil
}

// validName reports whether b is a valid service name.
func validName[T string | []byte](b T) bool {
	if len(b) == 0 || len(b) > MaxName {
		return false
	}
	for i := range len(b) {
		c := b[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '-' || c == '_' || c == '.'):
		default:
			return false
		}
	}
	return true
}

// validText reports whether b is UTF-8 that is harmless on a terminal. The forbidden characters are listed here, not looked
// up in Unicode's tables: the tables change, and all versions of framehost must accept the same packets.
func validText[T string | []byte](b T) bool {
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				return false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(string(b[i:min(i+utf8.UTFMax, len(b))]))
		switch {
		case r == utf8.RuneError && size == 1, // not UTF-8
			r >= 0x80 && r <= 0x9f,     // control characters
			r == 0x2028 || r == 0x2029, // line separators
			r == 0x061c || r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069: // direction
			return false
		}
		i += size
	}
	return true
}

// validAddress reports whether a can be the address of a host. IPv4-mapped IPv6 addresses are invalid, so that each address
// has one encoding only.
func validAddress(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
