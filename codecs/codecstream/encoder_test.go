package codecstream_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecstream"
)

// frames is a FrameSink that records events.
type frames struct {
	events []string
	room   int
	stop   error // of Refused
	full   error // of Frames, with done
	done   int
	broken error // of Prepare
	out    codeccall.Encoded
}

func (s *frames) Prepare(in *codeccall.Encode) (*codeccall.Encoded, error) {
	in.Room = max(s.room, in.RoomNeeded)
	return &s.out, s.broken
}

func (s *frames) Frames(out *codeccall.Encoded, first int) (int, error) {
	s.events = append(s.events, fmt.Sprintf("%q is frames %d to %d", out.Wire, first, first+len(out.Ends)))
	return s.done, s.full
}

func (s *frames) Refused(index int, fault *codecs.Fault) error {
	s.events = append(s.events, fmt.Sprintf("%d refused: %v", index, fault.Err))
	return s.stop
}

func payloadsOf(all ...string) *codecstream.Payloads {
	var p codecstream.Payloads
	for _, one := range all {
		p.Refs = append(p.Refs, codecs.Ref{Off: uint32(len(p.Data)), Len: uint32(len(one))})
		p.Data = append(p.Data, one...)
	}
	return &p
}

func TestEncoder(t *testing.T) {
	failed := errors.New("failed")
	tests := []struct {
		name     string
		payloads []string
		sink     frames
		longest  int // the Encoder's Longest
		end      bool
		want     []string
		done     int
		err      error
	}{
		{name: "nothing"},
		{name: "frames", payloads: []string{"a", "", "bc"}, sink: frames{room: 9}, want: []string{`"1a02bc" is frames 0 to 3`}, done: 3},
		{name: "little room", payloads: []string{"ab", "c"}, sink: frames{room: 2}, done: 2,
			want: []string{`"" is frames 0 to 0`, `"2ab" is frames 0 to 1`, `"1c" is frames 1 to 2`}},
		{name: "one that is refused", payloads: []string{"a", "b!", "c"}, sink: frames{room: 9}, done: 3,
			want: []string{`"1a" is frames 0 to 1`, `1 refused: payload cannot be represented`, `"1c" is frames 2 to 3`}},
		{name: "the last is refused", payloads: []string{"!"}, sink: frames{room: 9}, end: true, done: 1,
			want: []string{`"" is frames 0 to 0`, `0 refused: payload cannot be represented`, `"." is frames 1 to 1`}},
		{name: "one that is too long", payloads: []string{"a", "bcdefg", "h"}, sink: frames{room: 9}, done: 3,
			want: []string{`"1a" is frames 0 to 1`, `1 refused: frame too long`, `"1h" is frames 2 to 3`}},
		{name: "said not to be too long", payloads: []string{"bcdefg"}, sink: frames{room: 9}, longest: 4, done: 1,
			want: []string{`"6bcdefg" is frames 0 to 1`}},
		{name: "the end", end: true, want: []string{`"" is frames 0 to 0`, `"." is frames 0 to 0`}},
		{name: "the end, with payloads", payloads: []string{"a"}, sink: frames{room: 9}, end: true, done: 1, want: []string{`"1a." is frames 0 to 1`}},
		{name: "refused for good", payloads: []string{"a", "!", "c"}, sink: frames{room: 9, stop: failed}, done: 1, err: failed,
			want: []string{`"1a" is frames 0 to 1`, `1 refused: payload cannot be represented`}},
		{name: "too long for good", payloads: []string{"abcdef"}, sink: frames{stop: failed}, err: failed, want: []string{`0 refused: frame too long`}},
		{name: "written in part", payloads: []string{"a", "b", "c"}, sink: frames{room: 9, full: failed, done: 2}, done: 2, err: failed,
			want: []string{`"1a1b1c" is frames 0 to 3`}},
		{name: "no memory", payloads: []string{"a"}, sink: frames{broken: failed}, err: failed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			direction := configured(t).Open()
			defer direction.Close()
			encoder := codecstream.Encoder{Direction: direction, MaxFrame: 5, Longest: tt.longest}
			encode := encoder.Encode
			if tt.end {
				encode = encoder.End
			}
			done, err := encode(t.Context(), payloadsOf(tt.payloads...), &tt.sink)
			if done != tt.done || !errors.Is(err, tt.err) {
				t.Errorf("got %d done and %v, want %d and %v", done, err, tt.done, tt.err)
			}
			if !slices.Equal(tt.sink.events, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(tt.sink.events, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// A codec's failure ends encoding, and the payloads of the call are not done.
func TestEncoderFails(t *testing.T) {
	encoder := codecstream.Encoder{Direction: &script{t: t}}
	if done, err := encoder.Encode(t.Context(), payloadsOf("a"), &frames{}); done != 0 || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %d done and %v, want none and the failure", done, err)
	}
}

// A Decoder reads the output of an Encoder.
func TestThereAndBack(t *testing.T) {
	direction := configured(t).Open()
	defer direction.Close()
	var wire bytes.Buffer
	encoder := codecstream.Encoder{Direction: direction}
	w := &writer{frames: frames{room: 3}, wire: &wire}
	if _, err := encoder.Encode(t.Context(), payloadsOf("one", "", "two", "345678"), w); err != nil {
		t.Fatal(err)
	}
	s := &stream{decoder: codecstream.Decoder{Direction: direction}, wire: wire.Bytes()}
	if err := s.decoder.Decode(t.Context(), s, s, true); err != nil {
		t.Fatal(err)
	}
	if want := []string{`"one" is payload 0`, `"" is payload 1`, `"two" is payload 2`, `"345678" is payload 3`}; !slices.Equal(s.events, want) {
		t.Errorf("got %q, want %q", s.events, want)
	}
}

type writer struct {
	frames
	wire *bytes.Buffer
}

func (w *writer) Frames(out *codeccall.Encoded, _ int) (int, error) { return w.wire.Write(out.Wire) }
