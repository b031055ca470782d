package endpoint

import (
	"net"
	"time"
)

// probes is how many probes in a row, one per interval, a peer must leave unanswered to be lost.
const probes = 4

// Keepalive detects TCP peers that vanished without ending the connection. The next Read or Write then returns ErrPeerLost.
// Keepalive does nothing for Unix sockets.
//
// An idle connection is probed after one Interval, and then once per Interval. After four unanswered probes, five Intervals
// in all, the peer is lost.
//
// Systems don't probe while sent bytes are unacknowledged. On Linux, TCP_USER_TIMEOUT covers that case. Linux applies that
// timeout also to a peer that is alive but does not read, which is a matter for backpressure and the write timeout. So the
// timeout is set to five Intervals, or to WriteTimeout plus one Interval if that is more. Without a WriteTimeout it is not
// set, and only the system's limit for retransmissions ends such a connection.
type Keepalive struct {
	Interval     time.Duration // 0: off, so no peer is detected as lost. Rounded up to a second
	WriteTimeout time.Duration // how long a live peer may accept no byte; 0: without limit
}

// userTimeout returns how long sent bytes may be unacknowledged before the peer is lost; 0: without limit.
func (k Keepalive) userTimeout() time.Duration {
	if k.Interval <= 0 || k.WriteTimeout <= 0 {
		return 0
	}
	interval := (k.Interval + time.Second - 1).Truncate(time.Second)
	return max((probes+1)*interval, k.WriteTimeout+interval)
}

// apply sets the options of k on s. It ignores errors: the connection works without the options too.
func (k Keepalive) apply(s socket) {
	tcp, ok := s.(*net.TCPConn)
	if !ok || k.Interval <= 0 {
		return
	}
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: k.Interval, Interval: k.Interval, Count: probes})
	if t := k.userTimeout(); t > 0 {
		setUserTimeout(tcp, t)
	}
}
