//go:build !linux

package endpoint

import (
	"net"
	"time"
)

// setUserTimeout does nothing: this system has no TCP_USER_TIMEOUT. The system's limit for retransmissions applies.
func setUserTimeout(*net.TCPConn, time.Duration) {}
