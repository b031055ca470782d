package codectest

import (
	"bytes"

	"github.com/framehost/framehost/codecs"
)

// lines is a correct framing: a payload ends with CR LF and contains no NUL. After a faulty line, decoding goes on at the next
// line.
type lines struct{}

var crlf = []byte("\r\n")

func (lines) MaxWire(maxFrame int) int { return maxFrame + len(crlf) }

func (lines) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	begin, from := 0, in.Examined
	if len(in.State) > 0 { // inside a faulty line
		i := bytes.Index(in.Bytes, crlf)
		switch {
		case i < 0 && in.EOF:
			out.Drop(len(in.Bytes))
			return len(in.Bytes), nil
		case i < 0:
			n := max(0, len(in.Bytes)-1) // a CR may be half of the line's end
			out.Drop(n)
			return n, nil
		}
		out.Drop(i + len(crlf))
		out.SetState(nil)
		begin, from = i+len(crlf), i+len(crlf)
	}
	for {
		most := begin + in.MaxFrame + len(crlf) // the greatest position at which the line may end
		line := in.Bytes[begin:min(most, len(in.Bytes))]
		end := bytes.Index(line[from-begin:], crlf)
		if end >= 0 {
			end += from - begin
			line = line[:end]
		}
		switch nul := bytes.IndexByte(line[min(from-begin, len(line)):], 0); {
		case nul >= 0:
			return begin, badLine(out, begin, from+nul, codecs.ErrMalformed, "no NUL")
		case end >= 0:
			if err := out.Refer(begin, begin+end); err != nil {
				return begin, err
			}
			begin += end + len(crlf)
			from = begin
		case len(in.Bytes) >= most:
			return begin, badLine(out, begin, most-1, codecs.ErrTooLong, "a shorter line")
		case in.EOF && begin < len(in.Bytes):
			return begin, &codecs.Fault{Offset: begin, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: "CR LF", Resume: len(in.Bytes)}
		default:
			out.SetExamined(max(begin, len(in.Bytes)-1))
			return begin, nil
		}
	}
}

func badLine(out *codecs.Payloads, begin, at int, err error, want string) error {
	out.SetState([]byte("bad"))
	return &codecs.Fault{Offset: begin, At: at, Err: err, Want: want, Resume: max(at, begin+1)}
}

func (lines) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	for i := range in.Len() {
		payload := in.At(i)
		if at := bytes.IndexByte(payload, 0); at >= 0 {
			return i, &codecs.Fault{At: at, Err: codecs.ErrUnrepresentable, Want: "no NUL"}
		}
		if at := bytes.Index(payload, crlf); at >= 0 {
			return i, &codecs.Fault{At: at, Err: codecs.ErrUnrepresentable, Want: "no CR LF"}
		}
		wire, err := out.Grow(len(payload) + len(crlf))
		if err != nil {
			return i, err
		}
		if err := out.Commit(append(append(wire, payload...), crlf...)); err != nil {
			return i, err
		}
	}
	return in.Len(), nil
}

// codecOf returns a codec without options.
func codecOf(f codecs.Framing) codecs.Codec {
	return codecs.New(codecs.Info{Name: "test", Version: "1.0.0", Description: "a codec under test"}, struct{}{},
		func(*struct{}, int) (codecs.Framing, error) { return f, nil })
}
