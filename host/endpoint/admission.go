package endpoint

import (
	"fmt"
	"net/netip"
	"sync"
)

// An Admission decides which connections a Listener accepts. The zero value accepts all. Allow, Deny and limits per address
// compare IP addresses and do not apply to Unix sockets. The slices must not be changed while the Admission is in use.
type Admission struct {
	Allow []netip.Prefix // unless empty, an address must be in one of these
	Deny  []netip.Prefix // overrides Allow: an address in one of these is refused
	Limit []*Connections // all of these must have room, and all count the connection
}

// admit counts a connection from ip, which is the zero Addr for a Unix socket, and returns leave, which uncounts it and
// must be called once. If the connection is refused, admit returns a nil leave and the reason.
func (a *Admission) admit(ip netip.Addr) (leave func(), reason string) {
	if reason := a.Denies(ip); reason != "" {
		return nil, reason
	}
	for i, connections := range a.Limit {
		if reason := connections.enterOrMakeRoom(ip); reason != "" {
			leaveAll(a.Limit[:i], ip)
			return nil, reason
		}
	}
	return func() { leaveAll(a.Limit, ip) }, ""
}

// Denies returns why Allow or Deny refuse ip, or "" if they don't. The zero Addr stands for a Unix socket.
func (a *Admission) Denies(ip netip.Addr) (reason string) {
	if !ip.IsValid() {
		return ""
	}
	if in, ok := within(a.Deny, ip); ok {
		return fmt.Sprintf("denied by %s", in)
	}
	if _, ok := within(a.Allow, ip); !ok && len(a.Allow) > 0 {
		return "not in the allow list"
	}
	return ""
}

func leaveAll(limits []*Connections, ip netip.Addr) {
	for _, connections := range limits {
		connections.leave(ip)
	}
}

// within returns the first of ranges that contains ip, which must not be an IPv4-mapped IPv6 address.
func within(ranges []netip.Prefix, ip netip.Addr) (netip.Prefix, bool) {
	for _, r := range ranges {
		plain := r
		if r.Addr().Is4In6() && r.Bits() >= 96 {
			plain = netip.PrefixFrom(r.Addr().Unmap(), r.Bits()-96)
		}
		if plain.Contains(ip) {
			return r, true
		}
	}
	return netip.Prefix{}, false
}

// Connections counts live connections and limits their number, over all listeners that share it. A connection counts from
// its acceptance until its Conn ends. Connections is safe for concurrent use.
type Connections struct {
	mu                   sync.Mutex
	most, mostPerAddress int
	live                 int
	byAddress            map[netip.Addr]int // live connections from each address; no entries of 0
	spares               []spare            // connections that may be evicted, the first one first
}

// NewConnections returns a counter that allows most connections in total, and mostPerAddress from one IP address. 0: no
// limit.
func NewConnections(most, mostPerAddress int) *Connections {
	return &Connections{most: most, mostPerAddress: mostPerAddress, byAddress: map[netip.Addr]int{}}
}

// SetLimits replaces the limits for later connections. Live connections stay, even if they exceed the new limits.
func (c *Connections) SetLimits(most, mostPerAddress int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most, c.mostPerAddress = most, mostPerAddress
}

// Live returns the number of live connections.
func (c *Connections) Live() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live
}

// enterOrMakeRoom counts a connection from ip. If a limit is reached, it evicts connections that give way.
func (c *Connections) enterOrMakeRoom(ip netip.Addr) (reason string) {
	for {
		reason, from := c.enter(ip)
		if reason == "" || !c.makeRoom(from) {
			return reason
		}
	}
}

// enter counts a connection from ip. If a limit is reached, enter returns the reason, and the address from which a
// connection must be evicted to make room; the zero Addr means any address.
func (c *Connections) enter(ip netip.Addr) (reason string, from netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.most > 0 && c.live >= c.most:
		return fmt.Sprintf("over max_connections (%d)", c.most), netip.Addr{}
	case c.mostPerAddress > 0 && ip.IsValid() && c.byAddress[ip] >= c.mostPerAddress:
		return fmt.Sprintf("over max_connections_per_address (%d)", c.mostPerAddress), ip
	}
	c.live++
	if ip.IsValid() {
		c.byAddress[ip]++
	}
	return "", netip.Addr{}
}

func (c *Connections) leave(ip netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live--
	if !ip.IsValid() {
		return
	}
	if c.byAddress[ip]--; c.byAddress[ip] == 0 {
		delete(c.byAddress, ip)
	}
}
