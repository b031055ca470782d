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

	maxLabel = 63  // bytes between two dots of a name
	maxTXT   = 255 // bytes of a string of a TXT record
)

// A Service is what is announced.
type Service struct {
	Type string // as _NAME._tcp or _NAME._udp
	// Name is what people call it; it becomes part of the instance's name, where all but letters, digits and hyphens
	// becomes a hyphen.
	Name string
	Port uint16 // 1 to 65535
	// Address is where it is reached, if that is one alone. The zero Addr: at all addresses of the chosen interfaces, or
	// those of IPv4. One of loopback is announced only on loopback.
	Address  netip.Addr
	IPv4Only bool
	// Codec is in the TXT record as codec=NAME, unless it is "".
	Codec string
	// Labels are the rest of the TXT record, as NAME=LABEL of at most 255 bytes. Names are ASCII without =, and none of
	// them is codec; RFC 6763 (section 6.4) has upper and lower case alike.
	Labels map[string]string
}

// Check reports the first thing in s that can't be announced. Package config has the rules for a Type in full.
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

// txt returns the strings of the TXT record, which has at least one (RFC 6763, section 6.1).
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

// label returns the first label of the names of the instance and of its host.
func (s *Service) label(host string) string {
	text := plain(fmt.Sprintf("%s-%s-%d", s.Name, host, s.Port))
	if len(text) <= maxLabel {
		return text
	}
	sum := sha256.Sum256([]byte(text)) // two that are cut must stay two
	mark := "-" + hex.EncodeToString(sum[:4])
	return text[:maxLabel-len(mark)] + mark
}

func (s *Service) typeName() string             { return dns.Fqdn(s.Type) + domain }
func (s *Service) instance(label string) string { return label + "." + s.typeName() }

// hostLabel returns the first label of a host's name, of this one's if it is "".
func hostLabel(name string) string {
	if name == "" {
		name, _ = os.Hostname() // without one, it has none
	}
	name, _, _ = strings.Cut(name, ".")
	if name = plain(name); name == "" {
		return "framehost"
	}
	return name
}

// plain makes of text what is written alike in all forms of a DNS name, and is the name of a host.
func plain(text string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, text), "-")
}
