package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The rules in this file repeat those of package discovery, so that a mistake is reported with its position before discovery refuses it.

func (v *validator) discovery() {
	const key = "discovery.interfaces"
	v.interfaces(v.config.Discovery.Interfaces, key)
	for i, text := range v.config.Discovery.Interfaces {
		if p, err := parsePrefix(text); err == nil && !p.Addr().Is4() {
			v.addError(v.at(itemKey(key, i)), quote(text), "an IPv4 address or network, or the name of an interface")
		}
	}
}

// Limits of an announcement, in bytes.
const (
	maxAnnouncedName  = 63
	maxLabel          = 255
	maxLabels         = 16
	maxAnnouncedTexts = 916 // all names and labels, with 2 more for each label; so that the packet has at most 1200
)

const maxAnnouncedTTL = time.Hour

func (v *validator) announce(e *Endpoint, key string) {
	a := e.Announce
	if a.Service != "" && !serviceText.MatchString(a.Service) {
		v.addError(v.at(key+".service"), quote(a.Service), wantService)
	}
	if len(e.Codec) > maxAnnouncedName {
		v.addError(v.at(key), fmt.Sprintf("a codec with a name of %d bytes", len(e.Codec)),
			fmt.Sprintf("at most %d where it is announced", maxAnnouncedName))
	}
	if !v.has(key + ".ttl") {
		a.TTL = min(max(a.TTL, 3*a.Interval), maxAnnouncedTTL)
	}
	switch {
	case a.TTL < 2*a.Interval:
		at := key + ".ttl"
		if !v.has(at) {
			at = key + ".interval"
		}
		v.addError(v.at(at), fmt.Sprintf("ttl %s with interval %s", a.TTL, a.Interval),
			fmt.Sprintf("a ttl of twice the interval or more: at least %s", 2*a.Interval))
	case a.TTL%time.Millisecond != 0:
		v.addError(v.at(key+".ttl"), quote(a.TTL.String()), "whole milliseconds")
	}
	v.labels(e, key+".labels")
	if a.DNSSD != "" {
		v.dnssd(e, key)
	}
}

func (v *validator) labels(e *Endpoint, key string) {
	labels := e.Announce.Labels
	if len(labels) > maxLabels {
		v.addError(v.at(key), fmt.Sprintf("%d labels", len(labels)), fmt.Sprintf("at most %d", maxLabels))
		return
	}
	size, good := len(e.Announce.Service)+len(e.Codec), true
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		at, value := v.at(childKey(key, name)), labels[name]
		size += 2 + len(name) + len(value)
		good = good && len(name) <= maxAnnouncedName && len(value) <= maxLabel
		switch {
		case name == "" || len(name) > maxAnnouncedName:
			v.addError(at, fmt.Sprintf("a label's name of %d bytes", len(name)), fmt.Sprintf("1 to %d", maxAnnouncedName))
		case !printable(name):
			v.addError(at, fmt.Sprintf("%q", name), "a label's name without control characters")
		case len(value) > maxLabel:
			v.addError(at, fmt.Sprintf("%d bytes", len(value)), fmt.Sprintf("at most %d", maxLabel))
		case !printable(value):
			v.addError(at, fmt.Sprintf("%q", value), "a label without control characters")
		}
	}
	if good && size > maxAnnouncedTexts {
		v.addError(v.at(key), fmt.Sprintf("names and labels of %d bytes in all", size), fmt.Sprintf("at most %d", maxAnnouncedTexts))
	}
}

// printable reports whether text is UTF-8 without characters that could disturb a terminal: control characters, line separators, and
// characters that change the direction of writing.
func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || r == 0x2028 || r == 0x2029 || unicode.Is(unicode.Bidi_Control, r)
	})
}
