package config

import (
	"fmt"
	"slices"
	"strings"
)

// endpoint checks one endpoint of a route, apart from the others.
func (v *validator) endpoint(e *Endpoint, key string) {
	listen, dial := v.has(key+".listen"), v.has(key+".dial")
	if e.At.Key != key {
		return // missing or not a mapping, which is reported already
	}
	switch {
	case listen && dial:
		v.addError(v.at(key+".dial"), "listen and dial", "one of them")
	case !listen && !dial:
		v.addError(v.at(key), "neither listen nor dial", "one of them")
	}
	v.codecName(e.Codec, key+".codec")
	for i := range e.Select {
		v.rule(e, i, itemKey(key+".select", i))
	}
	if e.Reconnect.Max < e.Reconnect.Min {
		at := v.at(key + ".reconnect.max")
		if !v.has(key + ".reconnect.max") {
			at = v.at(key + ".reconnect.min")
		}
		v.addError(at, fmt.Sprintf("min %s and max %s", e.Reconnect.Min, e.Reconnect.Max), "min to be no more than max")
	}
	if e.Shutdown && e.Direction == Both && !e.Datagrams() {
		v.addError(v.at(key+".shutdown"), "shutdown with both directions in use", "direction: receive or send as well")
	}
	if e.Announce != nil {
		v.announce(e, key+".announce")
	}
	if e.Listen == nil && !dial {
		return // the keys that e may have depend on its address
	}
	v.placed(e, key)
	if e.Datagrams() {
		v.datagrams(e, key)
	}
}

// placed reports keys of e that are only for other kinds of endpoints.
func (v *validator) placed(e *Endpoint, key string) {
	only := func(name, where string, ok bool) {
		if v.has(childKey(key, name)) && !ok {
			v.addError(v.at(childKey(key, name)), name, "it only where framehost "+where)
		}
	}
	listens := func(schemes ...string) bool { return e.Listen != nil && slices.Contains(schemes, e.Listen.Scheme) }
	if len(e.Select) > 0 && !listens("tcp", "unix") {
		want := "them only where framehost listens"
		if e.Datagrams() {
			want = "none: they are for connections, and datagrams have none"
		}
		v.addError(v.at(key+".select"), "rules here", want)
	}
	only("allow", "listens on tcp or udp", listens("tcp", "udp"))
	only("deny", "listens on tcp or udp", listens("tcp", "udp"))
	only("announce", "listens on tcp or udp", listens("tcp", "udp"))
	only("mode", "listens on a Unix socket", listens("unix"))
	if listens("unix") && !v.has(key+".mode") {
		e.Mode = 0o660
	}
	only("reconnect", "dials a stream", e.Listen == nil && !e.Datagrams())
	only("udp", "listens or dials on udp", e.Datagrams() || e.Address() == nil)
	if e.Shutdown && e.Datagrams() {
		v.addError(v.at(key+".shutdown"), "shutdown", "none: it is for connections, and datagrams have none")
	}
}

// codecName checks the name of a codec at an endpoint or in a rule.
func (v *validator) codecName(name, key string) {
	if name == "" || name == NoCodec || v.config.Codec(name) != nil {
		return
	}
	var names []string
	for _, c := range v.config.Codecs {
		if c.Name != "" {
			names = append(names, c.Name)
		}
	}
	want := "the name of a codec in codecs"
	switch _, isProfile := LookupProfile(name); {
	case Nearest(name, names) != "":
		want += "; did you mean " + Nearest(name, names) + "?"
	case isProfile:
		want += fmt.Sprintf(", such as {name: %s, profile: %s}", name, name)
	case slices.Contains(v.pluginNames(), name):
		want += fmt.Sprintf(", such as {name: %s, plugin: %s}", name, name)
	case len(names) > 0:
		want += ": " + oneOf(name, append(names, NoCodec))
	}
	v.addError(v.at(key), quote(name), want)
}

// maxStart is the longest value of starts_with, in bytes.
const maxStart = 256

func (v *validator) rule(e *Endpoint, i int, key string) {
	r := &e.Select[i]
	if r.At.Key != key {
		return
	}
	address, start, unbuilt := v.has(key+".address"), v.has(key+".starts_with"), v.unbuiltRule(key)
	switch {
	case address && start:
		v.addError(v.at(key), "address and starts_with", "one condition")
	case !address && !start && !unbuilt:
		v.addError(v.at(key), "a rule without a condition", "address or starts_with; the endpoint's codec is for what no rule matches")
	case address && e.Listen != nil && e.Listen.Scheme == "unix":
		v.addError(v.at(key+".address"), "address", "another condition: peers on a Unix socket have no address")
	case len(r.StartsWith) > maxStart:
		v.addError(v.at(key+".starts_with"), fmt.Sprintf("%d bytes", len(r.StartsWith)), fmt.Sprintf("1 to %d", maxStart))
	}
	v.codecName(r.Codec, key+".codec")
	if r.Codec != "" && e.Codec != "" && (r.Codec == NoCodec) != (e.Codec == NoCodec) {
		v.addError(v.at(key+".codec"), quote(r.Codec), fmt.Sprintf("codec none everywhere or nowhere in a route; %s.codec is %s",
			strings.TrimSuffix(key, itemKey(".select", i)), e.Codec))
	}
}

// unbuiltRule reports whether the rule at key has a condition that is not built yet, which is reported already.
func (v *validator) unbuiltRule(key string) bool {
	return slices.ContainsFunc(v.errs, func(e *Error) bool {
		return strings.HasPrefix(e.Key, key+".") && strings.HasSuffix(e.Got, "is not built yet")
	})
}
