package datagram

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
	Max        int           // maximum number of flows at one time; 0: 1024
	Idle       time.Duration // a flow ends after this time without a datagram in either direction; 0: 60s
	Queue      int           // maximum number of unread datagrams for each flow; 0: 64
	QueueBytes int           // their maximum size; 0: 256 KiB. An empty queue accepts any datagram. Twice as much can be in memory
	// Refused, unless nil, is called with the peer of the first datagram that was refused because there were Max flows. It is
	// called again only after a flow was closed and the limit was reached again. It must not call methods of the Flows.
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

// Flows groups the datagrams from and to each peer address into a conversation, a Flow. UDP has no connections: a flow
// begins with a datagram from an address that has no flow, and ends when it has been idle.
//
//	ReadBatch --> Deliver --+--> Flow.Next    one for each peer address
//	                        +--> Accept       each Flow once
//	WriteBatch <---------------- Flow.Write
//
// A flow that is not read loses datagrams and does not block the others. Flows is safe for concurrent use.
type Flows struct {
	options FlowOptions
	write   func([]Datagram) error

	mu      sync.Mutex
	byPeer  map[netip.AddrPort]*Flow // flows that have not ended
	live    int                      // flows that count towards Max: all that were not closed, even if they have ended
	fresh   []*Flow                  // flows that were not accepted yet
	wake    chan struct{}            // closed when fresh or closed changes; nil when no Accept waits
	closed  bool
	refuses bool // a datagram was refused, and no flow was closed since
	refused uint64
	dropped atomic.Uint64
}

// NewFlows returns a table without flows. write sends answers: pass WriteBatch of the Conn whose datagrams are
// given to Deliver.
func NewFlows(write func([]Datagram) error, options FlowOptions) *Flows {
	return &Flows{options: options.withDefaults(), write: write, byPeer: map[netip.AddrPort]*Flow{}}
}

// SetLimits replaces Max and Idle of the options, for later flows. Unlike in FlowOptions, 0 does not mean the default.
func (f *Flows) SetLimits(most int, idle time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.options.Max, f.options.Idle = most, idle
}

// FlowStats are counts since NewFlows, except Live.
type FlowStats struct {
	Live    int    // flows that are not closed, accepted or not
	Refused uint64 // datagrams without a flow that arrived when there were Max flows
	Dropped uint64 // datagrams that arrived when the queue of their flow was full
}

// Stats returns the numbers as they are now.
func (f *Flows) Stats() FlowStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return FlowStats{Live: f.live, Refused: f.refused, Dropped: f.dropped.Load()}
}

// Deliver queues each of datagrams, as ReadBatch filled them in, in the flow of its Remote. If there is none, a flow begins
// with the datagram. Deliver copies the payloads and never waits. After Close, no flow begins.
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
				f.remove(flow) // the flow has just ended, and d begins another
				continue
			}
			if !queued {
				f.dropped.Add(1)
			}
			break
		}
	}
}

// flow returns the flow of d's Remote, which it makes if there is none. It returns nil if none may begin.
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
	flow.mu.Lock() // idle, which uses timer, may run before timer is set
	flow.timer = time.AfterFunc(flow.idleTime, flow.idle)
	flow.mu.Unlock()
	f.byPeer[d.Remote] = flow
	f.live++
	f.fresh = append(f.fresh, flow)
	f.announce()
	return flow
}

// announce wakes all calls of Accept. The caller holds mu.
func (f *Flows) announce() {
	if f.wake != nil {
		close(f.wake)
		f.wake = nil
	}
}

// Accept waits for a new flow and returns it. The caller must close the flow. The only error is net.ErrClosed, after Close.
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

// Close ends Accept and closes the flows that were not accepted. No further flow begins. Accepted flows go on until they
// are closed. Close does not close the Conn.
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

// remove removes flow from byPeer, so that the next datagram of its peer begins another flow.
func (f *Flows) remove(flow *Flow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byPeer[flow.peer] == flow {
		delete(f.byPeer, flow.peer)
	}
}

// release uncounts a flow, so that another may begin.
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
	local  netip.Addr // the address that the peer's last unicast datagram was sent to; zero if there was none
	queue  packets
	ended  bool // was idle for too long; queued datagrams can still be read
	closed bool

	reading packets // datagrams that Next moved here from queue

	writing sync.Mutex
	out     [1]Datagram
}

// packets is a queue of payloads that lie in memory one after another.
type packets struct {
	bytes []byte
	ends  []int // where in bytes each payload ends
	at    int   // how many payloads were removed
}

func (p *packets) empty() bool { return p.at == len(p.ends) }

// next removes the first payload and returns it. p must not be empty.
func (p *packets) next() []byte {
	from := 0
	if p.at > 0 {
		from = p.ends[p.at-1]
	}
	p.at++
	return p.bytes[from:p.ends[p.at-1]:p.ends[p.at-1]]
}

// reset removes all payloads. It keeps the memory for reuse unless it is large.
func (p *packets) reset() {
	const keep = 16 << 10
	if cap(p.bytes) > keep {
		p.bytes = nil
	}
	*p = packets{bytes: p.bytes[:0], ends: p.ends[:0]}
}

// Peer returns the peer's address.
func (w *Flow) Peer() netip.AddrPort { return w.peer }

// deliver queues d. It reports whether there was room, and whether w has ended.
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

// idle is called by the timer. It ends w if w was idle for idleTime; otherwise it restarts the timer.
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

// Next waits for a datagram and returns its payload, which is valid until the next call. The error is io.EOF if the flow was
// idle for too long and no datagram is left, and net.ErrClosed after Close.
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

// Write sends p as one datagram, from the address that the peer sent to. The error is net.ErrClosed if the flow or the
// Conn is closed, io.ErrClosedPipe if the flow was idle for too long, or the system's error.
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

// Close ends w and discards queued datagrams. w no longer counts towards Max, and the next datagram of the peer begins
// another flow. Further calls do nothing.
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
