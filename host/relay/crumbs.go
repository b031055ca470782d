package relay

// crumb is the size, in bytes, below which a read may be a fragment of a frame that arrives byte by byte. Each such read costs a
// codec call that finds no frame.
const crumb = 256

// crumbWary is the number of small reads with a whole frame after which a sender of fragments counts again as a sender of whole
// frames.
const crumbWary = 16

// crumbs detects senders that send their frames in small fragments. Thousands of such senders could keep a plugin busy while other
// senders wait for it, so their bytes are decoded with low priority (codeccall.Decode.Patient).
type crumbs struct {
	last int // bytes of the last read
	wary int // small reads with a whole frame until the sender no longer counts as a sender of fragments; 0: it does not
}

func (c *crumbs) read(n int) { c.last = n }

// patient reports whether the bytes of the last read will probably complete no frame.
func (c *crumbs) patient() bool { return c.wary > 0 && c.last < crumb }

// found notes the number of frames that a call found in the bytes of the last read.
func (c *crumbs) found(frames int) {
	switch {
	case c.last >= crumb:
	case frames == 0:
		c.wary = crumbWary
	case c.wary > 0:
		c.wary--
	}
}
