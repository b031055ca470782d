package main

import (
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/framehost/framehost/codecs/codecrpc/codecpb"
)

const (
	// slack is how many bytes a call may carry in addition to one frame of the greatest length.
	slack = 1 << 20
	// partSize is how many bytes of data and numbers go into one message. A message may have 256 KiB; the rest is for a head,
	// the id and field headers.
	partSize = 240 << 10
	// numberSize is the greatest number of bytes that a number of 32 bits takes.
	numberSize = 5
)

// Lane reads calls, and answers each in a goroutine of its own, so that reading never waits.
func (s *codecServer) Lane(stream codecpb.Codec_LaneServer) error {
	var answers sync.WaitGroup
	defer answers.Wait()
	var sending sync.Mutex
	calls := map[uint64]*call{}
	last := uint64(0) // the greatest id so far
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		c := calls[part.Id]
		switch {
		case part.Head != nil && part.Id <= last:
			return status.Errorf(codes.InvalidArgument, "call %d begins after call %d", part.Id, last)
		case part.Head != nil:
			last = part.Id
			c = s.begin(part.Head)
			calls[part.Id] = c
		case c == nil:
			return status.Errorf(codes.InvalidArgument, "call %d has no head", part.Id)
		}
		if err := c.add(part); err != nil {
			return status.Errorf(codes.InvalidArgument, "call %d: %v", part.Id, err)
		}
		if !c.complete() {
			continue
		}
		delete(calls, part.Id)
		answers.Go(func() {
			for _, part := range c.answer().parts(part.Id) {
				sending.Lock()
				err := stream.Send(part)
				sending.Unlock()
				if err != nil {
					return // the lane has ended; the host waits for no more answers
				}
			}
		})
	}
}

// A call holds the parts of a call that have arrived.
type call struct {
	head    *codecpb.CallHead
	codec   lines
	refused string // why the call is refused and its parts are not kept; empty: it is not refused
	data    []byte
	lengths []uint32
	missing struct{ data, payloads int64 }
}

// begin checks the head of a call.
func (s *codecServer) begin(head *codecpb.CallHead) *call {
	c := &call{head: head}
	c.missing.data, c.missing.payloads = int64(head.DataSize), int64(head.Payloads)
	codec, ok := s.codec(head.Codec)
	c.codec = codec
	switch {
	case !ok:
		c.refused = "the codec is not configured"
	case head.Kind == codecpb.Kind_KIND_DECODE && c.missing.data > int64(codec.maxWire())+slack,
		head.Kind == codecpb.Kind_KIND_ENCODE && c.missing.data > int64(codec.maxFrame)+slack:
		c.refused = "more data than a call may carry"
	case head.Kind == codecpb.Kind_KIND_DECODE && int64(head.Room) > int64(codec.maxFrame)+slack,
		head.Kind == codecpb.Kind_KIND_ENCODE && int64(head.Room) > int64(codec.maxWire())+slack:
		c.refused = "more room than a call may have"
	case head.Kind == codecpb.Kind_KIND_DECODE && head.Payloads > 0, head.Payloads > maxPayloads:
		c.refused = "more payloads than a call may carry"
	}
	return c
}

func (c *call) add(part *codecpb.Call) error {
	c.missing.data -= int64(len(part.Data))
	c.missing.payloads -= int64(len(part.Lengths))
	if c.missing.data < 0 || c.missing.payloads < 0 {
		return errors.New("more than its head announced")
	}
	if c.refused == "" {
		c.data = append(c.data, part.Data...)
		c.lengths = append(c.lengths, part.Lengths...)
	}
	return nil
}

func (c *call) complete() bool { return c.missing.data == 0 && c.missing.payloads == 0 }

// answer makes the call.
func (c *call) answer() answer {
	if c.refused != "" {
		return failed("%s", c.refused)
	}
	switch c.head.Kind {
	case codecpb.Kind_KIND_DECODE:
		return c.codec.decode(c.head, c.data)
	case codecpb.Kind_KIND_ENCODE:
		total := int64(0)
		for _, length := range c.lengths {
			total += int64(length)
		}
		if total != int64(len(c.data)) {
			return failed("encode: lengths of %d bytes together, data of %d", total, len(c.data))
		}
		return c.codec.encode(c.head, c.data, c.lengths)
	default:
		return failed("a call of kind %d", c.head.Kind)
	}
}

// parts cuts an answer into messages: first its data, then its numbers.
func (a answer) parts(id uint64) []*codecpb.Answer {
	a.head.DataSize = uint32(len(a.data))
	a.head.Payloads = uint32(max(len(a.offsets), len(a.ends)))
	parts := []*codecpb.Answer{{Id: id, Head: a.head}}
	for first := true; len(a.data)+len(a.offsets)+len(a.ends) > 0; first = false {
		if !first {
			parts = append(parts, &codecpb.Answer{Id: id})
		}
		part, left := parts[len(parts)-1], partSize
		part.Data, a.data = cut(a.data, left)
		left -= len(part.Data)
		part.Ends, a.ends = cut(a.ends, left/numberSize)
		pairs := left / (2 * numberSize)
		part.Offsets, a.offsets = cut(a.offsets, pairs)
		part.Lengths, a.lengths = cut(a.lengths, pairs) //nolint:staticcheck // the next round cuts on from there
	}
	return parts
}

// cut returns the first n elements of s, or all, and the rest.
func cut[E any](s []E, n int) (first, rest []E) {
	n = min(n, len(s))
	return s[:n], s[n:]
}
