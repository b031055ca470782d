package endpoint

import "net"

// NetConn returns the net.Conn of c, for callers that need one, such as an HTTP server. From then on the caller uses and
// closes only the net.Conn. If an Admission counted c, NetConn must not be used: closing the net.Conn does not uncount c.
func (c *Conn) NetConn() net.Conn { return c.socket }
