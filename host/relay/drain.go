package relay

import "time"

const (
	// quietTime is how long nothing must have come before a drain ends a session that rests.
	quietTime = time.Second
	// restTime is how long a drain waits before it looks again at a session that was quiet and did not rest.
	restTime = quietTime / 4
	// lingerTime is how long a session that ended well waits for its peers to end too, so that what was written last
	// arrives: closing a connection that has unread bytes can destroy what is still on its way to the peer.
	lingerTime = 2 * time.Second
	// cutTime is how long a session that is cut may take to write the frames that were read whole.
	cutTime = time.Second
)

// A halt says why a flow passes on nothing that is read from now on.
type halt uint8

const (
	going      halt = iota
	haltedWell      // the session rested, and ends well
	haltedCut       // the session is cut
)

// Drain asks the session to end when it rests; see the package comment. It does not wait, and may be called before Run.
func (s *Session) Drain() {
	if !s.draining.Swap(true) {
		s.clock.wake()
	}
}

// Cut ends the session soon: what was read as whole frames is written, for at most a second, and then both peers are
// reset. A session that has ended well keeps that end. It does not wait, and may be called before Run.
func (s *Session) Cut() {
	if s.cutSince.CompareAndSwap(0, s.clock.now()) {
		for _, f := range s.flows {
			f.cut()
		}
		s.clock.wake()
	}
}

// lookAtDrain is the clock's look at a session that is to end.
func (s *Session) lookAtDrain(d *deadline) {
	cutAt, restedAt := s.cutSince.Load(), s.restedSince.Load()
	switch quiet := (deadline{now: d.now}); {
	case cutAt != 0 && d.due(cutTime, cutAt), restedAt != 0 && d.due(lingerTime, restedAt):
		s.endDrain()
	case cutAt != 0 || s.rests.Load() || !s.draining.Load() || s.over.Load():
	case !quiet.due(quietTime, s.quietSince()):
		d.again(quiet.wait)
	case !s.endIfRests():
		d.again(restTime)
	}
}

// quietSince returns when something came last that was to be passed on.
func (s *Session) quietSince() int64 {
	since := int64(1)
	for _, f := range s.flows {
		if f.relayed() {
			since = max(since, f.active.Load())
		}
	}
	return since
}

// endIfRests begins the clean end of a session that rests, and reports whether it did. From then on nothing that comes is
// passed on. What comes after the links were asked, and before their peers have seen the end, is late.
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
		return true // that is its own end
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

// endDrain ends the session now: well, if both peers have seen a clean end.
func (s *Session) endDrain() {
	if s.restedSince.Load() != 0 {
		s.end(Drained, nil, Neither)
		return
	}
	s.end(DrainTimeout, nil, Neither)
}

// finished is called by each flow once it wrote its last.
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

// rests reports whether the flow stands between two frames, with nothing under way: it has ended, or its reader waits for
// bytes and none are there. The caller holds f.mu.
func (f *flow) rests() bool {
	switch {
	case f.done || f.endedItself() || !f.relayed():
		return true
	case !f.parked || f.inbox.len() > 0 || f.discard > 0 || len(f.turn) == 0:
		return false
	}
	n, err := f.from.Link.Readable()
	return n == 0 && err == nil // with an error, the reader is about to see what it is
}

// endedItself reports whether the sender has ended, and everything was passed on.
func (f *flow) endedItself() bool { return f.ended.Load() != 0 || f.absent() }

// park notes that the reader waits for bytes from now on, unless the flow was halted.
func (f *flow) park() halt {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parked = f.halted == going
	return f.halted
}

// unpark returns whether what the reader got, n bytes, is still passed on.
func (f *flow) unpark(n int) halt {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parked = false
	if f.halted != going && f.relayed() {
		f.late.Add(int64(n))
	}
	return f.halted
}

// finishRested shows the receiver a clean end, unless something came meanwhile that it does not get.
func (f *flow) finishRested() {
	defer close(f.closed)
	if f.relayed() {
		if err := f.end(); err != nil {
			return
		}
	}
	f.session.finished()
}

// cut makes the flow stop reading. What was read is still written.
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

// finishCut waits for what is being written.
func (f *flow) finishCut() {
	f.wait()
	close(f.closed)
	f.session.finished()
}

// stop is the reader's end after the flow was halted: n bytes came too late, if any, and err.
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
		return errOver
	}
	<-f.closed
	return f.linger(n, err)
}

// linger reads what comes after a clean end, until the sender ends too. What the receiver was to get ends the session.
func (f *flow) linger(n int, err error) error {
	for {
		if n > 0 && f.relayed() {
			return f.fail(Drained, nil)
		}
		f.counts.bytesDiscarded.Add(int64(n))
		if err != nil || f.session.over.Load() {
			return nil //nolint:nilerr // both streams have ended well before
		}
		n, err = f.from.Link.Read(f.grab, f.release)
		f.inbox.took(n)
		f.inbox.drop()
		f.counts.bytesRead.Add(int64(n))
		f.unpark(n)
	}
}
