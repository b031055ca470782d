package codecrpc

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
)

// A serverLane answers the calls of one lane. One goroutine at a time receives. When a call is complete, that goroutine
// lets another one receive and runs the call itself. So a slow call delays only its own session, receiving never waits
// for sending, and a call that travels alone is run by the goroutine that received it.
type serverLane struct {
	*server
	stream grpc.ServerStream
	kept   *keeper

	running sync.WaitGroup
	sending sync.Mutex // held for one part at a time, so that parts of different answers take turns

	receiving  sync.Mutex // held by the goroutine that receives; guards the next three fields
	assembling map[uint64]*served
	lastID     uint64
	ended      error // why receiving ended

	counting sync.Mutex
	waiting  int // goroutines that receive or wait to receive
}

// maxWaiting is the greatest number of goroutines that wait to receive. Each call that runs has one more goroutine.
const maxWaiting = 4

func (l *serverLane) serve() error {
	l.waiting = 1
	l.running.Go(l.work)
	l.running.Wait()
	if errors.Is(l.ended, io.EOF) {
		return nil
	}
	return l.ended
}

// work receives a call, makes sure that another goroutine receives, answers the call, and starts again.
func (l *serverLane) work() {
	for {
		l.receiving.Lock()
		call := l.receive()
		l.receiving.Unlock()
		if call == nil {
			return
		}
		if l.leave() {
			l.running.Go(l.work)
		}
		l.answer(call)
		call.release()
		if !l.join() {
			return
		}
	}
}

// leave removes the caller from the goroutines that wait to receive. If the caller was the last, leave reports true instead,
// and the caller must start another.
func (l *serverLane) leave() bool {
	l.counting.Lock()
	defer l.counting.Unlock()
	if l.waiting == 1 {
		return true
	}
	l.waiting--
	return false
}

// join adds the caller to the goroutines that wait to receive, or reports false if there are enough.
func (l *serverLane) join() bool {
	l.counting.Lock()
	defer l.counting.Unlock()
	if l.waiting == maxWaiting {
		return false
	}
	l.waiting++
	return true
}

// receive returns the next complete call, or nil when the lane has ended.
func (l *serverLane) receive() *served {
	for l.ended == nil {
		var m incoming
		if l.ended = l.stream.RecvMsg(&m); l.ended != nil {
			break
		}
		call, err := l.receiveMessage(&m)
		m.free()
		if err != nil {
			l.ended = fmt.Errorf("call: %w", err)
		} else if call != nil {
			return call
		}
	}
	clear(l.assembling)
	return nil
}

// receiveMessage adds a message to its call, and returns the call if it is complete. It may keep the message, and then
// sets *m to an empty one. An error is a mistake of the host, and ends the lane.
func (l *serverLane) receiveMessage(m *incoming) (*served, error) {
	var p part
	if err := p.parse(m.bytes()); err != nil {
		return nil, err
	}
	call := l.assembling[p.id]
	if (call == nil) != p.hasHead {
		return nil, fmt.Errorf("%w: the first part of call %d, and no other, has a head", errMalformed, p.id)
	}
	if call == nil {
		if p.id <= l.lastID {
			return nil, fmt.Errorf("%w: the number of call %d is not greater than those before", errMalformed, p.id)
		}
		l.lastID = p.id
		call = servedPool.Get().(*served)
		if err := call.begin(l, &p); err != nil {
			return nil, err
		}
	}
	if err := call.addPart(&p, m); err != nil {
		return nil, err
	}
	if !call.complete() {
		l.assembling[p.id] = call
		return nil, nil
	}
	delete(l.assembling, p.id)
	return call, nil
}

// answer runs the call and sends its answer. If sending fails, the lane ends, and receiving fails too.
func (l *serverLane) answer(call *served) {
	call.run(l)
	for last := false; !last; {
		l.sending.Lock()
		var message *outgoing
		message, last = call.nextPart()
		err := l.stream.SendMsg(message)
		l.sending.Unlock()
		if err != nil {
			return
		}
	}
}
