package endpoint

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// FlowOptions are ready as their zero value.
type FlowOptions struct {
	Max        int           // flows at one time; 0: 1024
	Idle       time.Duration // a flow ends when nothing passed for so long, either way; 0: 60s
	Queue      int           // datagrams that wait to be read, for each flow; 0: 64
	QueueBytes int           // their bytes; 0: 256 KiB. One datagram is always taken. Twice as many can be in memory
	// Refused, unless nil, is told of the first datagram that was refused for want of a free flow, and again after one
	// was free. It may call nothing of the Flows.
	Refused func(peer netip.AddrPort)
}

func (o FlowOptions) withDefaults() FlowOptions {
	set := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	set(&o.Max, 1024)
	set(&o.Queue, 64)
	set(&o.QueueBytes, 256<<10)
	if o.Idle == 0 {
		o.Idle = 60 * time.Second
	}
	return o
}

// Flows make a conversation of the datagrams that come from one address and those that go back there. UDP has no
// connections: a flow begins with a datagram from an address that has none, and ends when it was idle.
//
//	ReadBatch --> Deliver --+--> Flow.Next    one for each peer address
//	                        +--> Accept       each Flow once
//	WriteBatch <---------------- Flow.Write
//
// A flow that is not read from loses datagrams and holds up no other one. It is safe for concurrent use.
type Flows struct {
	options FlowOptions
	write   func([]Datagram) error

	mu      sync.Mutex
	byPeer  map[netip.AddrPort]*Flow // those that did not end
	live    int                      // flows that hold a place: those, and those that ended and were not closed
	fresh   []*Flow                  // not accepted yet
	wake    chan struct{}            // closed when fresh, or closed, changes; nil when nobody waits
	closed  bool
	refuses bool
	refused uint64
	dropped atomic.Uint64
}

// NewFlows returns an empty table. write sends answers; it is WriteBatch of the DatagramConn whose datagrams are
// delivered.
func NewFlows(write func([]Datagram) error, options FlowOptions) *Flows {
	return &Flows{options: options.withDefaults(), write: write, byPeer: map[netip.AddrPort]*Flow{}}
}

// SetLimits replaces Max and Idle of the options, for flows to come.
func (f *Flows) SetLimits(most int, idle time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.options.Max, f.options.Idle = most, idle
}

// FlowStats count since the table was made, except Live.
type FlowStats struct {
	Live    int    // flows that were not closed yet, or not accepted
	Refused uint64 // datagrams that would have begun a flow when there were Max
	Dropped uint64 // datagrams that found the queue of their flow full
}

// Stats returns the numbers as they are now.
func (f *Flows) Stats() FlowStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return FlowStats{Live: f.live, Refused: f.refused, Dropped: f.dropped.Load()}
}

// Deliver hands each of datagrams, as ReadBatch filled them in, to the flow of its Remote, which begins with it if there
// is none. It copies what it keeps and never waits. After Close no flow begins.
func (f *Flows) Deliver(datagrams []Datagram) {
	now := time.Now()
	for i := range datagrams {
		d := &datagrams[i]
		for {
			flow := f.flow(d)
			if flow == nil {
				break
			}
			queued, ended := flow.deliver(d, now)
			if ended {
				f.remove(flow) // it ended this moment, and d begins another
				continue
			}
			if !queued {
				f.dropped.Add(1)
			}
			break
		}
	}
}

// flow returns the flow of d, or nil if there is none and can be none.
func (f *Flows) flow(d *Datagram) *Flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	if flow := f.byPeer[d.Remote]; flow != nil {
		return flow
	}
	if f.closed {
		return nil
	}
	if f.live >= f.options.Max {
		f.refused++
		if !f.refuses && f.options.Refused != nil {
			f.options.Refused(d.Remote)
		}
		f.refuses = true
		return nil
	}
	flow := &Flow{flows: f, peer: d.Remote, idleTime: f.options.Idle, used: time.Now(), news: make(chan struct{}, 1)}
	flow.mu.Lock() // idle may run at once
	flow.timer = time.AfterFunc(flow.idleTime, flow.idle)
	flow.mu.Unlock()
	f.byPeer[d.Remote] = flow
	f.live++
	f.fresh = append(f.fresh, flow)
	f.announce()
	return flow
}

// announce wakes those in Accept. The caller holds mu.
func (f *Flows) announce() {
	if f.wake != nil {
		close(f.wake)
		f.wake = nil
	}
}

// Accept waits for a flow that began, and returns it. Whoever gets it must close it. The only error is net.ErrClosed,
// after Close.
func (f *Flows) Accept() (*Flow, error) {
	for {
		f.mu.Lock()
		if f.closed {
			f.mu.Unlock()
			return nil, net.ErrClosed
		}
		if len(f.fresh) > 0 {
			flow := f.fresh[0]
			f.fresh[0] = nil
			f.fresh = f.fresh[1:]
			f.mu.Unlock()
			return flow, nil
		}
		if f.wake == nil {
			f.wake = make(chan struct{})
		}
		wake := f.wake
		f.mu.Unlock()
		<-wake
	}
}

// Close ends Accept, and the flows that were not accepted; no others begin. Those that were accepted go on until they are
// closed. It does not close the DatagramConn.
func (f *Flows) Close() {
	f.mu.Lock()
	f.closed = true
	fresh := f.fresh
	f.fresh = nil
	f.announce()
	f.mu.Unlock()
	for _, flow := range fresh {
		_ = flow.Close()
	}
}

// remove takes flow out of the table, so that the next datagram of its peer begins another.
func (f *Flows) remove(flow *Flow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byPeer[flow.peer] == flow {
		delete(f.byPeer, flow.peer)
	}
}

// release gives the place of flow free.
func (f *Flows) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live--
	f.refuses = false
}

// A Flow is the datagrams from and to one peer. One goroutine may read while others write.
type Flow struct {
	flows    *Flows
	peer     netip.AddrPort
	idleTime time.Duration
	timer    *time.Timer
	news     chan struct{} // a datagram was queued, or the flow ended

	mu     sync.Mutex
	used   time.Time
	local  netip.Addr // that the peer sends to; zero if that was no address of one machine
	queue  packets
	ended  bool // idle: what is queued can be read
	closed bool

	reading packets // what the reader took from queue

	writing sync.Mutex
	out     [1]Datagram
}

// packets are datagrams one after the other.
type packets struct {
	bytes []byte
	ends  []int
	at    int // of those were taken
}

func (p *packets) empty() bool { return p.at == len(p.ends) }

// next takes one; there must be one.
func (p *packets) next() []byte {
	from := 0
	if p.at > 0 {
		from = p.ends[p.at-1]
	}
	p.at++
	return p.bytes[from:p.ends[p.at-1]:p.ends[p.at-1]]
}

// reset forgets the datagrams, and also the memory if there is much of it.
func (p *packets) reset() {
	const keep = 16 << 10
	if cap(p.bytes) > keep {
		p.bytes = nil
	}
	*p = packets{bytes: p.bytes[:0], ends: p.ends[:0]}
}

// Peer returns the address of the other side.
func (w *Flow) Peer() netip.AddrPort { return w.peer }

// deliver queues d and reports whether there was room, or whether w has ended.
func (w *Flow) deliver(d *Datagram, now time.Time) (queued, ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || w.closed {
		return false, true
	}
	w.used = now
	if d.Cast == Unicast {
		w.local = d.Local
	}
	queue := &w.queue
	options := &w.flows.options
	if len(queue.ends) >= options.Queue || len(queue.ends) > 0 && len(queue.bytes)+len(d.Payload) > options.QueueBytes {
		return false, false
	}
	queue.bytes = append(queue.bytes, d.Payload...)
	queue.ends = append(queue.ends, len(queue.bytes))
	w.wake()
	return true, false
}

func (w *Flow) wake() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// idle ends w if nothing passed for long enough, or looks again later.
func (w *Flow) idle() {
	w.mu.Lock()
	if w.ended || w.closed {
		w.mu.Unlock()
		return
	}
	if left := w.idleTime - time.Since(w.used); left > 0 {
		w.timer.Reset(left)
		w.mu.Unlock()
		return
	}
	w.ended = true
	w.wake()
	w.mu.Unlock()
	w.flows.remove(w)
}

// Next waits for a datagram and returns its payload, which is valid until Next is called again. The error is io.EOF when
// the flow was idle for too long and nothing is left, and net.ErrClosed after Close.
func (w *Flow) Next() (payload []byte, err error) {
	for {
		w.mu.Lock()
		switch {
		case w.closed:
			w.mu.Unlock()
			return nil, net.ErrClosed
		case !w.reading.empty():
			w.mu.Unlock()
			return w.reading.next(), nil
		case !w.queue.empty():
			w.reading.reset()
			w.queue, w.reading = w.reading, w.queue
			w.mu.Unlock()
			return w.reading.next(), nil
		case w.ended:
			w.mu.Unlock()
			return nil, io.EOF
		}
		w.mu.Unlock()
		<-w.news
	}
}

// Write sends p as one datagram, from the address that the peer sent to. The error is net.ErrClosed when the flow or the
// DatagramConn was closed, io.ErrClosedPipe when the flow was idle for too long, or why the system did not take it.
func (w *Flow) Write(p []byte) (n int, err error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.mu.Lock()
	switch {
	case w.closed:
		w.mu.Unlock()
		return 0, net.ErrClosed
	case w.ended:
		w.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	w.used = time.Now()
	w.out[0] = Datagram{Payload: p, Remote: w.peer, Local: w.local}
	w.mu.Unlock()
	err = w.flows.write(w.out[:])
	if err == nil {
		err = w.out[0].Err
	}
	w.out[0] = Datagram{}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends w and gives its place to another. What is queued is gone. To do it again does nothing. The next datagram of
// the peer begins another flow.
func (w *Flow) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	w.queue = packets{}
	w.timer.Stop()
	w.wake()
	w.mu.Unlock()
	w.flows.remove(w)
	w.flows.release()
	return nil
}
