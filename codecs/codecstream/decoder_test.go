package codecstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecstream"
)

// A step is a call that a driver must make, and its result.
type step struct {
	want string // the call, in the form of describe
	out  codeccall.Decoded
	err  error
}

// A script is a Direction that answers calls with steps.
type script struct {
	t     *testing.T
	steps []step
}

func (s *script) Decode(_ context.Context, in *codeccall.Decode, out *codeccall.Decoded) error {
	if len(s.steps) == 0 {
		s.t.Fatalf("got the call %s, want no more", describe(in))
	}
	next := s.steps[0]
	s.steps = s.steps[1:]
	if got := describe(in); got != next.want {
		s.t.Errorf("got the call\n%s, want\n%s", got, next.want)
	}
	*out = next.out
	return next.err
}

func (s *script) Encode(context.Context, *codeccall.Encode, *codeccall.Encoded) error {
	return errors.ErrUnsupported
}
func (s *script) Close() {}

// describe prints the parts of a call that the driver sets.
func describe(in *codeccall.Decode) string {
	text := fmt.Sprintf("%q", in.Wire)
	for _, field := range []struct {
		name  string
		value int
	}{{"examined", in.Examined}, {"left", in.Left}, {"need", in.Need}, {"room needed", in.RoomNeeded}} {
		if field.value != 0 {
			text += fmt.Sprintf(" %s %d", field.name, field.value)
		}
	}
	if len(in.State) > 0 {
		text += fmt.Sprintf(" state %q", in.State)
	}
	if in.EOF {
		text += " eof"
	}
	return text
}

// A stream is a Source and a Sink that records events.
type stream struct {
	decoder codecstream.Decoder
	wire    []byte
	events  []string
	room    int
	skips   int
	stop    bool  // at the first fault
	prepare error // of Prepare
	found   error // of Found
	out     codeccall.Decoded
}

func (s *stream) Bytes() []byte { return s.wire }
func (s *stream) Consume(n int) { s.wire = s.wire[n:] }

func (s *stream) note(format string, args ...any) {
	s.events = append(s.events, fmt.Sprintf(format, args...))
}

func (s *stream) Prepare(in *codeccall.Decode) (*codeccall.Decoded, error) {
	in.Room, in.Skips = max(s.room, in.RoomNeeded), s.skips
	return &s.out, s.prepare
}

func (s *stream) Found(r *codecstream.Result) error {
	if r.Dropped > 0 {
		s.note("drop %q", r.Wire[:r.Dropped])
	}
	next := 0
	for i := range len(r.Refs) + 1 {
		for ; next < len(r.SkippedFaults) && r.SkippedFaults[next].Payloads == i; next++ {
			f := r.SkippedFault(next)
			s.fault("skipped", &f)
		}
		if i < len(r.Refs) {
			s.note("%q is payload %d", r.Payload(i), r.Frame+int64(i))
		}
	}
	return s.found
}

func (s *stream) fault(what string, f *codecstream.Fault) {
	s.note("%s %v at %d of the frame at %d, before payload %d", what, f.Err, f.Begin+int64(f.At), f.Begin+int64(f.Offset), f.Frame)
	s.note("drop %q", f.Dropped)
}

func (s *stream) Fault(f *codecstream.Fault) (bool, error) {
	what := "fault"
	if f.Truncated {
		what += " (truncated)"
	}
	if f.Final {
		what += " (final)"
	}
	s.fault(what, f)
	return !s.stop && !f.Final, nil
}

func (s *stream) Drop(p []byte) { s.note("drop %q", p) }

func refs(pairs ...uint32) (all []codecs.Ref) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, codecs.Ref{Off: pairs[i], Len: pairs[i+1]})
	}
	return all
}

func TestDecoder(t *testing.T) {
	malformed := func(offset, at, resume int) *codecs.Fault {
		return &codecs.Fault{Offset: offset, At: at, Err: codecs.ErrMalformed, Resume: resume}
	}
	failed := errors.New("failed")
	tests := []struct {
		name    string
		arrives []string // "EOF" ends the stream
		steps   []step
		change  func(*stream)
		want    []string
		err     error
	}{
		{
			name: "what is left is shown again", arrives: []string{"ab|cd", "ef|", "EOF"},
			steps: []step{
				{want: `"ab|cd"`, out: codeccall.Decoded{Refs: refs(0, 2), Consumed: 3, Examined: 5, State: []byte("x")}},
				{want: `"cdef|" examined 2 left 2 state "x"`, out: codeccall.Decoded{Refs: refs(0, 4), Consumed: 5, Examined: 5}},
				{want: `"" eof`},
			},
			want: []string{`"ab" is payload 0`, `"cdef" is payload 1`},
		},
		{
			name: "no call before there is what the codec needs", arrives: []string{"4", "ab", "cd", "2x", "EOF"},
			steps: []step{
				{want: `"4"`, out: codeccall.Decoded{Examined: 1, Need: 5}},
				{want: `"4abcd" examined 1 left 1 need 5`, out: codeccall.Decoded{Refs: refs(1, 4), Consumed: 5, Examined: 5}},
				{want: `"2x"`, out: codeccall.Decoded{Need: 3}},
				{want: `"2x" left 2 need 3 eof`, out: codeccall.Decoded{
					Fault: &codecs.Fault{At: 2, Err: codecs.ErrTruncated, Resume: codecs.Never},
				}},
			},
			want: []string{`"abcd" is payload 0`, `fault (truncated) truncated frame at 7 of the frame at 5, before payload 1`, `drop "2x"`},
		},
		{
			name: "more room, then more results", arrives: []string{"aa|bb|"},
			steps: []step{
				{want: `"aa|bb|"`, out: codeccall.Decoded{More: true, RoomNeeded: 9}},
				{want: `"aa|bb|" left 6 room needed 9`, out: codeccall.Decoded{Refs: refs(6, 1), Data: []byte("A"), Consumed: 3, Examined: 3, More: true}},
				{want: `"bb|" left 3`, out: codeccall.Decoded{Refs: refs(3, 1), Data: []byte("B"), Consumed: 3, Examined: 3}},
			},
			want: []string{`"A" is payload 0`, `"B" is payload 1`},
		},
		{
			name: "after a fault, from where it says", arrives: []string{"a|!b|c|"},
			steps: []step{
				{want: `"a|!b|c|"`, out: codeccall.Decoded{Refs: refs(0, 1), Consumed: 2, Examined: 2, State: []byte("x"), Fault: malformed(2, 3, 5)}},
				{want: `"c|" state "x"`, out: codeccall.Decoded{Refs: refs(0, 1), Consumed: 2, Examined: 2}},
			},
			want: []string{`"a" is payload 0`, `fault malformed frame at 3 of the frame at 2, before payload 1`, `drop "!b|"`, `"c" is payload 1`},
		},
		{
			name: "bytes before a faulty frame are no frame's", arrives: []string{"..!|c|"},
			steps: []step{
				{want: `"..!|c|"`, out: codeccall.Decoded{Fault: malformed(2, 2, 4)}},
				{want: `"c|"`, out: codeccall.Decoded{Refs: refs(0, 1), Consumed: 2, Examined: 2}},
			},
			want: []string{`fault malformed frame at 2 of the frame at 2, before payload 0`, `drop "!|"`, `"c" is payload 0`},
		},
		{
			name: "a fault takes what has not arrived", arrives: []string{"!a", "bc", "d|e|"},
			steps: []step{
				{want: `"!a"`, out: codeccall.Decoded{Fault: malformed(0, 1, 6)}},
				{want: `"e|"`, out: codeccall.Decoded{Refs: refs(0, 1), Consumed: 2, Examined: 2}},
			},
			want: []string{`fault malformed frame at 1 of the frame at 0, before payload 0`, `drop "!a"`, `drop "bc"`, `drop "d|"`, `"e" is payload 0`},
		},
		{
			name: "a stream that ends in a faulty frame", arrives: []string{"!a", "b", "EOF"},
			steps: []step{{want: `"!a"`, out: codeccall.Decoded{Fault: malformed(0, 1, 6)}}},
			want:  []string{`fault malformed frame at 1 of the frame at 0, before payload 0`, `drop "!a"`, `drop "b"`},
		},
		{
			name: "a fault at the end that takes more", arrives: []string{"EOF"}, change: func(s *stream) { s.wire = []byte("!a") },
			steps: []step{{want: `"!a" eof`, out: codeccall.Decoded{Fault: malformed(0, 1, 6)}}},
			want:  []string{`fault malformed frame at 1 of the frame at 0, before payload 0`, `drop "!a"`},
		},
		{
			name: "faults that a call skips", arrives: []string{"a|!b|c|"},
			steps: []step{{want: `"a|!b|c|"`, out: codeccall.Decoded{Refs: refs(0, 1, 5, 1), Consumed: 7, Examined: 7,
				SkippedFaults: []codeccall.SkippedFault{{Fault: *malformed(2, 3, 4), Payloads: 1, Dropped: 1}}}}},
			want: []string{`"a" is payload 0`, `skipped malformed frame at 3 of the frame at 2, before payload 1`, `drop "!b|"`, `"c" is payload 1`},
		},
		{
			name: "a fault after which nothing can be decoded", arrives: []string{"a|?b"},
			steps: []step{{want: `"a|?b"`, out: codeccall.Decoded{Refs: refs(0, 1), Consumed: 2, Examined: 2, Fault: malformed(2, 2, codecs.Never)}}},
			want:  []string{`"a" is payload 0`, `fault (final) malformed frame at 2 of the frame at 2, before payload 1`, `drop "?b"`},
		},
		{
			name: "the sink ends at a fault", arrives: []string{"!|a|"}, change: func(s *stream) { s.stop = true },
			steps: []step{{want: `"!|a|"`, out: codeccall.Decoded{Fault: malformed(0, 0, 2)}}},
			want:  []string{`fault malformed frame at 0 of the frame at 0, before payload 0`, `drop "!|"`},
		},
		{
			name: "the sink fails before a call", arrives: []string{"a|"}, change: func(s *stream) { s.prepare = failed }, err: failed,
		},
		{
			name: "the sink fails after a call", arrives: []string{"a|"}, change: func(s *stream) { s.found = failed }, err: failed,
			steps: []step{{want: `"a|"`, out: codeccall.Decoded{Refs: refs(0, 1), Consumed: 2, Examined: 2, More: true}}},
			want:  []string{`"a" is payload 0`},
		},
		{
			name: "the codec fails", arrives: []string{"a|"}, err: failed, steps: []step{{want: `"a|"`, err: failed}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			calls := &script{t, tt.steps}
			s := &stream{decoder: codecstream.Decoder{Direction: calls}}
			if tt.change != nil {
				tt.change(s)
			}
			var err error
			for _, arrived := range tt.arrives {
				eof := arrived == "EOF"
				if !eof {
					s.wire = append(s.wire, arrived...)
				}
				if err = s.decoder.Decode(t.Context(), s, s, eof); err != nil {
					break
				}
			}
			if !errors.Is(err, tt.err) {
				t.Errorf("got the error %v, want %v", err, tt.err)
			}
			if !slices.Equal(s.events, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(s.events, "\n"), strings.Join(tt.want, "\n"))
			}
			if len(calls.steps) > 0 {
				t.Errorf("the call %s was not made", calls.steps[0].want)
			}
		})
	}
}

// The Sink sees the codec's state before a call; the Decoder has the state after it.
func TestDecoderState(t *testing.T) {
	calls := &script{t, []step{
		{want: `"a"`, out: codeccall.Decoded{Refs: refs(0, 1), Consumed: 1, Examined: 1, State: []byte("first")}},
		{want: `"b" state "first"`, out: codeccall.Decoded{Refs: refs(0, 1), Consumed: 1, Examined: 1, State: []byte("second")}},
	}}
	s := &stateSink{}
	s.decoder.Direction = calls
	for _, arrived := range []string{"a", "b"} {
		s.wire = append(s.wire, arrived...)
		if err := s.decoder.Decode(t.Context(), s, s, false); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"", "first"}; !slices.Equal(s.states, want) || string(s.decoder.State()) != "second" || s.decoder.Offset() != 2 {
		t.Errorf("got states %q, then %q at %d, want %q, then second at 2", s.states, s.decoder.State(), s.decoder.Offset(), want)
	}
	s.decoder.Reset()
	if len(s.decoder.State()) > 0 || s.decoder.Offset() != 0 {
		t.Errorf("after Reset: got state %q at %d, want none at 0", s.decoder.State(), s.decoder.Offset())
	}
}

type stateSink struct {
	stream
	states []string
}

func (s *stateSink) Found(r *codecstream.Result) error {
	s.states = append(s.states, string(r.State))
	return nil
}

// shout is a framing that uses everything a driver must handle. A payload follows its length in one digit, from which the codec
// declares its need. The payload is built, in room that the codec asks for. "^" turns upper-case letters on and off, which is
// state. "?" is a fault that includes the next byte, and every other byte is a fault of its own.
type shout struct{}

func (shout) MaxWire(maxFrame int) int { return maxFrame + 1 }

func (shout) UsesState() bool { return true }

func (shout) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	loud := len(in.State) > 0
	defer func() {
		if out.SetState(nil); loud {
			out.SetState([]byte{1})
		}
	}()
	for at := 0; ; {
		if at == len(in.Bytes) {
			return at, nil
		}
		size := int(in.Bytes[at] - '0')
		switch {
		case in.Bytes[at] == '^':
			loud = !loud
			out.Skip()
			at++
			continue
		case in.Bytes[at] == '?':
			return at, &codecs.Fault{Offset: at, At: at, Err: codecs.ErrMalformed, Want: "a digit", Resume: at + 2}
		case size > 9:
			return at, &codecs.Fault{Offset: at, At: at, Err: codecs.ErrMalformed, Want: "a digit", Resume: at + 1}
		case len(in.Bytes) < at+1+size && in.EOF:
			return at, &codecs.Fault{Offset: at, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: "a payload", Resume: codecs.Never}
		case len(in.Bytes) < at+1+size:
			out.SetExamined(at + 1)
			out.SetNeed(1 + size)
			return at, nil
		}
		payload := in.Bytes[at+1 : at+1+size]
		if loud {
			payload = bytes.ToUpper(payload)
		}
		if err := out.Append(payload); err != nil {
			return at, err
		}
		at += 1 + size
	}
}

func (shout) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	for i := range in.Len() {
		payload := in.At(i)
		if at := bytes.IndexByte(payload, '!'); at >= 0 {
			return i, &codecs.Fault{At: at, Err: codecs.ErrUnrepresentable, Want: "no !"}
		}
		b, err := out.Grow(1 + len(payload))
		if err != nil {
			return i, err
		}
		if err := out.Commit(append(append(b, '0'+byte(len(payload))), payload...)); err != nil {
			return i, err
		}
	}
	if !in.EOF {
		return in.Len(), nil
	}
	b, err := out.Grow(1)
	if err != nil {
		return in.Len(), err
	}
	return in.Len(), out.Extend(append(b, '.'))
}

func configured(t *testing.T) codeccall.Codec {
	t.Helper()
	codec, err := codeccall.Configure(codecs.New(codecs.Info{Name: "shout", Version: "1.0.0", Description: "a test's codec"}, struct{}{},
		func(*struct{}, int) (codecs.Framing, error) { return shout{}, nil }), nil, 9)
	if err != nil {
		t.Fatal(err)
	}
	return codec
}

// claims checks the optional fields in the calls of a driver.
type claims struct {
	codeccall.Direction
	t     *testing.T
	rest  []byte // the bytes that the last call left
	calls int
}

func (c *claims) Decode(ctx context.Context, in *codeccall.Decode, out *codeccall.Decoded) error {
	switch {
	case in.Left > len(c.rest) || !bytes.Equal(in.Wire[:in.Left], c.rest[:in.Left]):
		c.t.Fatalf("call of %q claims that the last one left %q, which was %q", in.Wire, in.Wire[:in.Left], c.rest)
	case in.Examined > in.Left:
		c.t.Fatalf("call of %q claims that %d bytes were searched, of which %d were shown before", in.Wire, in.Examined, in.Left)
	case len(in.Wire) < in.Need && !in.EOF:
		c.t.Fatalf("call of %q, though %d bytes are needed", in.Wire, in.Need)
	}
	c.calls++
	err := c.Direction.Decode(ctx, in, out)
	c.rest = bytes.Clone(in.Wire[out.Consumed:])
	return err
}

// A stream decodes to the same payloads whatever the cuts, the room and the number of faults that calls may skip.
func TestDecoderProperty(t *testing.T) {
	codec := configured(t)
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		wire := make([]byte, random.IntN(40))
		for i := range wire {
			wire[i] = "0123abc^?!"[random.IntN(10)]
		}
		whole := decodeInCuts(t, codec, wire, nil, 1<<10, 0)
		for range 3 {
			cuts := make([]int, random.IntN(6))
			for i := range cuts {
				cuts[i] = random.IntN(len(wire) + 1)
			}
			slices.Sort(cuts)
			skips := random.IntN(2) * codeccall.MaxSkips
			if got := decodeInCuts(t, codec, wire, cuts, random.IntN(4), skips); got != whole {
				t.Fatalf("%q cut at %v, skipping %d:\n%s\nwant\n%s", wire, cuts, skips, got, whole)
			}
		}
	}
}

// decodeInCuts returns the events, with dropped bytes joined, and with positions that do not depend on the cuts.
func decodeInCuts(t *testing.T, codec codeccall.Codec, wire []byte, cuts []int, room, skips int) string {
	t.Helper()
	checked := &claims{t: t, Direction: codec.Open()}
	defer checked.Close()
	s := &stream{decoder: codecstream.Decoder{Direction: checked}, room: room, skips: skips}
	from := 0
	for _, cut := range append(cuts, len(wire)) {
		s.wire = append(s.wire, wire[from:cut]...)
		from = cut
		before := checked.calls
		if err := s.decoder.Decode(t.Context(), s, s, false); err != nil {
			t.Fatal(err)
		}
		if n := checked.calls - before; n > 2*len(wire)+2 {
			t.Fatalf("%q cut at %v: %d calls for one read", wire, cuts, n)
		}
	}
	if err := s.decoder.Decode(t.Context(), s, s, true); err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, event := range s.events {
		switch dropped, found := strings.CutPrefix(event, "drop "); {
		case found && strings.HasSuffix(text, "~"):
			text = strings.TrimSuffix(text, "~") + dropped + "~"
		case found:
			text += "\ndrop " + dropped + "~"
		default:
			text += "\n" + strings.Replace(event, "skipped ", "fault ", 1)
		}
	}
	return strings.ReplaceAll(strings.ReplaceAll(text, `""`, ""), "~", "")
}

// A fork and its original Decoder go on from the same place.
func TestFork(t *testing.T) {
	direction := configured(t).Open()
	defer direction.Close()
	s := &stream{decoder: codecstream.Decoder{Direction: direction}, room: 10, wire: []byte("^2ab3c")}
	if err := s.decoder.Decode(t.Context(), s, s, false); err != nil {
		t.Fatal(err)
	}
	f := &stream{decoder: *s.decoder.Fork(), room: 10, wire: bytes.Clone(s.wire), events: slices.Clone(s.events)}
	for _, one := range []*stream{s, f} {
		one.wire = append(one.wire, "de1x"...)
		if err := one.decoder.Decode(t.Context(), one, one, true); err != nil {
			t.Fatal(err)
		}
		if want := []string{`"AB" is payload 0`, `"CDE" is payload 1`, `"X" is payload 2`}; !slices.Equal(one.events, want) {
			t.Errorf("got %q, want %q", one.events, want)
		}
	}
}

func TestProbe(t *testing.T) {
	direction := configured(t).Open()
	defer direction.Close()
	in := codeccall.Decode{Wire: []byte("9abcdefghi1x")}
	var out codeccall.Decoded
	if err := codecstream.Probe(t.Context(), direction, &in, &out); err != nil || len(out.Refs) != 1 || in.Room != 9 {
		t.Errorf("got %d payloads in room for %d (%v), want 1 in room for 9", len(out.Refs), in.Room, err)
	}
	failed := errors.New("failed")
	if err := codecstream.Probe(t.Context(), &script{t, []step{{want: `"x"`, err: failed}}}, &codeccall.Decode{Wire: []byte("x")}, &out); !errors.Is(err, failed) {
		t.Errorf("got %v, want %v", err, failed)
	}
}

// A call that finds nothing, and one that finds payloads, allocate no memory.
func TestDecoderAllocates(t *testing.T) {
	direction := configured(t).Open()
	defer direction.Close()
	s := &quiet{}
	s.decoder.Direction = direction
	wire := []byte("1a2bc3def")
	if n := testing.AllocsPerRun(100, func() {
		s.wire = wire
		if err := s.decoder.Decode(t.Context(), s, s, false); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

// quiet is a stream that records nothing.
type quiet struct{ stream }

func (s *quiet) Prepare(in *codeccall.Decode) (*codeccall.Decoded, error) {
	in.Room = 100
	return &s.out, nil
}
func (s *quiet) Found(*codecstream.Result) error { return nil }
