package codecs

import (
	"bufio"
	"errors"
)

// Funcs are the parts from which [FromFuncs] makes a framing.
type Funcs struct {
	// Split finds the first frame, as for a bufio.Scanner. It returns the length of the frame and its payload; 0 and
	// nil to ask for more bytes; a number of bytes and nil to skip bytes that belong to no frame. Whenever more bytes
	// have arrived it is called again with everything that is unfinished.
	Split bufio.SplitFunc
	// Append appends the frame of payload to dst. An error means that the framing can't carry this payload.
	Append func(dst, payload []byte) ([]byte, error)
	// Overhead is the greatest number of bytes by which a frame is longer than its payload. 0: see [DefaultMaxWire].
	Overhead int
	// Want describes a valid frame in faults. Empty: "a whole frame".
	Want string
}

// FromFuncs returns a framing made of a split function and a function that appends a frame.
func FromFuncs(f Funcs) Framing { return funcs{f} }

type funcs struct{ Funcs }

func (f funcs) MaxWire(maxFrame int) int {
	if f.Overhead == 0 {
		return DefaultMaxWire(maxFrame)
	}
	return maxFrame + f.Overhead
}

func (f funcs) Decode(out *Payloads, in Wire) (int, error) {
	pos := 0
	for pos < len(in.Bytes) || in.EOF {
		rest := in.Bytes[pos:]
		advance, token, err := f.Split(rest, in.EOF)
		switch {
		case errors.Is(err, bufio.ErrFinalToken):
			return pos, &Fault{Offset: pos, At: pos, Err: ErrMalformed, Want: "no end before the stream's own", Resume: Never}
		case err != nil:
			return pos, &Fault{Offset: pos, At: pos, Err: ErrMalformed, Want: f.want(), Resume: Never}
		case advance < 0 || advance > len(rest):
			return pos, &Fault{Offset: pos, At: pos, Err: ErrMalformed, Want: "a split function within what it is shown", Resume: Never}
		case advance == 0 && in.EOF && len(rest) > 0:
			return pos, &Fault{Offset: pos, At: len(in.Bytes), Err: ErrTruncated, Want: f.want(), Resume: len(in.Bytes)}
		case advance == 0:
			return pos, nil
		}
		if token != nil {
			if err := f.appendToken(out, rest, token, pos); err != nil {
				return pos, err
			}
		}
		pos += advance
	}
	return pos, nil
}

// appendToken adds token to out, without a copy if token is part of rest, which begins at pos.
func (f funcs) appendToken(out *Payloads, rest, token []byte, pos int) error {
	if from := cap(rest) - cap(token); len(token) > 0 && from >= 0 && from+len(token) <= len(rest) && &rest[from] == &token[0] {
		return out.Refer(pos+from, pos+from+len(token))
	}
	return out.Append(token)
}

func (f funcs) want() string {
	if f.Want == "" {
		return "a whole frame"
	}
	return f.Want
}

func (f funcs) Encode(out *Frames, in Batch) (int, error) {
	room := f.Overhead
	for i := range in.Refs {
		payload := in.At(i)
		if f.Overhead == 0 {
			room = DefaultMaxWire(len(payload)) - len(payload)
		}
		b, err := out.Grow(len(payload) + room)
		if err != nil {
			return i, err
		}
		if b, err = f.Append(b, payload); err != nil {
			return i, &Fault{Err: ErrUnrepresentable, Want: f.want()}
		}
		if err := out.Commit(b); err != nil {
			return i, err
		}
	}
	return in.Len(), nil
}
