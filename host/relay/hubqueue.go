package relay

import (
	"math"
	"slices"
	"sync"
)

// QueuePolicy says what happens to frames for a receiver of a hub whose queue is full.
type QueuePolicy string

// DropOldest is the zero value's meaning too.
const (
	DropOldest QueuePolicy = "drop_oldest" // the frames that wait longest give way
	DropNewest QueuePolicy = "drop_newest" // the new ones are dropped
	Disconnect QueuePolicy = "disconnect"  // the receiver is reset, with the reason SlowReceiver
	Block      QueuePolicy = "block"       // the sender waits, and with it every receiver of what it sends
)

// A Queue bounds the frames that wait for a receiver of a hub. One frame always finds room in an empty queue, however
// long it is. What its writer has taken (up to 64 KiB or one frame) is not in the queue.
type Queue struct {
	Frames int // 0: 1024
	Bytes  int // of wire; 0: 1 MiB
	Policy QueuePolicy
}

// The defaults of a Queue.
const (
	DefaultQueueFrames = 1024
	DefaultQueueBytes  = 1 << 20
)

func (q Queue) withDefaults() Queue {
	if q.Frames == 0 {
		q.Frames = DefaultQueueFrames
	}
	if q.Bytes == 0 {
		q.Bytes = DefaultQueueBytes
	}
	if q.Policy == "" {
		q.Policy = DropOldest
	}
	return q
}

// oneWrite is how many bytes a receiver's writer takes from its queue at once, but for one longer frame.
const oneWrite = 64 << 10

// A queue has the frames that wait for one receiver. Many senders push; one writer takes.
type queue struct {
	limit  Queue
	counts *hubCounters

	mu          sync.Mutex
	filled      sync.Cond         // the writer waits for frames
	senders     []chan<- struct{} // of senders that wait for room; each gets a token when the writer takes frames
	list        []frameRange
	head        int // of list
	frames      int // in list
	bytes       int
	hand        []frameRange // frames for a writer that waited; they do not count against the limits
	idle        bool         // the writer waits
	sealed      bool         // takes no more frames
	undelivered bool         // lost frames count as not delivered, since a drain did not finish in time

	// Of an outbox.
	lasts    bool // frames that a connection did not write are written to the next one
	detached bool // there is no connection
	broken   bool // the frames left by its last connection are dropped, since its stream would have a gap
	grace    grace
}

func (q *queue) begin(limit Queue, counts *hubCounters) {
	q.limit, q.counts = limit.withDefaults(), counts
	q.filled.L = &q.mu
}

// fill holds as much of s as there is room for, and returns the rest. If there is a rest, room gets a token when the writer
// takes frames, unless it has one already.
func (q *queue) fill(s frameRange, room chan<- struct{}) (rest frameRange) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if rest = q.fit(s); rest.len() > 0 && !slices.Contains(q.senders, room) {
		q.senders = append(q.senders, room)
	}
	return rest
}

// fit holds as much of s as there is room for, and returns the rest. A sealed queue takes nothing and returns no rest.
func (q *queue) fit(s frameRange) (rest frameRange) {
	if q.sealed {
		return frameRange{}
	}
	if q.frames == 0 && len(q.hand) == 0 {
		q.grace.behind = false
	}
	// A waiting writer gets its part at once, so that a batch does not overflow the queue of a receiver that is ready for it.
	if q.idle && len(q.hand) == 0 && !q.detached {
		part := s.first(max(1, s.fitting(oneWrite, math.MaxInt)))
		part.hold()
		q.hand = append(q.hand, part)
		s.from = part.to
		q.filled.Signal()
	}
	n := s.fitting(q.limit.Bytes-q.bytes, q.limit.Frames-q.frames)
	if n == 0 && q.frames == 0 {
		n = min(1, s.len())
	}
	q.append(s.first(n))
	s.from += n
	return s
}

// push holds as much of s as there is room for, after the policy has made room. It returns the frames that are lost because the
// receiver is to be disconnected, if any.
func (q *queue) push(s frameRange) (refused frameRange) {
	q.mu.Lock()
	defer q.mu.Unlock()
	rest := q.fit(s)
	switch q.limit.Policy {
	case DropOldest:
		q.append(rest)
		q.trim()
	case Disconnect:
		for ; q.detached && rest.len() > 0; rest = q.fit(rest) {
			q.dropAll()
		}
		q.lost(rest)
		return rest
	default:
		q.lost(rest)
	}
	return frameRange{}
}

func (q *queue) append(s frameRange) {
	if s.len() == 0 {
		return
	}
	if q.head > 0 && len(q.list) == cap(q.list) {
		kept := copy(q.list, q.list[q.head:])
		clear(q.list[kept:])
		q.list, q.head = q.list[:kept], 0
	}
	s.hold()
	q.list = append(q.list, s)
	q.frames += s.len()
	q.bytes += s.size()
	q.filled.Signal()
}

// trim drops the oldest frames beyond the limits, but not the last.
func (q *queue) trim() {
	for q.frames > 1 && (q.frames > q.limit.Frames || q.bytes > q.limit.Bytes) {
		front := q.list[q.head]
		n := front.freeing(q.bytes-q.limit.Bytes, q.frames-q.limit.Frames)
		q.lost(front.first(min(n, q.frames-1)))
		q.remove(min(n, q.frames-1)).letGo()
	}
}

// drop counts s as lost.
func (q *queue) drop(s frameRange) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lost(s)
}

func (q *queue) lost(s frameRange) {
	if s.len() > 0 {
		q.counts.droppedFrames.Add(int64(s.len()))
		q.counts.droppedBytes.Add(int64(s.size()))
		if q.undelivered {
			q.counts.framesNotDelivered.Add(int64(s.len()))
			q.counts.bytesNotDelivered.Add(int64(s.size()))
		}
	}
}

// remove takes n frames of the first segment away. The caller holds what it returns.
func (q *queue) remove(n int) frameRange {
	front := &q.list[q.head]
	s := front.first(n)
	q.frames -= n
	q.bytes -= s.size()
	if n < front.len() {
		front.from += n
		s.hold()
		return s
	}
	*front = frameRange{}
	if q.head++; q.head == len(q.list) {
		q.list, q.head = q.list[:0], 0
	}
	return s
}

// dequeue waits for frames and appends to into what makes one write. The caller holds what it returns: nothing when the
// queue was closed or detached, or sealed and is empty.
func (q *queue) dequeue(into []frameRange) []frameRange {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.idle = true; len(q.hand) == 0 && q.frames == 0 && !q.sealed && !q.detached; {
		q.filled.Wait()
	}
	q.idle = false
	if q.detached {
		return into
	}
	into = append(into, q.hand...)
	clear(q.hand)
	q.hand = q.hand[:0]
	size := 0
	for _, s := range into {
		size += s.size()
	}
	for q.frames > 0 {
		front := q.list[q.head]
		n := front.fitting(oneWrite-size, math.MaxInt)
		if n == 0 && len(into) > 0 {
			break
		}
		s := q.remove(max(1, n))
		size += s.size()
		into = append(into, s)
	}
	q.wake()
	return into
}

// wake wakes the senders that wait for room.
func (q *queue) wake() {
	for i, room := range q.senders {
		select {
		case room <- struct{}{}:
		default:
		}
		q.senders[i] = nil
	}
	q.senders = q.senders[:0]
}

// seal lets the queue take no more.
func (q *queue) seal() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sealed = true
	q.filled.Signal()
	q.wake()
}

// close seals the queue, drops what waits, and counts it.
func (q *queue) close() {
	q.seal()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropAll()
	q.hand, q.list, q.lasts = nil, nil, false
}

// dropAll drops what waits and counts it.
func (q *queue) dropAll() {
	for i, s := range q.hand {
		q.lost(s)
		s.letGo()
		q.hand[i] = frameRange{}
	}
	q.hand = q.hand[:0]
	for q.frames > 0 {
		s := q.remove(q.list[q.head].len())
		q.lost(s)
		s.letGo()
	}
	q.wake()
}

// cut notes that a drain did not finish in time: frames that wait count as not delivered.
func (q *queue) cut() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.undelivered = true
}

// rests reports whether no frame waits or is being written.
func (q *queue) rests() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.frames == 0 && len(q.hand) == 0 && (q.idle || q.detached || q.sealed)
}

// attach lets a writer take frames.
func (q *queue) attach() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.detached, q.broken = false, false
}

// detach stops the writer. If broken, the waiting frames can't be written to the next connection, and are dropped.
func (q *queue) detach(broken bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.detached, q.broken = true, q.broken || broken
	if broken {
		q.dropAll()
	}
	q.filled.Signal()
	q.wake()
}

// putBack gives frames back that a writer took and did not write. If the queue lasts, they go to its front; otherwise they are
// dropped and counted. In both cases the queue owns the holds from then on.
func (q *queue) putBack(all []frameRange) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lasts && !q.broken {
		q.hand = slices.Insert(q.hand, 0, all...)
		return
	}
	for _, s := range all {
		q.lost(s)
		s.letGo()
	}
}

// held returns the number of frames and bytes that wait.
func (q *queue) held() (frames, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	frames, bytes = q.frames, q.bytes
	for _, s := range q.hand {
		frames += s.len()
		bytes += s.size()
	}
	return frames, bytes
}
