package relay

import "time"

const (
	// quietTime is how long a session must have received no byte before a drain ends it.
	quietTime = time.Second
	// restTime is the time after which a drain checks again a session that was quiet and did not rest.
	restTime = quietTime / 4
	// lingerTime is how long a session that ended cleanly waits for its peers to end too, so that the last bytes arrive:
	// closing a connection that has unread bytes can destroy bytes on their way to the peer.
	lingerTime = 2 * time.Second
	// cutTime is how long a session that is cut may take to write whole frames that were read.
	cutTime = time.Second
)

// A halt says whether a flow passes on the bytes that it reads from now on, and if not, why.
type halt uint8

const (
	going      halt = iota
	haltedWell      // the session rested, and ends cleanly
	haltedCut       // the session is cut
)

// Drain asks the session to end when it rests; see the package comment. Drain does not wait, and may be called before Run.
func (s *Session) Drain() {
	if !s.draining.Swap(true) {
		s.clock.wake()
	}
}

// Cut ends the session soon: the session writes whole frames that were read, for at most one second, and then resets both peers.
// If both peers have seen a clean end by then, they are not reset. Cut does not wait, and may be called before Run.
func (s *Session) Cut() {
	if s.cutSince.CompareAndSwap(0, s.clock.now()) {
		for _, f := range s.flows {
			f.cut()
		}
		s.clock.wake()
	}
}

// checkDrain advances a drain or a cut that is under way. The clock calls it.
func (s *Session) checkDrain(d *deadline) {
	cutAt, restedAt := s.cutSince.Load(), s.restedSince.Load()
	switch quiet := (deadline{now: d.now}); {
	case cutAt != 0 && d.due(cutTime, cutAt), restedAt != 0 && d.due(lingerTime, restedAt):
		s.endDrain()
	case cutAt != 0 || s.rests.Load() || !s.draining.Load() || s.over():
	case !quiet.due(quietTime, s.quietSince()):
		d.again(quiet.wait)
	case !s.endIfRests():
		d.again(restTime)
	}
}

// quietSince returns the time of the last byte that was read or written in a direction that is relayed.
func (s *Session) quietSince() int64 {
	since := int64(1)
	for _, f := range s.flows {
		if f.relayed() {
			since = max(since, f.active())
		}
	}
	return since
}

// endIfRests begins the clean end of a session that rests, and reports whether it did. It also returns true if both peers have
// ended, since the session then ends without it. Bytes that are read after that are not passed on: they count as late.
func (s *Session) endIfRests() bool {
	for _, f := range s.flows {
		f.mu.Lock()
		defer f.mu.Unlock()
	}
	for _, f := range s.flows {
		if !f.rests() {
			return false
		}
	}
	if s.flows[0].endedItself() && s.flows[1].endedItself() {
		return true // the session ends by itself
	}
	s.rests.Store(true)
	for _, f := range s.flows {
		f.halted = haltedWell
		if !f.done && !f.endedItself() {
			f.done = true
			go f.finishRested()
		}
	}
	return true
}

// endDrain ends the session now: as Drained if both peers have seen a clean end, and otherwise as DrainTimeout.
func (s *Session) endDrain() {
	if s.restedSince.Load() != 0 {
		s.end(Drained, nil, Neither)
		return
	}
	s.end(DrainTimeout, nil, Neither)
}

// finished notes that a flow has finished. Each flow calls it after its last write.
func (s *Session) finished() {
	if s.undone.Add(-1) > 0 {
		return
	}
	switch {
	case s.rests.Load():
		s.restedSince.Store(s.clock.now())
		if s.cutSince.Load() != 0 {
			s.endDrain()
			return
		}
		s.clock.wake()
	case s.cutSince.Load() != 0 && (!s.flows[0].endedItself() || !s.flows[1].endedItself()):
		s.endDrain()
	}
}

// rests reports whether the flow is between two frames with no work under way: it has ended, or its reader waits for bytes and
// none have arrived. The caller holds f.mu.
func (f *flow) rests() bool {
	switch {
	case f.done || f.endedItself() || !f.relayed():
		return true
	case !f.parked || f.inbox.len() > 0 || f.decoder.Dropping() || len(f.turn) == 0:
		return false
	}
	return !f.from.unread()
}

// endedItself reports whether the sender has ended its direction, and everything that it sent was passed on.
func (f *flow) endedItself() bool { return f.from.inputEnded.Load() != 0 || f.absent() }

// park notes that the reader waits for bytes from now on, unless the flow is halted. It returns the halt.
func (f *flow) park() halt {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parked = f.halted == going
	return f.halted
}

// unpark notes that the reader got n bytes. It returns the halt: unless it is going, the bytes are not passed on, and count as
// late.
func (f *flow) unpark(n int) halt {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parked = false
	if f.halted != going && f.relayed() {
		f.from.late.Add(int64(n))
	}
	return f.halted
}

// finishRested ends the receiver's stream cleanly, unless bytes have arrived meanwhile that are not passed on.
func (f *flow) finishRested() {
	defer close(f.closed)
	if f.relayed() {
		if err := f.end(); err != nil {
			return
		}
	}
	f.session.finished()
}

// cut makes the flow stop reading. Whole frames that were read are still written.
func (f *flow) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.halted == going {
		f.halted = haltedCut
	}
	if f.parked && !f.done {
		f.done = true
		go f.finishCut()
	}
}

// finishCut waits until the write under way is done, and finishes the flow.
func (f *flow) finishCut() {
	f.wait()
	close(f.closed)
	f.session.finished()
}

// stop ends the reader after the flow was halted. n is the number of bytes that arrived too late, and err is the link's error.
func (f *flow) stop(n int, how halt, err error) error {
	f.mu.Lock()
	mine := !f.done && how == haltedCut
	f.done = true
	f.mu.Unlock()
	if mine {
		f.finishCut()
	}
	if how == haltedCut {
		<-f.session.ctx.Done()
		<-f.closed // finishCut takes the turn, which run is about to keep
		return errOver
	}
	<-f.closed
	return f.linger(n, err)
}

// linger reads after a clean end until the sender ends too. If a byte arrives that would have been relayed, linger ends the
// session.
func (f *flow) linger(n int, err error) error {
	for {
		if n > 0 && f.relayed() {
			return f.fail(Drained, nil)
		}
		f.counts.bytesDiscarded.Add(int64(n))
		if err != nil || f.session.over() {
			return nil //nolint:nilerr // both streams have ended cleanly before
		}
		n, err = f.from.link.Read(f.grab, f.release)
		f.inbox.took(n)
		f.inbox.drop()
		f.counts.bytesRead.Add(int64(n))
		f.unpark(n)
	}
}
