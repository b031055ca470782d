package endpoint

import (
	"net/netip"
	"slices"
)

// GiveWay allows c to be evicted: when a new connection finds one of the limits that count c reached, evicted is called, c
// is reset, and the new connection is admitted. The connection that called GiveWay first is evicted first. A Write takes the
// permission back. GiveWay does nothing if no limit counts c.
func (c *Conn) GiveWay(evicted func()) {
	if len(c.limits) == 0 || c.givesWay.Swap(true) {
		return
	}
	for _, limit := range c.limits {
		limit.giveWay(c, evicted)
	}
	select {
	case <-c.over: // c may have ended before it was added
		c.stay()
	default:
	}
}

// stay undoes GiveWay.
func (c *Conn) stay() {
	if c.givesWay.Swap(false) {
		for _, limit := range c.limits {
			limit.stay(c)
		}
	}
}

// A spare is a connection that may be evicted.
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

// makeRoom evicts the first connection that gives way; if ip is valid, the first one from ip. It returns false if there is
// none.
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
