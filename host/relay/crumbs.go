package relay

// A read of fewer bytes than a crumb has may be a piece of a frame that arrives byte by byte. Each costs a call of the codec,
// which finds nothing.
const crumb = 256

// crumbWary is how many of these reads have to bring a whole frame before a sender that has sent crumbs is taken for one that
// sends frames whole again.
const crumbWary = 16

// crumbs says whether a sender sends its frames in crumbs. Thousands of such senders could keep a plugin busy that others
// wait for; so what they send is decoded with patience (codeccall.Decode.Patient).
type crumbs struct {
	last int // bytes of the last read
	wary int // more than 0: the sender has lately sent crumbs
}

func (c *crumbs) read(n int) { c.last = n }

// patient reports whether the call that shows what the last read brought will hardly find a frame.
func (c *crumbs) patient() bool { return c.wary > 0 && c.last < crumb }

// found notes how many frames a call found in what the last read brought.
func (c *crumbs) found(frames int) {
	switch {
	case c.last >= crumb:
	case frames == 0:
		c.wary = crumbWary
	case c.wary > 0:
		c.wary--
	}
}
