package relay

// crumb is the size, in bytes, below which a read may be a piece of a frame that arrives byte by byte. Each such read costs a
// call of the codec, which finds nothing.
const crumb = 256

// crumbWary is how many small reads with a whole frame it takes until a sender of crumbs counts again as a sender of whole
// frames.
const crumbWary = 16

// crumbs detects whether a sender sends its frames in crumbs. Thousands of such senders could keep a plugin busy while other
// senders wait for it; so their bytes are decoded with low priority (codeccall.Decode.Patient).
type crumbs struct {
	last int // bytes of the last read
	wary int // more than 0: the sender has lately sent crumbs
}

func (c *crumbs) read(n int) { c.last = n }

// patient reports whether the bytes of the last read will probably complete no frame.
func (c *crumbs) patient() bool { return c.wary > 0 && c.last < crumb }

// found notes how many frames a call found in the bytes of the last read.
func (c *crumbs) found(frames int) {
	switch {
	case c.last >= crumb:
	case frames == 0:
		c.wary = crumbWary
	case c.wary > 0:
		c.wary--
	}
}
