package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The rules in this file repeat those of package dnssd, so that a mistake is reported with its position before dnssd refuses it.

const (
	// maxServiceType is the longest name of a service type (RFC 6335, section 5.1).
	maxServiceType = 15
	// maxTXT is the longest string of a TXT record, in bytes. Each string is NAME=VALUE of a label.
	maxTXT = 255
	// codecTXT is the name of the string of a TXT record that names the codec.
	codecTXT = "codec"
)

const wantServiceType = "_NAME._tcp or _NAME._udp, where NAME is 1 to 15 letters, digits and single hyphens between them, with a letter"

// dnssd checks the service type and the labels that e announces by DNS-SD. key is the key of e's announce.
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

// isServiceType reports whether text can be the first part of a service type: _NAME.
func isServiceType(text string) bool {
	name, ok := strings.CutPrefix(text, "_")
	return ok && len(name) >= 1 && len(name) <= maxServiceType &&
		!strings.HasPrefix(name, "-") && !strings.HasSuffix(name, "-") && !strings.Contains(name, "--") &&
		strings.ContainsFunc(name, isLetter) &&
		!strings.ContainsFunc(name, func(r rune) bool { return !isLetter(r) && (r < '0' || r > '9') && r != '-' })
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// txt checks that labels fit into a TXT record (RFC 6763, section 6.4), in which names are ASCII and their case is ignored.
func (v *validator) txt(labels map[string]string, key string) {
	seen := map[string]string{codecTXT: ""}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		at := v.at(childKey(key, name))
		folded := strings.ToLower(name)
		other, taken := seen[folded]
		switch {
		case name == "": // reported already
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
