package relay

import (
	"fmt"
	"sync/atomic"
	"time"
)

// A life keeps the state of one link: when it was last read and written, which of its directions have ended, and how it fails. A
// session has two lives; a stream in a hub has one. The session or the member decides what is relayed, and when it is over.
//
//   - One goroutine, the reader, calls read and noteRead. One goroutine at a time, the writer, calls write and closeWrite. Any
//     goroutine may call the other methods.
//   - begin is called first. After shut, every call returns soon, with an error.
//   - read returns the link's own error. The reader passes it to failed, which gives it a reason and ends the owner. write and
//     closeWrite call failed themselves and return errOver.
//   - write returns the number of bytes written even with an error: these bytes are on their way to the peer.
type life struct {
	link     Link
	owner    lifeOwner
	clock    *clock
	classify func(error) Reason
	from, to traffic // from the peer, and to it

	readAt     mark         // when the last byte was read
	wroteAt    mark         // when the last byte was written
	frameSince mark         // when reading for the unfinished frame began, moved back by the time spent in earlier reads for it
	writeSince mark         // when the pending write began, or last accepted a byte
	inputEnded mark         // when the peer had ended its direction and all bytes before the end were passed on
	wroteAll   mark         // when the peer saw a clean end
	late       atomic.Int64 // bytes that arrived too late to be passed on
}

// A traffic is one direction of a life.
type traffic struct {
	direction Direction
	counts    *counters
}

// A lifeOwner is a session or a member of a hub.
type lifeOwner interface {
	over() bool
	// end sets the outcome of the owner, unless it is set already, and shuts its links.
	end(reason Reason, err error, direction Direction)
}

func (l *life) begin(link Link, owner lifeOwner, clock *clock, classify func(error) Reason, from, to traffic) {
	l.link, l.owner, l.clock, l.classify, l.from, l.to = link, owner, clock, classify, from, to
	if l.classify == nil {
		l.classify = func(error) Reason { return IOError }
	}
}

// openAccount opens an account for the bytes that are read from the peer, whose address is given without a port. active returns when
// these bytes, or what was made of them, last moved. openAccount returns nil if m is nil.
func (l *life) openAccount(m *Memory, address string, active func() int64) *memoryAccount {
	a := m.open(address, directionMemory)
	if a != nil {
		a.progress = func() (time.Time, int64) {
			return l.clock.origin.Add(time.Duration(active())), l.from.counts.bytesRead.Load() + l.from.counts.bytesWritten.Load()
		}
		a.end = func(err error) { l.owner.end(MemoryShort, err, l.from.direction) }
	}
	return a
}

// shutUnused ends the direction of the link that use excludes. It ignores errors: a broken link fails again later.
func (l *life) shutUnused(use Use) {
	switch use {
	case ReceiveOnly:
		_ = l.link.CloseWrite()
	case SendOnly:
		_ = l.link.CloseRead()
	}
}

// active returns when the last byte was read or written; 0: no byte yet.
func (l *life) active() int64 { return max(l.readAt.Load(), l.wroteAt.Load()) }

// read reads once into the inbox of d, and notes how long it waited for an unfinished frame. The bytes are in the inbox only after
// noteRead.
func (l *life) read(d *streamDecoder) (n int, err error) {
	// Most reads begin with an empty inbox. They skip the work that only an unfinished frame needs.
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

// noteRead adds the n bytes that were read to the inbox.
func (d *streamDecoder) noteRead(n int) {
	d.inbox.took(n)
	d.fragments.read(n)
}

// write writes all of p, and returns the number of bytes written. If the link fails, write ends the owner. The error is always
// errOver.
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

// closeWrite ends our direction, so that the peer sees a clean end. If the link fails, closeWrite ends the owner and returns errOver.
func (l *life) closeWrite() error {
	if err := l.link.CloseWrite(); err != nil {
		return l.failed("end", err, l.to.direction)
	}
	l.wroteAll.Store(l.clock.now())
	return nil
}

// timedOut returns the reason and direction of a timeout of the link that is due; "": no timeout is due. sends says whether the owner
// may still send to the peer, and active when bytes for the peer last moved.
func (l *life) timedOut(limits *Timeouts, d *deadline, sends bool, active int64) (reason Reason, direction Direction) {
	halfClosed := l.inputEnded.Load()
	switch {
	case !sends:
		halfClosed = 0
	case halfClosed != 0:
		halfClosed = max(halfClosed, active)
	}
	switch {
	case d.due(limits.Frame, l.frameSince.Load()):
		return FrameTimeout, l.from.direction
	case d.due(limits.Write, l.writeSince.Load()):
		return WriteTimeout, l.to.direction
	case d.due(limits.HalfClose, halfClosed):
		return HalfCloseTimeout, l.to.direction
	default:
		return "", Neither
	}
}

// unread reports whether bytes have arrived that were not read.
func (l *life) unread() bool {
	n, err := l.link.Readable()
	return n > 0 || err != nil // after an error, the reader is about to get one too
}

// lost returns the error with which reading is certain to end; nil if there is none or if it is unknown.
func (l *life) lost() error {
	if link, ok := l.link.(lostReporter); ok {
		return link.Lost()
	}
	return nil
}

// failed ends the owner because of an error of the link, and returns errOver.
func (l *life) failed(operation string, err error, d Direction) error {
	l.owner.end(l.classify(err), fmt.Errorf("relay: %s: %s: %w", d, operation, err), d)
	return errOver
}

// shut closes the link if well is true and no bytes arrived late. Otherwise it resets the link. well says that the peer has seen a
// clean end, or expects none.
func (l *life) shut(well bool) {
	if well && l.late.Load() == 0 {
		_ = l.link.Close()
	} else {
		_ = l.link.Reset()
	}
}
