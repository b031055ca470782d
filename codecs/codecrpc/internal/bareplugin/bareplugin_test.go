package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecrpc/codecpb"
	"github.com/framehost/framehost/codecs/codecrpc/rpctest"
	"github.com/framehost/framehost/codecs/codectest"
)

func TestMain(m *testing.M) {
	if os.Getenv(cookieKey) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestProcess(t *testing.T) {
	codectest.RunCalls(t, rpctest.Start(t, nil),
		codectest.Case{
			Accept: []string{"hi", "", "a\r"}, Refuse: []string{"a\nb", "\n"},
			Frames: []codectest.Frame{{Payload: "hi", Wire: "hi\n"}},
			Wires: []codectest.Wire{
				{Wire: "hi\nho\na", Want: []string{"hi", "ho"}, Fault: &codecs.Fault{Offset: 6, At: 7, Err: codecs.ErrTruncated}},
			},
		},
		codectest.Case{
			Options: `{"terminator": "0x00"}`, MaxFrame: 5,
			Frames: []codectest.Frame{{Payload: "hi", Wire: "hi\x00"}},
			Wires: []codectest.Wire{{
				Wire: "hi\x00abcdef\x00hello\x00", Want: []string{"hi"},
				Fault: &codecs.Fault{Offset: 3, At: 8, Err: codecs.ErrTooLong}, Rest: []string{"hello"},
			}},
		},
		codectest.Case{Options: `{"terminator": "~"}`, MaxFrame: 70_000})
}

// The plugin refuses calls beyond the limits of PROTOCOL.md. Callers may show and pass more than one call may carry, and give more
// room: the result is the same.
func TestCallsKeepTheirLimits(t *testing.T) {
	configure := rpctest.Start(t, nil)
	for _, maxFrame := range []int{100, 4 << 10, 64 << 10} {
		codec, err := configure(nil, maxFrame)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Repeat(append(bytes.Repeat([]byte("x"), 70), '\n'), 5<<20/71)
		d := codec.Open()
		defer d.Close()
		var got []byte
		in := codeccall.Decode{Wire: want, EOF: true, Room: 8 << 20}
		var found codeccall.Decoded
		var out codeccall.Encoded
		for found.More = true; found.More; {
			if err := d.Decode(t.Context(), &in, &found); err != nil {
				t.Fatalf("max_frame %d: decode: %v", maxFrame, err)
			}
			for refs := found.Refs; len(refs) > 0; refs = refs[out.Taken():] {
				encode := codeccall.Encode{Wire: in.Wire, Data: found.Data, Refs: refs, Room: 8 << 20}
				if err := d.Encode(t.Context(), &encode, &out); err != nil {
					t.Fatalf("max_frame %d: encode: %v", maxFrame, err)
				}
				got = append(got, out.Wire...)
			}
			in.Left = len(in.Wire) - found.Consumed
			in.Wire, in.Examined = in.Wire[found.Consumed:], found.Examined-found.Consumed
		}
		if !bytes.Equal(got, want) || found.Fault != nil {
			t.Errorf("max_frame %d: got %d bytes and fault %v, want %d bytes as they were", maxFrame, len(got), found.Fault, len(want))
		}
	}
}

func TestRelease(t *testing.T) {
	var s codecServer
	for _, number := range []uint32{1, 2} {
		if _, err := s.Configure(t.Context(), &codecpb.ConfigureRequest{Codec: number, Options: []byte("{}"), MaxFrame: 9}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a number that is not configured is no error
		if _, err := s.Release(t.Context(), &codecpb.ReleaseRequest{Codec: 1}); err != nil {
			t.Fatal(err)
		}
	}
	_, one := s.codec(1)
	if _, two := s.codec(2); one || !two {
		t.Errorf("codecs 1 and 2 are configured: got %t and %t, want false and true", one, two)
	}
}

func TestStartedByHand(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(self)
	command.Env = append(os.Environ(), cookieKey+"=something else")
	output, err := command.CombinedOutput()
	if err == nil || command.ProcessState.ExitCode() != 1 || !strings.Contains(string(output), "plugin") {
		t.Errorf("got %v and %q, want status 1 and what the program is", err, output)
	}
}

func TestOptions(t *testing.T) {
	tests := []struct {
		options string
		want    byte
		errors  int
	}{
		{`{}`, '\n', 0},
		{`{"terminator": "ETX"}`, 3, 0},
		{`{"terminator": "0xfF"}`, 0xFF, 0},
		{`{"terminator": "x"}`, 'x', 0},
		{`{"terminator": "CRLF"}`, 0, 1},
		{`{"terminator": "0x"}`, 0, 1},
		{`{"terminator": "0x0"}`, 0, 1},
		{`{"terminator": "é"}`, 0, 1},
		{`{"terminator": ""}`, 0, 1},
		{`{"terminator": 7, "length": 3}`, 0, 2},
		{`7`, 0, 1},
	}
	for _, test := range tests {
		got, _, errs := readOptions([]byte(test.options))
		if got != test.want && len(errs) == 0 || len(errs) != test.errors {
			t.Errorf("options %s: got %q and %v, want %q and %d errors", test.options, got, errs, test.want, test.errors)
		}
	}
}
