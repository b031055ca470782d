package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// warn adds to c.Warnings settings that are allowed but probably not meant, and sorts them.
func (c *Config) warn() {
	warn := func(key, format string, args ...any) {
		c.Warnings = append(c.Warnings, Warning{c.Where(key), fmt.Sprintf(format, args...)})
	}
	if len(c.Routes) == 0 {
		warn("routes", "there is no route, so there is nothing to run")
	}
	for i := range c.Codecs {
		c.warnTerminators(&c.Codecs[i], itemKey("codecs", i), warn)
	}
	for i := range c.Routes {
		r, key := &c.Routes[i], itemKey("routes", i)
		if total := c.Limits.MaxConnections; total > 0 && r.Limits.MaxConnections > total {
			warn(key+".limits.max_connections", "%d is more than the %d of all routes together", r.Limits.MaxConnections, total)
		}
		if r.From.Listen != nil && !r.IsHub() && !r.To.Reconnect.isDefault() {
			warn(key+".to.reconnect", "has no effect where from listens: a connection that can't be made ends its session")
		}
		for j, e := range r.Sides() {
			if e.Dial != nil && !e.Datagrams() && r.listensAt(e.Dial) {
				warn(key+r.sideKey(j)+".dial", "this route dials itself")
			}
			if e.Announce != nil && loopback(e.Listen.Host) {
				warn(key+r.sideKey(j)+".announce", "%s is reached from this machine alone", e.Listen)
			}
			rules := key + r.sideKey(j) + ".select"
			for i := range e.Select {
				if earlier := shadowed(e.Select, i); earlier >= 0 {
					warn(itemKey(rules, i), "never matches: %s takes everything that it would", itemKey(rules, earlier))
				}
			}
		}
	}
	slices.SortStableFunc(c.Warnings, func(a, b Warning) int { return a.before(b.Position) })
}

func (r *Route) listensAt(a *Address) bool {
	return slices.ContainsFunc(r.Sides(), func(e *Endpoint) bool { return e.Listen != nil && e.Listen.String() == a.String() })
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func (r Reconnect) isDefault() bool { return r == defaultEndpoint().Reconnect }

// warnTerminators warns of a swapterm codec with declared terminators so short that one payload can contain all of them. Such a payload
// can't be framed.
func (c *Config) warnTerminators(codec *Codec, key string, warn func(key, format string, args ...any)) {
	if codec.Plugin != "swapterm" {
		return
	}
	length := 1
	if n := codec.Options.merged().get("length"); n != nil {
		v, err := strconv.Atoi(n.text)
		if err != nil {
			return // the plugin will report it
		}
		length = v
	}
	maxFrame := c.longestPayload(codec)
	if length < 1 || length > 4 || Size(1)<<(8*length) > maxFrame {
		return
	}
	warn(key, "there are %d terminators of length %d, and a payload of max_frame %s can hold them all: it would be refused",
		1<<(8*length), length, maxFrame)
}

// longestPayload returns the largest limit with which a route uses codec or, if none does, the limit with which it would be used.
func (c *Config) longestPayload(codec *Codec) (longest Size) {
	for i := range c.Routes {
		r := &c.Routes[i]
		for _, e := range r.Sides() {
			if slices.Contains(e.Codecs(), codec.Name) {
				longest = max(longest, Size(r.MaxFrame(codec)))
			}
		}
	}
	return cmp.Or(longest, codec.MaxFrame, c.Limits.MaxFrame)
}

// shadowed returns the index of the first rule before rule i that matches every connection that rule i matches, or -1.
func shadowed(rules []Rule, i int) int {
	r := rules[i]
	for j, earlier := range rules[:i] {
		switch {
		case r.Address.IsValid() && earlier.Address.IsValid() && earlier.Address.Bits() <= r.Address.Bits() &&
			earlier.Address.Contains(r.Address.Addr()):
			return j
		case r.StartsWith != "" && earlier.StartsWith != "" && strings.HasPrefix(string(r.StartsWith), string(earlier.StartsWith)):
			return j
		}
	}
	return -1
}
