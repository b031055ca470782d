package relay

import (
	"fmt"
	"sync/atomic"
)

// A life is the life of one link: when it was read and written, what has become of its two directions, and how it fails. A session
// has two, a stream in a hub one. The session or the member decides what is relayed, and when it is over.
//
//   - read and noteRead are called by one goroutine, the reader; write and closeWrite by one at a time, the writer; everything else
//     by any.
//   - begin comes first. After shut every call returns soon, and fails.
//   - An error that read, write and closeWrite return is the link's own: nothing has been done about it. failed gives it a reason
//     and ends the owner.
//   - write returns what was written beside its error: that much is on its way to the peer.
type life struct {
	link     Link
	owner    lifeOwner
	clock    *clock
	classify func(error) Reason
	from, to traffic // from the peer, and to it

	readAt     mark         // the last byte that was read
	wroteAt    mark         // the last byte that was written
	frameSince mark         // reading on for an unfinished frame, counting what was spent on it before
	writeSince mark         // a write is pending, and accepted its last byte then
	inputEnded mark         // the peer ended its direction, and everything that came before was passed on
	wroteAll   mark         // the peer saw a clean end
	late       atomic.Int64 // bytes that came too late to be passed on
}

// A traffic is one direction of a life.
type traffic struct {
	direction Direction
	counts    *counters
}

// A lifeOwner is a session or a member of a hub.
type lifeOwner interface {
	over() bool
	// end sets how the owner ended, unless that is set, and shuts its links.
	end(reason Reason, err error, direction Direction)
}

func (l *life) begin(link Link, owner lifeOwner, clock *clock, classify func(error) Reason, from, to traffic) {
	l.link, l.owner, l.clock, l.classify, l.from, l.to = link, owner, clock, classify, from, to
	if l.classify == nil {
		l.classify = func(error) Reason { return IOError }
	}
}

// shutUnused ends the direction that use leaves out. An error will come again.
func (l *life) shutUnused(use Use) {
	switch use {
	case ReceiveOnly:
		_ = l.link.CloseWrite()
	case SendOnly:
		_ = l.link.CloseRead()
	}
}

// active returns when the last byte was read or written; 0: none was.
func (l *life) active() int64 { return max(l.readAt.Load(), l.wroteAt.Load()) }

// read reads once into the inbox of d, and notes how long it waited for an unfinished frame. What it read is not in the inbox before
// noteRead.
func (l *life) read(d *streamDecoder) (n int, err error) {
	// Most reads begin with an empty inbox; those leave out what only an unfinished frame needs.
	unfinished, before := d.inbox.len() > 0, int64(0)
	if waiting := int64(d.inbox.len()); waiting != l.from.counts.bytesWaiting.Load() {
		l.from.counts.bytesWaiting.Store(waiting)
	}
	if unfinished {
		before = l.clock.now()
		l.frameSince.Store(max(1, before-d.frameSpent))
	}
	n, err = l.link.Read(d.grab, d.release)
	after := l.clock.now()
	if n > 0 {
		l.readAt.Store(after)
		l.from.counts.bytesRead.Add(int64(n))
	}
	if !unfinished {
		d.frameSpent = 0
		return n, err
	}
	l.frameSince.clear()
	d.frameSpent += after - before
	return n, err
}

// noteRead puts what was read into the inbox.
func (d *streamDecoder) noteRead(n int) {
	d.inbox.took(n)
	d.crumbs.read(n)
}

// write writes all of p, and returns how much it wrote. The error is errOver where the owner is over, else the link's.
func (l *life) write(p []byte) (written int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	l.writeSince.Store(l.clock.now())
	defer l.writeSince.clear()
	defer l.to.counts.bytesUnwritten.Store(0)
	for written < len(p) {
		l.to.counts.bytesUnwritten.Store(int64(len(p) - written))
		if l.owner.over() {
			return written, errOver
		}
		n, err := l.link.Write(p[written:])
		if n > 0 {
			now := l.clock.now()
			l.writeSince.Store(now)
			l.wroteAt.Store(now)
			l.to.counts.bytesWritten.Add(int64(n))
			written += n
		}
		if err != nil && written < len(p) {
			return written, l.failed("write", err, l.to.direction)
		}
	}
	return written, nil
}

// closeWrite shows the peer a clean end.
func (l *life) closeWrite() error {
	if err := l.link.CloseWrite(); err != nil {
		return l.failed("end", err, l.to.direction)
	}
	l.wroteAll.Store(l.clock.now())
	return nil
}

// timedOut returns the timeout of the link that is due; "": none is.
func (l *life) timedOut(limits *Timeouts, d *deadline) (reason Reason, direction Direction) {
	switch {
	case d.due(limits.Frame, l.frameSince.Load()):
		return FrameTimeout, l.from.direction
	case d.due(limits.Write, l.writeSince.Load()):
		return WriteTimeout, l.to.direction
	default:
		return "", Neither
	}
}

// unread reports whether something has arrived that was not read.
func (l *life) unread() bool {
	n, err := l.link.Readable()
	return n > 0 || err != nil // with an error, the reader is about to see what it is
}

// lost returns the error that reading is bound to end with; nil if there is none, or it is not known.
func (l *life) lost() error {
	if link, ok := l.link.(loser); ok {
		return link.Lost()
	}
	return nil
}

// failed ends the owner for an error of the link, and returns errOver.
func (l *life) failed(operation string, err error, d Direction) error {
	l.owner.end(l.classify(err), fmt.Errorf("relay: %s: %s: %w", d, operation, err), d)
	return errOver
}

// shut closes the link. It is reset unless well says that the peer has seen, or needs, no other end than a plain one.
func (l *life) shut(well bool) {
	if well && l.late.Load() == 0 {
		_ = l.link.Close()
	} else {
		_ = l.link.Reset()
	}
}
