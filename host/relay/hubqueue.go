package relay

import (
	"math"
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

// A queue is what waits for one receiver. Many push; one takes.
type queue struct {
	limit  Queue
	counts *hubCounters

	mu     sync.Mutex
	filled sync.Cond     // the writer waits for frames
	room   chan struct{} // closed when the writer takes frames; nil: nobody waits for that
	list   []segment
	head   int // of list
	frames int // in list
	bytes  int
	hand   []segment // given to the writer while it waited; taken already, as far as limits go
	idle   bool      // the writer waits
	sealed bool      // takes no more
}

func (q *queue) begin(limit Queue, counts *hubCounters) {
	q.limit, q.counts = limit.withDefaults(), counts
	q.filled.L = &q.mu
}

// push takes a hold of s as far as there is room, or as the policy makes some. It returns what is left: with Block what
// must wait until room is closed, with Disconnect everything if not all of it fits, which is lost then, otherwise nothing.
func (q *queue) push(s segment) (left segment, room <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.sealed {
		return segment{}, nil
	}
	// A writer that waits takes its part at once, lest a batch overflow the queue of a receiver that is ready for it.
	if q.idle && len(q.hand) == 0 {
		part := s.first(max(1, s.fitting(oneWrite, math.MaxInt)))
		part.hold()
		q.hand = append(q.hand, part)
		s.from = part.to
		q.filled.Signal()
	}
	if q.limit.Policy == DropOldest {
		q.append(s)
		q.trim()
		return segment{}, nil
	}
	n := s.fitting(q.limit.Bytes-q.bytes, q.limit.Frames-q.frames)
	if n == 0 && q.frames == 0 {
		n = min(1, s.len())
	}
	if q.limit.Policy == Disconnect && n < s.len() {
		q.lost(s)
		return s, nil
	}
	q.append(s.first(n))
	s.from += n
	if q.limit.Policy == DropNewest {
		q.lost(s)
		return segment{}, nil
	}
	if s.len() > 0 && q.room == nil {
		q.room = make(chan struct{})
	}
	return s, q.room
}

func (q *queue) append(s segment) {
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

func (q *queue) lost(s segment) {
	if s.len() > 0 {
		q.counts.droppedFrames.Add(int64(s.len()))
		q.counts.droppedBytes.Add(int64(s.size()))
	}
}

// remove takes n frames of the first segment away. The caller holds what it returns.
func (q *queue) remove(n int) segment {
	front := &q.list[q.head]
	s := front.first(n)
	q.frames -= n
	q.bytes -= s.size()
	if n < front.len() {
		front.from += n
		s.hold()
		return s
	}
	*front = segment{}
	if q.head++; q.head == len(q.list) {
		q.list, q.head = q.list[:0], 0
	}
	return s
}

// take waits for frames and appends to into what makes one write. The caller holds what it returns: nothing when the
// queue was closed, or sealed and is empty.
func (q *queue) take(into []segment) []segment {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.idle = true; len(q.hand) == 0 && q.frames == 0 && !q.sealed; {
		q.filled.Wait()
	}
	q.idle = false
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

// wake tells senders that wait.
func (q *queue) wake() {
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// seal lets the queue take no more.
func (q *queue) seal() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sealed = true
	q.filled.Signal()
	q.wake()
}

// close drops what waits as well, and counts it.
func (q *queue) close() {
	q.seal()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.hand {
		q.lost(s)
		s.letGo()
	}
	for q.frames > 0 {
		s := q.remove(q.list[q.head].len())
		q.lost(s)
		s.letGo()
	}
	q.hand, q.list = nil, nil
}

// held returns what waits at present.
func (q *queue) held() (frames, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.frames, q.bytes
}
