package main

import (
	"bytes"
	"fmt"

	"github.com/framehost/framehost/codecs/codecrpc/codecpb"
)

// maxPayloads is the greatest number of payloads in one call or answer.
const maxPayloads = 65536

// discarding is the state of a decoder after a payload that was too long: everything up to the next terminator still
// belongs to that payload. Otherwise the state is empty.
const discarding = "d"

// lines is the codec, with its options in force.
type lines struct {
	terminator byte
	maxFrame   int
}

func (l lines) maxWire() int { return l.maxFrame + 1 }

// An answer is the result of a call. The head's data_size and payloads are filled in when it is sent.
type answer struct {
	head    *codecpb.AnswerHead
	data    []byte
	offsets []uint32
	lengths []uint32
	ends    []uint32
}

func failed(format string, args ...any) answer {
	return answer{head: &codecpb.AnswerHead{Error: fmt.Sprintf(format, args...)}}
}

// decode finds frames up to the first fault. It never skips a fault, although the call may allow that.
func (l lines) decode(in *codecpb.CallHead, wire []byte) answer {
	if in.Kept > 0 {
		return answer{head: &codecpb.AnswerHead{Resend: true}}
	}
	if int64(in.Examined) > int64(len(wire)) {
		return failed("decode: examined %d of %d bytes", in.Examined, len(wire))
	}
	out := answer{head: &codecpb.AnswerHead{}}
	from, search := 0, int(in.Examined)
	if string(in.State) == discarding {
		end := bytes.IndexByte(wire, l.terminator)
		if end < 0 {
			out.head.Consumed, out.head.Examined, out.head.State = uint32(len(wire)), uint32(len(wire)), in.State
			out.head.Dropped = uint32(len(wire))
			return out
		}
		from, search = end+1, end+1
		out.head.Dropped = uint32(from)
	} else if len(in.State) > 0 {
		return failed("decode: state %q, which this codec never hands out", in.State)
	}
	for {
		n := bytes.IndexByte(wire[search:], l.terminator)
		end := search + n
		if n < 0 {
			end = len(wire)
		}
		switch {
		case end-from > l.maxFrame:
			at := from + l.maxFrame
			out.head.Fault = &codecpb.Fault{Kind: codecpb.Fault_TOO_LONG, Offset: uint32(from), At: uint32(at),
				Want: fmt.Sprintf("a terminator after at most %d bytes", l.maxFrame), Resume: int64(at)}
			out.head.State = []byte(discarding)
		case n < 0 && in.Eof && from < len(wire):
			out.head.Fault = &codecpb.Fault{Kind: codecpb.Fault_TRUNCATED, Offset: uint32(from), At: uint32(len(wire)),
				Want: "a terminator", Resume: int64(len(wire))}
		case n < 0:
		case len(out.lengths) == maxPayloads:
			out.head.More = true
		default:
			out.offsets = append(out.offsets, uint32(from))
			out.lengths = append(out.lengths, uint32(end-from))
			from, search = end+1, end+1
			continue
		}
		out.head.Consumed, out.head.Examined = uint32(from), uint32(max(from, end))
		return out
	}
}

func (l lines) encode(in *codecpb.CallHead, payloads []byte, lengths []uint32) answer {
	out := answer{head: &codecpb.AnswerHead{State: in.State}}
	for _, length := range lengths {
		payload := payloads[:length]
		payloads = payloads[length:]
		if at := bytes.IndexByte(payload[:min(len(payload), l.maxFrame)], l.terminator); at >= 0 {
			out.head.Fault = &codecpb.Fault{Kind: codecpb.Fault_UNREPRESENTABLE, At: uint32(at),
				Want: fmt.Sprintf("a byte other than the terminator 0x%02X", l.terminator)}
			break
		}
		if len(payload) > l.maxFrame {
			out.head.Fault = &codecpb.Fault{Kind: codecpb.Fault_TOO_LONG, At: uint32(l.maxFrame),
				Want: fmt.Sprintf("at most %d bytes", l.maxFrame)}
			break
		}
		if len(out.data)+len(payload)+1 > int(in.Room) {
			out.head.More = true
			if len(out.ends) == 0 {
				out.head.RoomNeeded = uint32(len(payload) + 1)
			}
			break
		}
		out.data = append(append(out.data, payload...), l.terminator)
		out.ends = append(out.ends, uint32(len(out.data)))
	}
	return out
}
