package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// reads is a source that returns at most step bytes for each read.
type reads struct {
	io.Reader
	step int
}

func inReads(wire string, step int) io.Reader { return &reads{strings.NewReader(wire), step} }

func (r *reads) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), r.step)]) }

// read is a frame as a frameReader reports it.
type read struct {
	offset  int64
	payload string
}

func readAll(codec codeccall.Codec, source io.Reader, skip bool) (got []read, faults []string, err error) {
	r := frameReader{codec: codec, source: source, places: true, frame: func(offset int64, payload []byte) error {
		got = append(got, read{offset, string(payload)})
		return nil
	}}
	if skip {
		r.faulty = func(f *wireFault) { faults = append(faults, f.Error()) }
	}
	err = r.run(context.Background())
	return got, faults, err
}

func TestFramePlaces(t *testing.T) {
	const slip = `{"terminator": "0xC0", "leading_terminator": true, "escape": "0xDB", "map": {"0xC0": "0xDC", "0xDB": "0xDD"}, "empty": "skip"}`
	tests := []struct {
		name, plugin, options, wire string
		want                        []read
		fault                       string
	}{
		{"payloads that stand in the wire", "escape", "", "hi\nho\n\n!\n", []read{{0, "hi"}, {3, "ho"}, {6, ""}, {7, "!"}}, ""},
		{"payloads that are built", "escape", "", "a\\nb\n\\\\\nc\n", []read{{0, "a\nb"}, {5, `\`}, {8, "c"}}, ""},
		{"empty frames that are skipped", "escape", `{"empty": "skip"}`, "\n\nhi\n\n\nho\n", []read{{2, "hi"}, {7, "ho"}}, ""},
		{"flags between frames", "escape", slip, "\xc0\x01\xc0\xc0\xc0\x02\xc0\x03\xc0", []read{{1, "\x01"}, {5, "\x02"}, {7, "\x03"}}, ""},
		{"lengths", "lenprefix", `{"width": 0, "separator": ":", "trailer": ","}`, "0:,12:hello world!,1:a,",
			[]read{{0, ""}, {3, "hello world!"}, {19, "a"}}, ""},
		{"base64", "base64", "", "Zm9v\n\nZg==\n", []read{{0, "foo"}, {5, ""}, {6, "f"}}, ""},
		{"the end of the input ends a frame", "escape", `{"unterminated": "deliver"}`, "hi\nho", []read{{0, "hi"}, {3, "ho"}}, ""},
		{"state from frame to frame", "swapterm", `{"scope": "stream"}`, "hi\n\x1b|a\nb|c|\x1b\nd\ne\n",
			[]read{{0, "hi"}, {3, "a\nb"}, {9, "c"}, {11, "d"}, {15, "e"}}, ""},
		{"a fault after frames", "escape", "", "hi\na\\q\n", []read{{0, "hi"}},
			`malformed frame at offset 5 (its frame begins at offset 3): got 61 5C 71 `},
		{"an unfinished frame", "lenprefix", "", "\x00\x00\x00\x02hi\x00\x00\x00\x03h", []read{{0, "hi"}},
			"truncated frame at offset 11 (its frame begins at offset 6): got 00 00 00 03 68 \"\\x00\\x00\\x00\\x03h\" and the end of the stream, want "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			codec := configure(t, tt.plugin, tt.options, 100)
			for step := 1; step <= len(tt.wire); step++ {
				got, _, err := readAll(codec, inReads(tt.wire, step), false)
				if !slices.Equal(got, tt.want) {
					t.Errorf("in reads of %d bytes:\n got  %v\n want %v", step, got, tt.want)
				}
				if message := fmt.Sprint(err); tt.fault == "" && err != nil || !strings.HasPrefix(message, tt.fault) && tt.fault != "" {
					t.Errorf("in reads of %d bytes: got %v, want %q", step, err, tt.fault)
				}
			}
		})
	}
}

// After faults decoding goes on, however reads cut the wire. The bytes that a fault shows depend on the bytes that had arrived.
func TestFaultsSkipped(t *testing.T) {
	codec := configure(t, "escape", "", 8)
	const wire = "hi\n\\q\nho\n0123456789abcdef\n!\nend"
	for step := 1; step <= len(wire); step++ {
		got, faults, err := readAll(codec, inReads(wire, step), true)
		if want := []read{{0, "hi"}, {6, "ho"}, {26, "!"}}; err != nil || !slices.Equal(got, want) {
			t.Errorf("in reads of %d bytes: got %v and %v, want %v", step, got, err, want)
		}
		var kinds []string
		for _, f := range faults {
			kind, _, _ := strings.Cut(f, ":")
			kinds = append(kinds, kind)
		}
		want := []string{
			"malformed frame at offset 4 (its frame begins at offset 3)",
			"frame too long at offset 17 (its frame begins at offset 9)",
			"truncated frame at offset 31 (its frame begins at offset 28)",
		}
		if !slices.Equal(kinds, want) {
			t.Errorf("in reads of %d bytes: got faults\n%s\nwant\n%s", step, strings.Join(kinds, "\n"), strings.Join(want, "\n"))
		}
	}
}

// A fault that can't be skipped ends the stream, even with --skip.
func TestFaultWithoutResume(t *testing.T) {
	codec := configure(t, "lenprefix", `{"format": "ascii_dec"}`, 100)
	got, faults, err := readAll(codec, strings.NewReader("0002hi00x2ho"), true)
	if want := []read{{0, "hi"}}; !slices.Equal(got, want) || len(faults) > 0 {
		t.Errorf("got %v and %v, want %v", got, faults, want)
	}
	if fault := (*wireFault)(nil); !errors.As(err, &fault) || fault.Offset != 6 || fault.At != 8 || !errors.Is(err, codecs.ErrMalformed) {
		t.Errorf("got %v, want a fault at 8", err)
	}
}

// Frames that are much longer or shorter than the frame before are found.
func TestPlacesOfRandomFrames(t *testing.T) {
	codec := configure(t, "escape", "", 1<<20)
	random := rand.New(rand.NewPCG(1, 2))
	var want []read
	var wire strings.Builder
	for range 60 {
		length := random.IntN(1 << random.IntN(12))
		payload := strings.Repeat("a\n"[random.IntN(2):][:1], length)
		want = append(want, read{int64(wire.Len()), payload})
		wire.WriteString(encodeAll(t, codec, payload))
	}
	for _, step := range []int{1 << 20, 1000} {
		if got, _, err := readAll(codec, inReads(wire.String(), step), false); err != nil || !slices.Equal(got, want) {
			t.Errorf("in reads of %d bytes: %d frames and %v, want %d", step, len(got), err, len(want))
		}
	}
}

// A payload that is longer than the room provided at first is decoded, with its position.
func TestRoomIsFound(t *testing.T) {
	codec := configure(t, "escape", "", 1<<20)
	payload := strings.Repeat("\n", 1<<18)
	wire := encodeAll(t, codec, "a", payload, "b")
	want := []read{{0, "a"}, {2, payload}, {3 + 1<<19, "b"}}
	if got, _, err := readAll(codec, strings.NewReader(wire), false); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %d frames and %v, want %d", len(got), err, len(want))
	}
}

func TestPayloadFaults(t *testing.T) {
	codec := configure(t, "escape", `{"style": "none"}`, 5)
	tests := []struct {
		name     string
		payloads []string
		wire     string
		want     string
	}{
		{"unrepresentable", []string{"a", "b\nc", "d"}, "a\n", "1: payload cannot be represented: byte 1: got 0A 63, want "},
		{"too long", []string{"12345", "123456"}, "12345\n", "1: frame too long: byte 5: got 36, want a payload of at most 5 bytes"},
		{"too long, and the first", []string{"123456"}, "", "0: frame too long: byte 5: got 36, want a payload of at most 5 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var wire bytes.Buffer
			w := newFrameWriter(&wire, codec)
			defer w.close()
			var p payloads
			for _, payload := range tt.payloads {
				p.add([]byte(payload))
			}
			err := w.write(context.Background(), &p)
			var fault *payloadFault
			if !errors.As(err, &fault) {
				t.Fatalf("got %v, want a fault", err)
			}
			if got := fmt.Sprintf("%d: %v", fault.Index, fault); !strings.HasPrefix(got, tt.want) || wire.String() != tt.wire {
				t.Errorf("got %s after %q\nwant %s after %q", got, wire.String(), tt.want, tt.wire)
			}
		})
	}
}

// Of a line that is longer than the limit, only one byte more than the limit is kept.
func TestReadLine(t *testing.T) {
	tests := []struct {
		name, input string
		want        []string
	}{
		{"lines, and an end", "ab\n\nc\r\n", []string{"ab", "", "c\r", ""}},
		{"the last line has no end", "ab\nc", []string{"ab", "c"}},
		{"a line longer than the limit", strings.Repeat("x", 100) + "\n", []string{"xxxxx"}},
		{"a line of the limit", "xxxx\ny", []string{"xxxx", "y"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source := bufio.NewReaderSize(strings.NewReader(tt.input), 16)
			for i, want := range tt.want {
				got, err := readLine(source, 4)
				if string(got) != want || err != nil && !errors.Is(err, io.EOF) {
					t.Errorf("line %d: got %q and %v, want %q", i, got, err, want)
				}
			}
		})
	}
}
