package endpoint

import (
	"net"
	"time"
)

// probes that stay unanswered, one an interval, before a peer is lost.
const probes = 4

// Keepalive finds TCP peers that vanished: they end nothing, and what is sent to them is not acknowledged. The next
// Read or Write then returns ErrPeerLost. It does nothing for Unix sockets.
//
// An idle connection is probed after Interval and then once an Interval; with four probes unanswered the peer is lost,
// after five Intervals in all. While sent bytes are not acknowledged systems don't probe, so on Linux TCP_USER_TIMEOUT
// covers that case. But Linux applies it also to a peer that is alive and does not read, which is for backpressure to
// bear and for the write timeout to end. So it is set to five Intervals or, if that is more, to WriteTimeout and one
// Interval; without a WriteTimeout it is not set, and only the retransmission limit of the system ends such a connection.
type Keepalive struct {
	Interval     time.Duration // 0: off, and then no peer is found lost. Rounded up to a second
	WriteTimeout time.Duration // for how long a living peer may take no byte; 0: as long as it likes
}

// userTimeout returns after how long without acknowledgement a peer is lost; 0: never.
func (k Keepalive) userTimeout() time.Duration {
	if k.Interval <= 0 || k.WriteTimeout <= 0 {
		return 0
	}
	interval := (k.Interval + time.Second - 1).Truncate(time.Second)
	return max((probes+1)*interval, k.WriteTimeout+interval)
}

// apply sets the options of k on s. Where a system refuses one the connection is still good.
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
