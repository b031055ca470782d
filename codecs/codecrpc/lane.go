package codecrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecrpc/codecpb"
)

const (
	// window limits the bytes that the calls under way on a lane carry and may be answered with. A call that alone exceeds
	// it is sent while no other call is under way.
	window = 8 << 20
	// sendAtOnce is the size up to which a call is sent by the goroutine that makes it, when nothing else is being sent.
	// A call that travels alone is thus not delayed by a switch to another goroutine.
	sendAtOnce = 16 << 10
)

// leastPart is the least size in bytes of a message of an answer that is not the answer's last. If a shorter message does
// not complete its answer, the lane reports the answer as too short at once, rather than wait for more.
const leastPart = 4 << 10

// A call is one attempt. A direction reuses it for its next call.
type call struct {
	id   uint64
	head callHead
	cost int64 // bytes of the window that the call occupies

	// Sent: for a decode the wire after the kept bytes, for an encode the payloads.
	wire     []byte
	payloads gatherer
	batch    *codeccall.Encode
	data     int // bytes sent
	numbers  int // lengths sent
	sent     time.Time

	// Received.
	decoded  *codeccall.Decoded
	encoded  *codeccall.Encoded
	answer   answerHead
	answered bool // the head has arrived

	done chan error
}

// received returns how many bytes and how many payloads of the answer have arrived.
func (c *call) received() (data, payloads int) {
	if c.decoded != nil {
		return len(c.decoded.Data), len(c.decoded.Refs)
	}
	return len(c.encoded.Wire), len(c.encoded.Ends)
}

// A lane is one stream of calls and answers, shared by many sessions. Parts of different calls take turns.
//
// Only the goroutine that receives ends calls: nothing else writes to memory for which a caller waits. So a call that was
// sent is not cancelled. It ends when its answer arrives or when the stream ends; Client.Close and an overdue answer end
// the stream.
type lane struct {
	ctx     context.Context // of the stream
	stream  grpc.ClientStream
	cancel  context.CancelCauseFunc
	timeout time.Duration // 0: no limit
	fail    func(error)   // receives the reason when the lane ends, before its calls end
	watch   *time.Timer   // fires when the oldest call may be overdue

	mu          sync.Mutex
	wake        sync.Cond // of the sender
	lastID      uint64
	lastStream  uint64
	outstanding int64
	pending     map[uint64]*call // admitted and not answered
	refused     map[uint64]bool  // calls whose answer broke the contract; more parts of it may arrive
	waiting     []*call          // for room in the window, in order
	queue       []*call          // with parts to send, in the order of their turns
	sending     bool             // a part is being sent
	sendBegan   time.Time
	watching    bool
	err         error // why the lane ended; nil: it has not
	ended       chan struct{}
}

// openLane opens a lane that ends with ctx at the latest. timeout limits both opening, since a process may not accept the
// stream, and the wait for each answer; 0: no limit.
func openLane(ctx context.Context, conn grpc.ClientConnInterface, timeout time.Duration, fail func(error)) (*lane, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	if timeout > 0 {
		defer time.AfterFunc(timeout, func() { cancel(codeccall.ErrOverdue) }).Stop()
	}
	method := &codecpb.Codec_ServiceDesc.Streams[0]
	stream, err := conn.NewStream(ctx, method, codecpb.Codec_Lane_FullMethodName, grpc.ForceCodecV2(laneCodec{}))
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // the reason why this end cancelled the stream; err only follows from it
		}
		cancel(err)
		return nil, fmt.Errorf("open a lane: %w", err)
	}
	l := &lane{
		ctx: ctx, stream: stream, cancel: cancel, timeout: timeout, fail: fail,
		pending: map[uint64]*call{}, refused: map[uint64]bool{}, ended: make(chan struct{}),
	}
	l.wake.L = &l.mu
	l.watch = time.AfterFunc(time.Hour, l.checkOverdue)
	l.watch.Stop()
	var ends sync.WaitGroup
	ends.Go(l.send)
	go func() {
		l.receive()
		ends.Wait()
		l.watch.Stop()
		close(l.ended)
	}()
	return l, nil
}

// errGoneBefore is the error of a call that was not sent completely: the process can't have begun it.
var errGoneBefore = fmt.Errorf("%w; %w", codeccall.ErrGone, codeccall.ErrNotBegun)

// do makes the call c, whose head and buffers must be set, and returns when it has ended.
func (l *lane) do(c *call) error {
	c.data, c.numbers, c.answered, c.sent = 0, 0, false, time.Time{}
	c.cost = int64(c.head.dataSize) + int64(c.head.room)
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return errGoneBefore
	}
	l.lastID++
	c.id = l.lastID
	if len(l.waiting) > 0 || !l.fits(c) {
		l.waiting = append(l.waiting, c)
		l.mu.Unlock()
		return <-c.done
	}
	l.admit(c)
	if !l.sending && len(l.queue) == 1 && c.head.dataSize <= sendAtOnce {
		l.sendPart()
	}
	if len(l.queue) > 0 {
		l.wake.Signal()
	}
	l.mu.Unlock()
	return <-c.done
}

func (l *lane) fits(c *call) bool { return l.outstanding == 0 || l.outstanding+c.cost <= window }

func (l *lane) admit(c *call) {
	l.outstanding += c.cost
	l.pending[c.id] = c
	l.queue = append(l.queue, c)
}

// send sends parts until the lane ends.
func (l *lane) send() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil {
		if l.sending || len(l.queue) == 0 {
			l.wake.Wait()
			continue
		}
		l.sendPart()
	}
}

// sendPart sends the next part of the first call in the queue. l.mu is held on entry and on return, but not during sending.
// The part is assembled under the lock, so that no memory of a call is read after the call has ended.
func (l *lane) sendPart() {
	c := l.queue[0]
	l.queue = l.queue[:copy(l.queue, l.queue[1:])]
	message, last := c.nextPart()
	if last {
		c.sent = time.Now()
	} else {
		l.queue = append(l.queue, c)
	}
	l.sending, l.sendBegan = true, time.Now()
	l.startWatch()
	l.mu.Unlock()
	err := l.stream.SendMsg(message)
	l.mu.Lock()
	l.sending = false
	if err != nil {
		if !errors.Is(err, io.EOF) { // io.EOF only means that the stream has ended; RecvMsg returns the reason
			l.cancel(err)
		}
		l.queue = l.queue[:0]
	}
	l.wake.Signal()
}

// nextPart returns the next message of the call, and whether it is the last.
func (c *call) nextPart() (*outgoing, bool) {
	left := int(c.head.dataSize) - c.data
	numbersLeft := int(c.head.payloads) - c.numbers
	m := newOutgoing(min(maxPart, left+5*numbersLeft+512))
	b := appendUint(*m.bytes, 1, c.id)
	if c.data == 0 && c.numbers == 0 {
		b = appendNested(b, 2, c.head.append)
	}
	if c.head.kind == kindEncode {
		from := c.numbers
		n := min(numbersLeft, partRoom/4/5)
		b = appendPacked(b, 4, n, func(i int) uint32 { return c.batch.Refs[from+i].Len })
		c.numbers += n
		numbersLeft -= n
	}
	n := min(left, partRoom-len(b))
	if n > 0 {
		b = appendDataHeader(b, n)
		if c.head.kind == kindEncode {
			b = c.payloads.append(b, n)
		} else {
			b = append(b, c.wire[c.data:c.data+n]...)
		}
		c.data += n
	}
	*m.bytes = b
	return m, n == left && numbersLeft == 0
}

// receive handles answers until the stream ends, and then ends every call.
func (l *lane) receive() {
	var m incoming
	var err error
	for err == nil {
		if err = l.stream.RecvMsg(&m); err == nil {
			err = l.receiveMessage(m.bytes())
			m.free()
		}
	}
	if cause := context.Cause(l.ctx); cause != nil {
		err = cause // the reason why this end cancelled the stream; err only follows from it
	}
	l.cancel(err)
	l.fail(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	l.queue = l.queue[:0]
	overdue := errors.Is(err, codeccall.ErrOverdue)
	now := time.Now()
	for _, c := range l.pending {
		switch {
		case c.sent.IsZero():
			c.done <- errGoneBefore
		case overdue && now.Sub(c.sent) >= l.timeout:
			c.done <- codeccall.ErrOverdue
		default:
			c.done <- codeccall.ErrGone
		}
	}
	clear(l.pending)
	for _, c := range l.waiting {
		c.done <- errGoneBefore
	}
	l.waiting = nil
	l.wake.Broadcast()
}

// receiveMessage handles one message. An error ends the lane, because later messages could not be trusted.
func (l *lane) receiveMessage(message []byte) error {
	var p part
	if err := p.parse(message); err != nil {
		return fmt.Errorf("%w: answer: %w", codeccall.ErrMisbehaved, err)
	}
	l.mu.Lock()
	c, refused := l.pending[p.id], l.refused[p.id]
	ready := c != nil && !c.sent.IsZero()
	l.mu.Unlock()
	if refused {
		return nil
	}
	if c == nil {
		return codeccall.Misbehaved("answer with id %d, which no call has that is under way", p.id)
	}
	if !ready {
		// A process may answer before it has received the whole call only to refuse the call; this error ends those calls too.
		return fmt.Errorf("%w: answer to a call that was not sent whole", codeccall.ErrMisbehaved)
	}
	complete, err := c.addPart(&p)
	if err == nil && !complete {
		if len(message) >= leastPart {
			return nil
		}
		data, payloads := c.received()
		err = codeccall.Misbehaved("an answer stops short: a part of %d bytes, which is too small for another to follow, "+
			"and %d of %d bytes and %d of %d payloads have come", len(message), data, c.answer.dataSize, payloads, c.answer.payloads)
	}
	l.mu.Lock()
	delete(l.pending, c.id)
	if err != nil {
		l.refused[c.id] = true
	}
	l.outstanding -= c.cost
	for len(l.waiting) > 0 && l.fits(l.waiting[0]) {
		l.admit(l.waiting[0])
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
	}
	if len(l.queue) > 0 {
		l.wake.Signal()
	}
	l.mu.Unlock()
	c.done <- err
	return nil
}

// addPart adds a part of the answer, and reports whether the answer is complete. It checks every number before it
// allocates memory for it.
func (c *call) addPart(p *part) (complete bool, err error) {
	if p.hasHead == c.answered {
		return false, codeccall.Misbehaved("the first part of an answer, and no other, has a head")
	}
	if p.hasHead {
		if err := c.takeHead(p.head); err != nil {
			return false, err
		}
		if c.answer.resend || len(c.answer.err) > 0 {
			return true, nil
		}
	}
	data, _ := c.received()
	if len(p.data) > int(c.answer.dataSize)-data {
		return false, codeccall.Misbehaved("an answer has more than the %d bytes it announced", c.answer.dataSize)
	}
	if c.decoded != nil {
		c.decoded.Data = append(c.decoded.Data, p.data...)
		err = c.takeRefs(p.numbers[0], p.numbers[1])
	} else {
		c.encoded.Wire = append(c.encoded.Wire, p.data...)
		err = c.takeEnds(p.numbers[2])
	}
	if err != nil {
		return false, err
	}
	if len(p.data) == 0 && !p.hasHead && len(p.numbers[0])+len(p.numbers[2]) == 0 {
		return false, codeccall.Misbehaved("an empty part of an answer")
	}
	data, payloads := c.received()
	return data == int(c.answer.dataSize) && payloads == int(c.answer.payloads), nil
}

func (c *call) takeHead(head []byte) error {
	if err := c.answer.parse(head, int(c.head.skips)); err != nil {
		return codeccall.Misbehaved("head of an answer: %w", err)
	}
	c.answered = true
	a := &c.answer
	most := codecs.MaxPayloads
	if c.encoded != nil {
		most = int(c.head.payloads)
	}
	switch {
	case a.resend && c.head.kept == 0:
		return codeccall.Misbehaved("resend of what was sent")
	case a.resend:
		return nil
	case len(a.err) > 0: // copied, because a head refers to the memory of its message
		a.err = append([]byte(nil), a.err[:min(len(a.err), maxError)]...)
		return nil
	case len(a.state) > codecs.MaxState:
		return codeccall.Misbehaved("state of %d bytes, more than %d", len(a.state), codecs.MaxState)
	case a.dataSize > c.head.room:
		return codeccall.Misbehaved("answer of %d bytes in room for %d", a.dataSize, c.head.room)
	case uint64(a.payloads) > uint64(most):
		return codeccall.Misbehaved("answer with %d payloads, more than %d", a.payloads, most)
	}
	if d := c.decoded; d != nil {
		*d = codeccall.Decoded{
			Refs: d.Refs[:0], Data: reserve(d.Data, int(a.dataSize)), Consumed: int(a.consumed), Examined: int(a.examined),
			Need: int(a.need), More: a.more, RoomNeeded: int(a.roomNeeded), Skipped: int(a.skipped),
			Dropped: int(a.dropped), State: append(d.State[:0], a.state...), Fault: a.fault,
			SkippedFaults: append(d.SkippedFaults[:0], a.faults...),
		}
	} else {
		e := c.encoded
		*e = codeccall.Encoded{
			Wire: reserve(e.Wire, int(a.dataSize)), Ends: e.Ends[:0], More: a.more, RoomNeeded: int(a.roomNeeded),
			State: append(e.State[:0], a.state...), Fault: a.fault,
		}
	}
	a.state = nil // it refers to the memory of the message
	return nil
}

func (c *call) takeRefs(offsets, lengths []byte) error {
	for len(offsets) > 0 {
		var ref codecs.Ref
		var err error
		if ref.Off, offsets, err = nextNumber(offsets); err == nil {
			ref.Len, lengths, err = nextNumber(lengths)
		}
		if err != nil {
			return codeccall.Misbehaved("payloads of an answer: %w", err)
		}
		if len(c.decoded.Refs) == int(c.answer.payloads) {
			return codeccall.Misbehaved("an answer has more than the %d payloads it announced", c.answer.payloads)
		}
		c.decoded.Refs = append(c.decoded.Refs, ref)
	}
	if len(lengths) > 0 {
		return codeccall.Misbehaved("an answer has more lengths than offsets")
	}
	return nil
}

func (c *call) takeEnds(ends []byte) error {
	for len(ends) > 0 {
		end, rest, err := nextNumber(ends)
		if err != nil {
			return codeccall.Misbehaved("ends of an answer: %w", err)
		}
		if len(c.encoded.Ends) == int(c.answer.payloads) {
			return codeccall.Misbehaved("an answer has more than the %d ends it announced", c.answer.payloads)
		}
		c.encoded.Ends = append(c.encoded.Ends, end)
		ends = rest
	}
	return nil
}

// startWatch makes checkOverdue run when the oldest call may be overdue. l.mu is held.
func (l *lane) startWatch() {
	if l.timeout > 0 && !l.watching {
		l.watching = true
		l.watch.Reset(l.timeout)
	}
}

// checkOverdue ends the lane if a call was sent completely and not answered within the timeout, or if a part could not be
// sent within the timeout, which means that the process does not read.
func (l *lane) checkOverdue() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watching = false
	if l.err != nil {
		return
	}
	now := time.Now()
	var oldest time.Time
	for _, c := range l.pending {
		if !c.sent.IsZero() && (oldest.IsZero() || c.sent.Before(oldest)) {
			oldest = c.sent
		}
	}
	if l.sending && (oldest.IsZero() || l.sendBegan.Before(oldest)) {
		oldest = l.sendBegan
	}
	if oldest.IsZero() {
		return // nothing is under way; the next part that is sent starts the timer again
	}
	left := l.timeout - now.Sub(oldest)
	if left <= 0 {
		l.cancel(codeccall.ErrOverdue)
		return
	}
	l.watching = true
	l.watch.Reset(left)
}

// appendDataHeader appends the tag and length of n bytes of data in a Call or an Answer.
func appendDataHeader(b []byte, n int) []byte {
	b = append(b, 3<<3|2)
	return protowire.AppendVarint(b, uint64(n))
}

// reserve returns an empty slice with room for n bytes, in the memory of b if b is large enough.
func reserve(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, 0, n)
	}
	return b[:0]
}
