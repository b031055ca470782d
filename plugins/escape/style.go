package escape

// A style is a way of byte stuffing, which keeps terminators out of payloads.
type style interface {
	// machine returns the machine that reads bodies.
	machine() *machine
	// refuse returns the position of the byte because of which payload can't be written, and what is wanted there; or -1.
	refuse(payload []byte) (at int, want string)
	// stuffing returns how many bytes at the front of payload are written unchanged, and the greatest length that the body
	// can have.
	stuffing(payload []byte) (plain, most int)
	// stuff appends to dst the body of payload without its first plain bytes, which dst already has.
	stuff(dst, payload []byte, plain int) []byte
	// unstuff appends to dst the payload of body, which must be complete.
	unstuff(dst, body []byte) []byte
	// most returns the length of the longest body of a payload of up to maxFrame bytes, without the terminator. It may
	// exceed 32 bits.
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
