package escape

// A style is a way of byte stuffing: how payloads are kept free of what ends a frame.
type style interface {
	// machine reads bodies.
	machine() *machine
	// refuse returns the byte of payload that makes it impossible to write, and what would be possible; or -1.
	refuse(payload []byte) (at int, want string)
	// stuffing returns how many bytes at the front of payload are written as they are, and the greatest length that
	// the body can have.
	stuffing(payload []byte) (plain, most int)
	// stuff appends to dst the body of payload without its first plain bytes, which are there already.
	stuff(dst, payload []byte, plain int) []byte
	// unstuff appends to dst the payload of body, which was read to its end.
	unstuff(dst, body []byte) []byte
	// most returns the length of the longest body of a payload of up to maxFrame bytes, without the terminator. It can
	// be more than 32 bits count.
	most(maxFrame int64) int64
}

func newStyle(o *rules) style {
	switch o.style {
	case styleMap:
		return newMapped(o)
	case styleXor:
		return newXored(o)
	case styleDouble:
		return newDoubled(o)
	case styleLineDot:
		return newLines(o)
	default:
		return newBare(o)
	}
}
