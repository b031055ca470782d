package relay

import (
	"math"
	"slices"
	"sync"
)

// QueuePolicy says what a hub does with frames for a receiver whose queue is full.
type QueuePolicy string

// The queue policies. The zero value means DropOldest.
const (
	DropOldest QueuePolicy = "drop_oldest" // drop the frames that have waited longest
	DropNewest QueuePolicy = "drop_newest" // drop the new frames
	Disconnect QueuePolicy = "disconnect"  // reset the receiver, with the reason SlowReceiver
	Block      QueuePolicy = "block"       // make the sender wait; this delays all receivers of that sender
)

// A Queue limits the frames that wait for a receiver of a hub. An empty queue accepts one frame of any length. Frames that the
// receiver's writer has taken (up to 64 KiB, or one longer frame) do not count as queued.
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

// oneWrite is the most bytes that a receiver's writer takes from its queue at once, except for one longer frame.
const oneWrite = 64 << 10

// A queue holds the frames that wait for one receiver. Many senders add frames; one writer takes them.
type queue struct {
	limit  Queue
	counts *hubCounters

	mu          sync.Mutex
	filled      sync.Cond         // the writer waits for frames
	senders     []chan<- struct{} // the senders that wait for room; each gets a token when the writer takes frames
	list        []frameRange
	head        int          // index in list of the first frames
	frames      int          // number of frames in list
	bytes       int          // their wire
	hand        []frameRange // frames handed to a waiting writer, or put back; they do not count against the limits
	idle        bool         // the writer waits
	sealed      bool         // the queue accepts no more frames
	undelivered bool         // lost frames count as not delivered, because a drain did not finish in time

	// Only an outbox uses the next three fields.
	ofOutbox bool // frames that one connection did not write are written to the next
	detached bool // there is no connection
	broken   bool // frames left by the last connection are dropped, since its stream would have a gap

	grace grace
}

func (q *queue) begin(limit Queue, counts *hubCounters) {
	q.limit, q.counts = limit.withDefaults(), counts
	q.filled.L = &q.mu
}

// fill adds as much of s as fits, and returns the rest. If there is a rest, room gets a token when the writer takes frames, unless
// room holds a token already.
func (q *queue) fill(s frameRange, room chan<- struct{}) (rest frameRange) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if rest = q.fit(s); rest.len() > 0 && !slices.Contains(q.senders, room) {
		q.senders = append(q.senders, room)
	}
	return rest
}

// fit adds as much of s as fits, and returns the rest. A sealed queue adds nothing, and returns no rest. The caller holds q.mu.
func (q *queue) fit(s frameRange) (rest frameRange) {
	if q.sealed {
		return frameRange{}
	}
	if q.frames == 0 && len(q.hand) == 0 {
		q.grace.behind = false
	}
	// Hand a part to a waiting writer at once, so that a batch does not overflow the queue of a receiver that is ready for it.
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

// push adds s, and drops frames by the queue's policy if there is no room. It returns the frames that are lost because the policy
// is Disconnect; the caller disconnects the receiver if there are any.
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
			q.broken = true // frames that a writer has taken are older than those dropped
		}
		if rest.len() > 0 {
			q.broken = true // the stream has a gap from here on
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

// trim drops the oldest frames until the queue is within its limits, but it keeps the newest frame. The caller holds q.mu.
func (q *queue) trim() {
	for q.frames > 1 && (q.frames > q.limit.Frames || q.bytes > q.limit.Bytes) {
		front := q.list[q.head]
		n := front.freeing(q.bytes-q.limit.Bytes, q.frames-q.limit.Frames)
		q.lost(front.first(min(n, q.frames-1)))
		q.remove(min(n, q.frames-1)).release()
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

// remove removes n frames from the front range of the list. The caller takes over the hold on the result.
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

// dequeue waits for frames, removes the frames of one write and appends them to into. The caller takes over the holds on them.
// dequeue appends nothing if the queue was closed or detached, or if it was sealed and is empty.
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

// wake wakes the senders that wait for room. The caller holds q.mu.
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

// seal makes the queue accept no more frames.
func (q *queue) seal() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sealed = true
	q.filled.Signal()
	q.wake()
}

// close seals the queue, and drops and counts the frames that wait.
func (q *queue) close() {
	q.seal()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropAll()
	q.hand, q.list, q.ofOutbox = nil, nil, false
}

// dropAll drops and counts the frames that wait. The caller holds q.mu.
func (q *queue) dropAll() {
	for i, s := range q.hand {
		q.lost(s)
		s.release()
		q.hand[i] = frameRange{}
	}
	q.hand = q.hand[:0]
	for q.frames > 0 {
		s := q.remove(q.list[q.head].len())
		q.lost(s)
		s.release()
	}
	q.wake()
}

// cut notes that a drain did not finish in time: frames that are lost from now on count as not delivered.
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

// attach allows a writer to take frames.
func (q *queue) attach() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.detached, q.broken = false, false
}

// detach stops the writer. If broken is true, the waiting frames can't be written to the next connection, and are dropped.
func (q *queue) detach(broken bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.detached, q.broken = true, q.broken || broken
	if q.broken {
		q.dropAll()
	}
	q.filled.Signal()
	q.wake()
}

// putBack returns frames that a writer took and did not write. They go to the front of the queue if it is that of an outbox, and
// are dropped and counted otherwise. In both cases the queue takes over the holds.
func (q *queue) putBack(all []frameRange) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ofOutbox && !q.broken {
		q.hand = slices.Insert(q.hand, 0, all...)
		return
	}
	for _, s := range all {
		q.lost(s)
		s.release()
	}
}

// held returns how many frames wait, and the bytes of their wire.
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
