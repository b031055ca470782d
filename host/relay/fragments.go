package relay

// fragmentSize is the size, in bytes, below which a read may be a fragment of a frame that arrives byte by byte. Each such read costs a
// codec call that finds no frame.
const fragmentSize = 256

// fragmentReset is the number of small reads with a whole frame after which a sender of fragments counts again as a sender of whole
// frames.
const fragmentReset = 16

// fragments detects senders that send their frames in small fragments. Thousands of such senders could keep a plugin busy while other
// senders wait for it, so their bytes are decoded with low priority (codeccall.Decode.Patient).
type fragments struct {
	last       int // bytes of the last read
	untilWhole int // small reads with a whole frame until the sender no longer counts as a sender of fragments; 0: it does not
}

func (c *fragments) read(n int) { c.last = n }

// patient reports whether the bytes of the last read will probably complete no frame.
func (c *fragments) patient() bool { return c.untilWhole > 0 && c.last < fragmentSize }

// found notes the number of frames that a call found in the bytes of the last read.
func (c *fragments) found(frames int) {
	switch {
	case c.last >= fragmentSize:
	case frames == 0:
		c.untilWhole = fragmentReset
	case c.untilWhole > 0:
		c.untilWhole--
	}
}
