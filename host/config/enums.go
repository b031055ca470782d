package config

// NoCodec is the codec name that means no codec: bytes pass unframed.
const NoCodec = "none"

// DataPlane is how payloads travel to and from plugin processes.
type DataPlane string

// The data planes.
const (
	DataPlaneAuto DataPlane = "auto" // shm if host and plugin both support it, else grpc
	DataPlaneGRPC DataPlane = "grpc" // messages on gRPC streams
	DataPlaneSHM  DataPlane = "shm"  // shared memory
)

// LogLevel is trace, debug, info, warn, error or off, as go-hclog names them.
type LogLevel string

// LogFormat is the format of a log line.
type LogFormat string

// The formats of the log.
const (
	FormatText LogFormat = "text"
	FormatJSON LogFormat = "json"
)

// OnViolation is what happens when a peer breaks its framing.
type OnViolation string

// The actions on a violation.
const (
	ViolationClose      OnViolation = "close"      // end the session
	ViolationSkip       OnViolation = "skip"       // drop the frame and go on after it
	ViolationQuarantine OnViolation = "quarantine" // skip the frame and store its bytes
)

// Direction says which of an endpoint's two directions are used.
type Direction string

// The directions, from framehost's point of view.
const (
	Both    Direction = "both"
	Receive Direction = "receive" // never write to this side
	Send    Direction = "send"    // read, discard and count what this side sends
)

// QueuePolicy is what happens to frames for a receiver whose queue is full.
type QueuePolicy string

// The policies of a queue.
const (
	DropOldest QueuePolicy = "drop_oldest" // the frames that have waited longest are dropped
	DropNewest QueuePolicy = "drop_newest" // the new frame is dropped
	Disconnect QueuePolicy = "disconnect"  // the receiver is disconnected
	Block      QueuePolicy = "block"       // the sender waits
)

// enum is a string type with a fixed set of values.
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
