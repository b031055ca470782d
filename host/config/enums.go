package config

// NoCodec as the name of a codec passes bytes through unframed.
const NoCodec = "none"

// DataPlane is how payloads travel to and from plugin processes.
type DataPlane string

// The data planes.
const (
	DataPlaneAuto DataPlane = "auto" // shm where both ends can, else grpc
	DataPlaneGRPC DataPlane = "grpc" // messages on gRPC streams
	DataPlaneSHM  DataPlane = "shm"  // shared memory
)

// LogLevel is trace, debug, info, warn, error or off, as go-hclog names them.
type LogLevel string

// LogFormat is how a line of the log is written.
type LogFormat string

// The formats of the log.
const (
	FormatText LogFormat = "text"
	FormatJSON LogFormat = "json"
)

// OnViolation is what happens when a peer breaks its framing.
type OnViolation string

// What can be done about a violation.
const (
	ViolationClose      OnViolation = "close"      // end the session
	ViolationSkip       OnViolation = "skip"       // go on behind the frame
	ViolationQuarantine OnViolation = "quarantine" // go on behind the frame, and keep its bytes
)

// Direction is the use of an endpoint's two flows.
type Direction string

// The directions, as framehost sees them.
const (
	Both    Direction = "both"
	Receive Direction = "receive" // never write to this side
	Send    Direction = "send"    // read, discard and count what this side sends
)

// QueuePolicy is what happens to frames for a receiver whose queue is full.
type QueuePolicy string

// The policies of a queue.
const (
	DropOldest QueuePolicy = "drop_oldest" // those that wait longest give way
	DropNewest QueuePolicy = "drop_newest" // the new ones are dropped
	Disconnect QueuePolicy = "disconnect"  // the receiver is disconnected
	Block      QueuePolicy = "block"       // the sender waits
)

// enum is a string type of which only some values exist.
type enum interface{ values() []string }

func (DataPlane) values() []string { return []string{"auto", "grpc", "shm"} }
func (LogLevel) values() []string {
	return []string{"trace", "debug", "info", "warn", "error", "off"}
}
func (LogFormat) values() []string   { return []string{"text", "json"} }
func (OnViolation) values() []string { return []string{"close", "skip", "quarantine"} }
func (Direction) values() []string   { return []string{"both", "receive", "send"} }
func (QueuePolicy) values() []string {
	return []string{"drop_oldest", "drop_newest", "disconnect", "block"}
}
