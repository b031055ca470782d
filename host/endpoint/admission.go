package endpoint

import (
	"fmt"
	"net/netip"
	"sync"
)

// An Admission decides which connections are accepted. Its zero value accepts all. Allow and Deny compare IP
// addresses and do not apply to Unix sockets, nor do limits for each address. Its slices must not be changed while it is
// in use.
type Admission struct {
	Allow []netip.Prefix // unless empty, an address must be in one of these
	Deny  []netip.Prefix // an address in one of these is refused, also when it is allowed
	Limit []*Connections // all of these must have room, and all count the connection
}

// admit counts a connection from ip, which is the zero Addr for a Unix socket. leave takes it back, and must be called
// once. Otherwise the reason says why it is refused.
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

// Denies says why Allow or Deny keep ip out, or "" if they don't. The zero Addr stands for a Unix socket.
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

// within returns the first of ranges that contains ip, which is not an IPv4 address mapped into IPv6.
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

// Connections counts live connections and limits how many there are, over all listeners that share it. A connection
// counts from its acceptance until its Conn ends. It is safe for concurrent use.
type Connections struct {
	mu                   sync.Mutex
	most, mostPerAddress int
	live                 int
	byAddress            map[netip.Addr]int // of those that are live, hence bounded by them
	spares               []spare            // that make room for others, in the order in which they do
}

// NewConnections returns a counter with limits for all connections, and for those from one IP address. 0: no limit.
func NewConnections(most, mostPerAddress int) *Connections {
	return &Connections{most: most, mostPerAddress: mostPerAddress, byAddress: map[netip.Addr]int{}}
}

// SetLimits replaces the limits, for connections to come: those that are live stay.
func (c *Connections) SetLimits(most, mostPerAddress int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most, c.mostPerAddress = most, mostPerAddress
}

// Live returns how many connections there are.
func (c *Connections) Live() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live
}

// enterOrMakeRoom counts a connection from ip, and lets others give way if it must.
func (c *Connections) enterOrMakeRoom(ip netip.Addr) (reason string) {
	for {
		reason, from := c.enter(ip)
		if reason == "" || !c.makeRoom(from) {
			return reason
		}
	}
}

// enter counts a connection from ip. Otherwise the reason says why not, and from which address one has to go, if that matters.
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
