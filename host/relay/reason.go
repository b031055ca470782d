package relay

// A Reason says why a session, or the attempt at one, ended. It is an error as well, so that a context can be cancelled
// with a Reason as its cause.
type Reason string //nolint:errname // see the constants

// The reasons. No session ends with Refused or ConnectFailed: callers use these for connections that get no session. A member of a
// hub ends with Refused if it was closed to make room for another connection.
//
//nolint:errname // they are the words of logs and metrics
const (
	Fin              Reason = "fin"                // both peers ended, and everything arrived
	FinMidFrame      Reason = "fin_mid_frame"      // a peer ended inside a frame
	Reset            Reason = "reset"              // a peer reset its connection
	PeerLost         Reason = "peer_lost"          // a peer has stopped answering
	IdleTimeout      Reason = "idle_timeout"       // see Timeouts
	FrameTimeout     Reason = "frame_timeout"      // see Timeouts
	WriteTimeout     Reason = "write_timeout"      // see Timeouts
	HalfCloseTimeout Reason = "half_close_timeout" // see Timeouts
	Violated         Reason = "violation"          // a peer broke its framing
	Unrepresentable  Reason = "unrepresentable"    // the receiver's framing can't carry a payload
	CodecFailed      Reason = "codec_failed"       // no process could carry out a codec call
	ConnectFailed    Reason = "connect_failed"     // the upstream could not be reached
	Refused          Reason = "refused"            // the connection exceeded a limit, or was denied
	MemoryShort      Reason = "memory"             // memory did not become free in time
	Drained          Reason = "drained"            // a drain found the session at rest, and both peers saw a clean end
	DrainTimeout     Reason = "drain_timeout"      // a drain cut a session that had not ended in time
	SlowReceiver     Reason = "slow_receiver"      // the queue of a receiver of a hub was full
	IOError          Reason = "io_error"           // a link failed in another way
)

// Error returns the reason itself.
func (r Reason) Error() string { return string(r) }

// Direction is one of the two directions of a session, or of a member of a hub.
type Direction uint8

// The directions. The zero value, Neither, means the session or the member as a whole.
const (
	Neither Direction = iota
	ToUpstream
	ToDownstream
	FromMember // from a member of a hub to the hub
	ToMember
)

// String returns "to upstream", "to downstream", "from member", "to member" or "".
func (d Direction) String() string {
	switch d {
	case ToUpstream:
		return "to upstream"
	case ToDownstream:
		return "to downstream"
	case FromMember:
		return "from member"
	case ToMember:
		return "to member"
	default:
		return ""
	}
}
