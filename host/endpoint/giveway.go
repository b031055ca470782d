package endpoint

import (
	"net/netip"
	"slices"
)

// GiveWay lets c make room when one of the limits that count it is reached: then it is reset, after evicted was called, and
// the connection that needs the room is admitted. Those that gave way first go first. A Write takes that back. It does nothing
// where no limit counts c.
func (c *Conn) GiveWay(evicted func()) {
	if len(c.limits) == 0 || c.givesWay.Swap(true) {
		return
	}
	for _, limit := range c.limits {
		limit.giveWay(c, evicted)
	}
	select {
	case <-c.over: // its end may have come before
		c.stay()
	default:
	}
}

// stay takes GiveWay back.
func (c *Conn) stay() {
	if c.givesWay.Swap(false) {
		for _, limit := range c.limits {
			limit.stay(c)
		}
	}
}

// A spare is a connection that makes room for others.
type spare struct {
	conn    *Conn
	evicted func()
}

func (c *Connections) giveWay(conn *Conn, evicted func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spares = append(c.spares, spare{conn, evicted})
}

func (c *Connections) stay(conn *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spares = slices.DeleteFunc(c.spares, func(s spare) bool { return s.conn == conn })
}

// makeRoom ends a connection that gives way, one from ip if that is valid. It returns false if there is none.
func (c *Connections) makeRoom(ip netip.Addr) bool {
	c.mu.Lock()
	i := slices.IndexFunc(c.spares, func(s spare) bool { return !ip.IsValid() || s.conn.remoteIP == ip })
	if i < 0 {
		c.mu.Unlock()
		return false
	}
	s := c.spares[i]
	c.spares = slices.Delete(c.spares, i, i+1)
	c.mu.Unlock()
	if s.conn.givesWay.Load() {
		s.evicted()
		_ = s.conn.Reset()
	}
	return true
}
