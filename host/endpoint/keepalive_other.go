//go:build !linux

package endpoint

import (
	"net"
	"time"
)

// setUserTimeout does nothing: there is no TCP_USER_TIMEOUT. The system's own limit of retransmissions applies.
func setUserTimeout(*net.TCPConn, time.Duration) {}
