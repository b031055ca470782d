package dnssd

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

const (
	domain = "local."

	maxLabel = 63  // bytes of one label of a DNS name
	maxTXT   = 255 // bytes of one string of a TXT record
)

// A Service describes a service that is announced.
type Service struct {
	Type string // _NAME._tcp or _NAME._udp
	// Name is the human-readable name. It becomes part of the instance's name, with each character other than an ASCII
	// letter or digit replaced by a hyphen.
	Name string
	Port uint16 // 1 to 65535
	// Address is the only address at which the service is reached. The zero Addr means all addresses of the chosen
	// interfaces or, with IPv4Only, all their IPv4 addresses. A loopback address is announced only if loopback is chosen.
	Address  netip.Addr
	IPv4Only bool
	// Codec, unless empty, is added to the TXT record as codec=NAME.
	Codec string
	// Labels are the rest of the TXT record, as strings NAME=LABEL of at most 255 bytes. Names are ASCII without '=', and
	// none may be codec. They are case-insensitive (RFC 6763, section 6.4).
	Labels map[string]string
}

// Check returns an error for the first invalid field of s. Package config has the full rules for Type.
func (s *Service) Check() error {
	name, transport, _ := strings.Cut(s.Type, ".")
	switch {
	case len(name) < 2 || name[0] != '_' || transport != "_tcp" && transport != "_udp":
		return fmt.Errorf("DNS-SD: type: got %q, want _NAME._tcp or _NAME._udp", s.Type)
	case s.Name == "":
		return errors.New("DNS-SD: name: got nothing, want a name")
	case s.Port == 0:
		return errors.New("DNS-SD: port: got 0, want 1 to 65535")
	}
	for _, text := range s.txt() {
		if len(text) > maxTXT || strings.HasPrefix(text, "=") {
			return fmt.Errorf("DNS-SD: labels: got %q, want NAME=LABEL of at most %d bytes", text, maxTXT)
		}
	}
	return nil
}

// txt returns the strings of the TXT record, at least one (RFC 6763, section 6.1).
func (s *Service) txt() (texts []string) {
	if s.Codec != "" {
		texts = append(texts, "codec="+s.Codec)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		texts = append(texts, name+"="+s.Labels[name])
	}
	if texts == nil {
		return []string{""}
	}
	return texts
}

// label returns the first label of the instance's name, which is also the first label of its host name.
func (s *Service) label(host string) string {
	text := hyphenated(fmt.Sprintf("%s-%s-%d", s.Name, host, s.Port))
	if len(text) <= maxLabel {
		return text
	}
	sum := sha256.Sum256([]byte(text)) // keeps different names different after truncation
	mark := "-" + hex.EncodeToString(sum[:4])
	return text[:maxLabel-len(mark)] + mark
}

func (s *Service) typeName() string             { return dns.Fqdn(s.Type) + domain }
func (s *Service) instance(label string) string { return label + "." + s.typeName() }

// hostLabel returns the first label of name, or of this machine's name if name is "". If there is none, it returns
// "framehost".
func hostLabel(name string) string {
	if name == "" {
		name, _ = os.Hostname() // empty after an error
	}
	name, _, _ = strings.Cut(name, ".")
	if name = hyphenated(name); name == "" {
		return "framehost"
	}
	return name
}

// hyphenated returns text with each character other than an ASCII letter or digit replaced by a hyphen, and without hyphens
// at both ends. The result is valid in a host name and needs no escapes in a DNS name.
func hyphenated(text string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, text), "-")
}
