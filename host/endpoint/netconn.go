package endpoint

import "net"

// NetConn returns the connection for those who need a net.Conn, an HTTP server for instance. They use and close that
// alone from then on; a Conn that an Admission counted must not be handed over so.
func (c *Conn) NetConn() net.Conn { return c.socket }
