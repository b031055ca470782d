package codectest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

func TestCodecThatSearchesOnWhereItStopped(t *testing.T) {
	Run(t, codecOf(lines{}),
		Case{Accept: []string{"hi", "", "a\r", "\n"}, Refuse: []string{"a\r\nb"}},
		Case{
			Name: "known bytes", MaxFrame: 10,
			Sized:  func(n int) []byte { return bytes.Repeat([]byte("\r"), n) },
			Frames: []Frame{{"hi", "hi\r\n"}},
			Wires: []Wire{
				{Wire: "hi\r\n\r\nho", Want: []string{"hi", ""}, Fault: &codecs.Fault{Offset: 6, At: 8, Err: codecs.ErrTruncated}},
				{Wire: "hi\r\n\x00ho\r\nha\r\n", Want: []string{"hi"}, Rest: []string{"ha"},
					Fault: &codecs.Fault{Offset: 4, At: 4, Err: codecs.ErrMalformed, Want: "no NUL"}},
				{Wire: "01234567890\r\n", Fault: &codecs.Fault{At: 11, Err: codecs.ErrTooLong}},
			},
		})
}

func TestCodecOfASplitFunction(t *testing.T) {
	framing := codecs.FromFuncs(codecs.Funcs{
		Split: bufio.ScanLines,
		Append: func(dst, payload []byte) ([]byte, error) {
			if bytes.IndexByte(payload, '\n') >= 0 || bytes.HasSuffix(payload, []byte("\r")) {
				return nil, errors.New("a line in a line")
			}
			return append(append(dst, payload...), '\n'), nil
		},
		Overhead: 2,
		Want:     "a line",
	})
	Run(t, codecOf(framing), Case{Accept: []string{"hi"}, Refuse: []string{"a\n"}, EndDelivers: true, Rescans: true})
}

// countdown is a framing whose frames depend on earlier ones: each ends with a byte that is one less than that of the last frame.
type countdown struct{}

func (countdown) UsesState() bool            { return true }
func (countdown) MaxWire(maxFrame int) int   { return maxFrame + 1 }
func (countdown) last(state []byte) byte     { return append(bytes.Clone(state), 0)[0] - 1 }
func (countdown) want() string               { return "a payload without the byte that ends it" }
func (countdown) index(b []byte, c byte) int { return bytes.IndexByte(b, c) }

func (c countdown) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	begin, from, last := 0, in.Examined, c.last(in.State)
	for {
		i := c.index(in.Bytes[from:], last)
		if i < 0 {
			out.SetExamined(len(in.Bytes))
			if in.EOF && begin < len(in.Bytes) {
				return begin, &codecs.Fault{Offset: begin, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: c.want(), Resume: codecs.Never}
			}
			return begin, nil
		}
		payload, err := out.Grow(from + i - begin)
		if err == nil && from+i-begin > in.MaxFrame {
			err = codecs.ErrTooLong
		}
		if err != nil {
			return begin, err
		}
		if err := out.Commit(append(payload, in.Bytes[begin:from+i]...)); err != nil {
			return begin, err
		}
		out.SetState([]byte{last})
		begin, from, last = from+i+1, from+i+1, last-1
	}
}

func (c countdown) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	last := c.last(in.State)
	for i := range in.Len() {
		if at := c.index(in.At(i), last); at >= 0 {
			return i, &codecs.Fault{At: at, Err: codecs.ErrUnrepresentable, Want: c.want()}
		}
		wire, err := out.Grow(len(in.At(i)) + 1)
		if err != nil {
			return i, err
		}
		if err := out.Commit(append(append(wire, in.At(i)...), last)); err != nil {
			return i, err
		}
		out.SetState([]byte{last})
		last--
	}
	return in.Len(), nil
}

func TestCodecWithState(t *testing.T) { Run(t, codecOf(countdown{})) }

// A datagram is a payload after a "#".
type datagram struct{}

func (datagram) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	switch {
	case len(in.Bytes) > 0 && in.Bytes[0] != '#':
		return 0, &codecs.Fault{Err: codecs.ErrMalformed, Want: "#", Resume: codecs.Never}
	case len(in.Bytes) > in.MaxFrame+1:
		return 0, codecs.ErrTooLong
	case !in.EOF || len(in.Bytes) == 0:
		return 0, nil
	}
	if err := out.Refer(1, len(in.Bytes)); err != nil {
		return 0, err
	}
	return len(in.Bytes), nil
}

func (datagram) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	for i := range in.Len() {
		wire, err := out.Grow(len(in.At(i)) + 1)
		if err != nil {
			return i, err
		}
		if err := out.Commit(append(append(wire, '#'), in.At(i)...)); err != nil {
			return i, err
		}
	}
	return in.Len(), nil
}

func TestCodecOfDatagrams(t *testing.T) {
	Run(t, codecOf(datagram{}), Case{Datagrams: true, Accept: []string{"hi"}})
}

// counting counts the calls that pass through it.
type counting struct {
	codeccall.Codec
	calls *int
}

type countingDirection struct {
	codeccall.Direction
	calls *int
}

func (c counting) Open() codeccall.Direction { return countingDirection{c.Codec.Open(), c.calls} }

func (d countingDirection) Decode(ctx context.Context, in *codeccall.Decode, out *codeccall.Decoded) error {
	*d.calls++
	return d.Direction.Decode(ctx, in, out)
}

func (d countingDirection) Encode(ctx context.Context, in *codeccall.Encode, out *codeccall.Encoded) error {
	*d.calls++
	return d.Direction.Encode(ctx, in, out)
}

func TestRunCallsMakesSomeThousandCalls(t *testing.T) {
	if testing.Short() {
		t.Skip()
	}
	calls := 0
	r := &recorder{}
	r.do(func() {
		much := thrifty
		much.together = 1 // calls is not locked
		runCases(r, func(options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
			codec, err := codeccall.Configure(codecOf(lines{}), options, maxFrame)
			return counting{codec, &calls}, err
		}, much, []Case{{Accept: []string{"hi"}}}, func(*suite) {})
	})
	if r.failed() {
		t.Fatalf("got failures %v", r.failures)
	}
	if calls < 500 || calls > 8000 {
		t.Errorf("got %d calls for a case, want some thousand", calls)
	}
	t.Logf("%d calls", calls)
}
