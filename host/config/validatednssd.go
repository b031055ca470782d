package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The rules here are those of package dnssd, which refuses the rest when it runs.

const (
	// maxServiceType is the longest name of a service type (RFC 6335, section 5.1).
	maxServiceType = 15
	// maxTXT is the longest string of a TXT record, which is a label with its name and = between.
	maxTXT = 255
	// codecTXT is the name by which a TXT record has the codec.
	codecTXT = "codec"
)

const wantServiceType = "_NAME._tcp or _NAME._udp, where NAME is 1 to 15 letters, digits and single hyphens between them, with a letter"

// dnssd checks what is announced of e by DNS-SD; key is that of the announcement.
func (v *validator) dnssd(e *Endpoint, key string) {
	at, text := v.at(key+".dns_sd"), e.Announce.DNSSD
	name, transport, _ := strings.Cut(text, ".")
	if transport != "_tcp" && transport != "_udp" || !isServiceType(name) {
		v.addError(at, quote(text), wantServiceType)
	} else if e.Listen != nil && slices.Contains([]string{"tcp", "udp"}, e.Listen.Scheme) && transport != "_"+e.Listen.Scheme {
		v.addError(at, quote(text), fmt.Sprintf("%s._%s, since framehost listens on %[2]s", name, e.Listen.Scheme))
	}
	v.txt(e.Announce.Labels, key+".labels")
}

// isServiceType reports whether text is the first label of a service type, with its underscore.
func isServiceType(text string) bool {
	name, ok := strings.CutPrefix(text, "_")
	return ok && len(name) >= 1 && len(name) <= maxServiceType &&
		!strings.HasPrefix(name, "-") && !strings.HasSuffix(name, "-") && !strings.Contains(name, "--") &&
		strings.ContainsFunc(name, isLetter) &&
		!strings.ContainsFunc(name, func(r rune) bool { return !isLetter(r) && (r < '0' || r > '9') && r != '-' })
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// txt checks that labels can be in a TXT record (RFC 6763, section 6.4), where names are ASCII and have no case.
func (v *validator) txt(labels map[string]string, key string) {
	seen := map[string]string{codecTXT: ""}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		at := v.at(childKey(key, name))
		folded := strings.ToLower(name)
		other, taken := seen[folded]
		switch {
		case name == "": // refused already
		case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' || r == '=' }):
			v.addError(at, fmt.Sprintf("%q", name), "a label's name of ASCII without =, for DNS-SD")
		case folded == codecTXT:
			v.addError(at, quote(name), "another name, for DNS-SD: codec is the codec there")
		case taken:
			v.addError(at, quote(name), fmt.Sprintf("a name that differs from %s in more than case, for DNS-SD", other))
		case len(name)+1+len(labels[name]) > maxTXT:
			v.addError(at, fmt.Sprintf("a name and a label of %d bytes", len(name)+len(labels[name])),
				fmt.Sprintf("at most %d together, for DNS-SD", maxTXT-1))
		}
		seen[folded] = name
	}
}
