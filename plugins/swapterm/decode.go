package swapterm

import (
	"bytes"
	"fmt"

	"github.com/framehost/framehost/codecs"
)

// index is bytes.Index, with a short cut for terminators of one byte, the most common.
func index(text, t []byte) int {
	if len(t) == 1 {
		return bytes.IndexByte(text, t[0])
	}
	return bytes.Index(text, t)
}

// A frame is what is known of the frame at the front of the remaining bytes.
type frame struct {
	terminator []byte
	declared   bool
	head       int // bytes before the payload
}

// Decode reads frames. The meaning of a frame depends only on its own bytes, never on how many bytes follow.
func (f *framing) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	st, err := f.readState(in.State)
	if err != nil {
		return 0, err
	}
	begin := 0
	if st.discarding {
		n, found := passOver(in, st.terminator)
		out.Drop(n)
		if !found {
			return n, nil
		}
		begin = n
		f.enter(out, st.terminator)
	}
	inForce := f.terminator
	if f.stream {
		inForce = st.terminator
	}
	for begin < len(in.Bytes) {
		rest := in.Bytes[begin:]
		fr, ok, fault := f.begin(rest, inForce)
		if fault != nil {
			fault.Offset, fault.At = begin, fault.At+begin
			return begin, fault
		}
		if !ok {
			if in.EOF {
				return begin, truncated(in, begin, f.declaration())
			}
			return begin, nil
		}
		// The terminator must end within the longest frame.
		most := fr.head + in.MaxFrame + len(fr.terminator)
		from := max(fr.head, in.Examined-begin)
		end := -1
		if shown := rest[:min(most, len(rest))]; from < len(shown) {
			end = index(shown[from:], fr.terminator)
		}
		switch {
		case end >= 0:
			end += from
		case len(rest) >= most:
			discard(out, fr.terminator)
			return begin, &codecs.Fault{
				Offset: begin, At: begin + most - 1, Err: codecs.ErrTooLong,
				Want:   fmt.Sprintf("the terminator %s after at most %d bytes of payload", name(fr.terminator), in.MaxFrame),
				Resume: begin + most - len(fr.terminator) + 1,
			}
		case in.EOF:
			return begin, truncated(in, begin, "the terminator "+name(fr.terminator))
		default:
			out.SetExamined(max(begin, len(in.Bytes)-len(fr.terminator)+1))
			return begin, nil
		}

		next := begin + end + len(fr.terminator)
		switch {
		case end > fr.head || f.empty == codecs.EmptyDeliver:
			if err := out.Refer(begin+fr.head, begin+end); err != nil {
				return begin, err
			}
		case f.empty == codecs.EmptySkip:
			out.Skip()
		default:
			if fr.declared {
				f.enter(out, fr.terminator)
			}
			return begin, &codecs.Fault{
				Offset: begin, At: next - 1, Err: codecs.ErrMalformed, Want: "a payload that is not empty", Resume: next,
			}
		}
		begin = next
		if fr.declared && f.stream {
			inForce = fr.terminator
			f.enter(out, inForce)
		}
	}
	return begin, nil
}

// begin returns what kind of frame rest begins with. ok is false if there are too few bytes to know. Positions in the
// fault, if any, count from the front of rest.
func (f *framing) begin(rest, inForce []byte) (fr frame, ok bool, fault *codecs.Fault) {
	seen := min(len(rest), len(f.marker))
	same := 0
	for same < seen && rest[same] == f.marker[same] {
		same++
	}
	switch {
	case same < seen && f.always:
		return frame{}, false, malformed(same, "the marker "+name(f.marker))
	case same < seen:
		return frame{terminator: inForce}, true, nil
	case same < len(f.marker):
		return frame{}, false, nil
	}

	declared := rest[len(f.marker):]
	if len(declared) < f.length {
		return frame{}, false, nil
	}
	t, suffix := declared[:f.length], declared[f.length:]
	if f.stream && alike(t, f.marker) {
		return frame{}, false, malformed(len(f.marker)+f.length-1,
			fmt.Sprintf("a terminator that is no prefix of the marker %s, nor the marker of it", name(f.marker)))
	}
	for i, b := range f.suffix {
		if i == len(suffix) {
			return frame{}, false, nil
		}
		if suffix[i] != b {
			return frame{}, false, malformed(len(f.marker)+f.length+i,
				fmt.Sprintf("%s after the declared terminator", name(f.suffix)))
		}
	}
	return frame{terminator: t, declared: true, head: f.header()}, true, nil
}

// enter sets the state at the start of a frame; terminator was the last in force.
func (f *framing) enter(out *codecs.Payloads, terminator []byte) {
	var buf [1 + longest]byte
	out.SetState(f.between(&buf, terminator))
}

// passOver returns how many bytes of in belong to a frame that was given up, and whether its end is among them.
func passOver(in codecs.Wire, terminator []byte) (n int, found bool) {
	if i := index(in.Bytes, terminator); i >= 0 {
		return i + len(terminator), true
	}
	if in.EOF {
		return len(in.Bytes), false
	}
	return max(0, len(in.Bytes)-len(terminator)+1), false
}

func truncated(in codecs.Wire, begin int, want string) error {
	return &codecs.Fault{Offset: begin, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: want, Resume: len(in.Bytes)}
}

func malformed(at int, want string) *codecs.Fault {
	return &codecs.Fault{At: at, Err: codecs.ErrMalformed, Want: want, Resume: codecs.Never}
}

func (f *framing) declaration() string {
	text := fmt.Sprintf("a declaration: the marker %s and a terminator of %d bytes", name(f.marker), f.length)
	if len(f.suffix) > 0 {
		text += ", then " + name(f.suffix)
	}
	return text
}

// name returns b for messages: as a bytes value, cut if it is long.
func name(b []byte) string {
	const most = 12
	if len(b) <= most {
		return codecs.Bytes(b).String()
	}
	return fmt.Sprintf("%s... of %d bytes", codecs.Bytes(b[:most]), len(b))
}
