//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// sizes of calls, in bytes: none, the limits of the blocks of each class, and blocks in segments of their own.
var sizes = []int{
	0, 1, 100, smallestBlock - 1, smallestBlock, smallestBlock + 1, quickCall, quickCall + 1,
	64<<10 - 1, 64 << 10, 64<<10 + 1, largestClass - 1, largestClass, largestClass + 1, 3 << 20, 33 << 20,
}

// local makes the calls of framing in this process, without a plane.
func local(t testing.TB, codec codecs.Codec, maxFrame int) codeccall.Direction {
	t.Helper()
	c, err := codeccall.Configure(codec, nil, maxFrame)
	if err != nil {
		t.Fatal(err)
	}
	return c.Open()
}

func TestSizes(t *testing.T) {
	const maxFrame = 64 << 20
	e := start(t)
	d, plain := e.open(mixed{}, maxFrame), local(t, mixedCodec, maxFrame)
	var decoded, want codeccall.Decoded
	var encoded, wantEncoded codeccall.Encoded
	for _, size := range sizes {
		for _, begin := range []string{"", "^"} {
			if begin != "" && size > 4<<20 {
				continue // upper case is slow under the race detector
			}
			wire := append([]byte(begin), bytes.Repeat([]byte("x"), size)...)
			if size > 0 {
				wire[len(wire)-1] = '\n'
			}
			for _, eof := range []bool{false, true} {
				in := &codeccall.Decode{Wire: wire, EOF: eof, Room: size + 1}
				if err := errors.Join(d.Decode(t.Context(), in, &decoded), plain.Decode(t.Context(), in, &want)); err != nil {
					t.Fatalf("%d bytes: %v", size, err)
				}
				if err := sameDecoded(&decoded, &want); err != nil {
					t.Fatalf("%d bytes, at the end %v: %v", size, eof, err)
				}
				back := &codeccall.Encode{Wire: wire, Data: decoded.Data, Refs: decoded.Refs, EOF: eof, Room: size + 8}
				err := errors.Join(d.Encode(t.Context(), back, &encoded), plain.Encode(t.Context(), back, &wantEncoded))
				if err != nil {
					t.Fatalf("%d bytes: %v", size, err)
				}
				if err := sameEncoded(&encoded, &wantEncoded); err != nil {
					t.Fatalf("%d bytes, at the end %v: %v", size, eof, err)
				}
			}
		}
	}
}

// Refs count through both parts of a batch, also if payloads touch the place where the parts meet.
func TestEncodeRefers(t *testing.T) {
	e := start(t)
	d := e.open(mixed{}, 100)
	loan := e.Lend(100)
	defer loan.End()
	wire := loan.Bytes()[:copy(loan.Bytes(), "abcdef")]
	for _, test := range []struct {
		name string
		in   codeccall.Encode
		want string
		ends []uint32
	}{
		{"nothing", codeccall.Encode{}, "", nil},
		{"nothing, at the end", codeccall.Encode{EOF: true}, "bye\n", nil},
		{"wire", codeccall.Encode{Wire: wire, Refs: []codecs.Ref{{Off: 1, Len: 2}, {Off: 5, Len: 1}}}, "bc\nf\n", []uint32{3, 5}},
		{"data", codeccall.Encode{Data: []byte("xyz"), Refs: []codecs.Ref{{Off: 0, Len: 3}}}, "xyz\n", []uint32{4}},
		{"both", codeccall.Encode{Wire: wire, Data: []byte("xyz"), Refs: []codecs.Ref{{Off: 4, Len: 2}, {Off: 6, Len: 1}, {Off: 8, Len: 1}}},
			"ef\nx\nz\n", []uint32{3, 5, 7}},
		{"both in turns", codeccall.Encode{Wire: wire, Data: []byte("xyz"), Refs: []codecs.Ref{{Off: 6, Len: 3}, {Off: 0, Len: 2}, {Off: 6, Len: 3}}},
			"xyz\nab\nxyz\n", []uint32{4, 7, 11}},
		{"empty ones", codeccall.Encode{Wire: wire, Data: []byte("x"), Refs: []codecs.Ref{{Off: 0}, {Off: 6}, {Off: 7}}},
			"\n\n\n", []uint32{1, 2, 3}},
		{"skipped", codeccall.Encode{Data: []byte("s"), Refs: []codecs.Ref{{}, {Len: 1}}, State: []byte{1}}, "s\n", []uint32{0, 2}},
	} {
		for _, lent := range []codeccall.Loan{nil, loan} {
			for _, borrow := range []bool{false, true} {
				in := test.in
				in.Lent, in.Borrow, in.Room = lent, borrow, 100
				var out codeccall.Encoded
				if err := d.Encode(t.Context(), &in, &out); err != nil {
					t.Fatalf("%s: %v", test.name, err)
				}
				if string(out.Wire) != test.want || !slices.Equal(out.Ends, test.ends) {
					t.Errorf("%s, lent %v: got %q %v, want %q %v", test.name, lent != nil, out.Wire, out.Ends, test.want, test.ends)
				}
				if lends := out.Lent != nil; lends != (borrow && test.want != "") {
					t.Errorf("%s: borrowed %v, got a loan: %v", test.name, borrow, lends)
				}
				out.Return()
			}
		}
	}
}

// A result without room stops in good order, and so does one whose table is full.
func TestNoRoom(t *testing.T) {
	e := start(t)
	d := e.open(mixed{}, 100)
	var out codeccall.Decoded
	decode := func(wire string, room int) {
		t.Helper()
		if err := d.Decode(t.Context(), &codeccall.Decode{Wire: []byte(wire), Room: room}, &out); err != nil {
			t.Fatal(err)
		}
	}
	decode("^abc\n^def\n", 5)
	if !out.More || string(out.Data) != "ABC" || out.Consumed != 5 || out.RoomNeeded != 0 {
		t.Errorf("got %+v", out)
	}
	decode("^abc\n", 2)
	if !out.More || out.RoomNeeded != 3 || out.Consumed != 0 {
		t.Errorf("got %+v", out)
	}
	decode(strings.Repeat("\n", codecs.MaxPayloads+10), 0)
	if !out.More || len(out.Refs) != codecs.MaxPayloads || out.Consumed != codecs.MaxPayloads {
		t.Errorf("got %d payloads in %d bytes, more %v", len(out.Refs), out.Consumed, out.More)
	}
	refs := slices.Clone(out.Refs)
	var encoded codeccall.Encoded
	in := &codeccall.Encode{Wire: make([]byte, codecs.MaxPayloads), Refs: refs, Room: codecs.MaxPayloads - 1}
	if err := d.Encode(t.Context(), in, &encoded); err != nil {
		t.Fatal(err)
	}
	if !encoded.More || encoded.Taken() != codecs.MaxPayloads-1 {
		t.Errorf("took %d payloads, more %v", encoded.Taken(), encoded.More)
	}
}

// A codec may append more than it asked for, as with any plane.
func TestBuiltElsewhere(t *testing.T) {
	e := start(t)
	d := e.open(lab{
		decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			b, err := out.Grow(1)
			if err != nil {
				return 0, err
			}
			return len(in.Bytes), out.Commit(append(b, bytes.ToUpper(in.Bytes)...))
		},
		encode: func(out *codecs.Frames, in codecs.Batch) (int, error) {
			for i := range in.Len() {
				b, err := out.Grow(1)
				if err != nil {
					return i, err
				}
				if err := out.Commit(append(append(b, in.At(i)...), in.At(i)...)); err != nil {
					return i, err
				}
			}
			return in.Len(), nil
		},
	}, 100)
	var decoded codeccall.Decoded
	if err := d.Decode(t.Context(), &codeccall.Decode{Wire: []byte("abc"), Room: 5000}, &decoded); err != nil || string(decoded.Data) != "ABC" {
		t.Errorf("got %q, %v", decoded.Data, err)
	}
	var encoded codeccall.Encoded
	in := &codeccall.Encode{Data: []byte("abc"), Refs: []codecs.Ref{{Len: 3}, {Len: 1}}, Room: 5000}
	if err := d.Encode(t.Context(), in, &encoded); err != nil || string(encoded.Wire) != "abcabcaa" || !slices.Equal(encoded.Ends, []uint32{6, 8}) {
		t.Errorf("got %q %v, %v", encoded.Wire, encoded.Ends, err)
	}
}

func TestState(t *testing.T) {
	e := start(t)
	d := e.open(lab{
		decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			out.SetState(bytes.Repeat(in.Bytes, 1+len(in.State)))
			return len(in.Bytes), nil
		},
		encode: func(out *codecs.Frames, in codecs.Batch) (int, error) {
			if len(in.State) == codecs.MaxState {
				out.SetState(nil)
			}
			return 0, nil
		},
	}, 100)
	var decoded codeccall.Decoded
	var encoded codeccall.Encoded
	for i, want := range []int{1, 2, 3, 4} {
		in := &codeccall.Decode{Wire: []byte("x"), State: slices.Clone(decoded.State)}
		if err := d.Decode(t.Context(), in, &decoded); err != nil || len(decoded.State) != want {
			t.Fatalf("call %d: got state of %d bytes, %v, want %d", i, len(decoded.State), err, want)
		}
	}
	for _, state := range [][]byte{nil, {1, 2, 3}, bytes.Repeat([]byte{7}, codecs.MaxState-1)} {
		if err := d.Encode(t.Context(), &codeccall.Encode{State: state}, &encoded); err != nil || !bytes.Equal(encoded.State, state) {
			t.Errorf("state of %d bytes that nobody changes: got %d, %v", len(state), len(encoded.State), err)
		}
	}
	in := &codeccall.Encode{State: bytes.Repeat([]byte{7}, codecs.MaxState)}
	if err := d.Encode(t.Context(), in, &encoded); err != nil || len(encoded.State) != 0 {
		t.Errorf("state that is taken away: got %d bytes, %v", len(encoded.State), err)
	}
}

func TestFaults(t *testing.T) {
	e := start(t)
	long := strings.Repeat("w", 200)
	for _, fault := range []codecs.Fault{
		{Offset: 1, At: 2, Err: codecs.ErrMalformed, Want: "4 digits", Resume: 3},
		{Offset: 1, At: 3, Err: codecs.ErrTruncated, Want: "", Resume: codecs.Never},
		{Offset: 2, At: 2, Err: codecs.ErrTooLong, Want: long, Resume: 3},
	} {
		d := e.open(lab{decode: func(*codecs.Payloads, codecs.Wire) (int, error) { return 1, &fault }}, 100)
		var out codeccall.Decoded
		if err := d.Decode(t.Context(), &codeccall.Decode{Wire: []byte("abc"), EOF: true}, &out); err != nil || describe(out.Fault) != describe(&fault) {
			t.Errorf("got %s, %v, want %s", describe(out.Fault), err, describe(&fault))
		}
	}
	fault := codecs.Fault{At: 1, Err: codecs.ErrUnrepresentable, Want: "letters"}
	d := e.open(lab{encode: func(*codecs.Frames, codecs.Batch) (int, error) { return 0, &fault }}, 100)
	var out codeccall.Encoded
	in := &codeccall.Encode{Data: []byte("abc"), Refs: []codecs.Ref{{Len: 3}}}
	if err := d.Encode(t.Context(), in, &out); err != nil || describe(out.Fault) != describe(&fault) {
		t.Errorf("got %s, %v, want %s", describe(out.Fault), err, describe(&fault))
	}
}

// An error in a codec is reported and fails its own call, and nothing else.
func TestCodecFails(t *testing.T) {
	e := start(t)
	well := e.openOn(0, mixed{}, 100)
	for _, test := range []struct {
		name   string
		decode func(out *codecs.Payloads, in codecs.Wire) (int, error)
		want   string
	}{
		{"panics", func(*codecs.Payloads, codecs.Wire) (int, error) { panic("oh dear") }, "oh dear"},
		{"writes into what it is shown", func(_ *codecs.Payloads, in codecs.Wire) (int, error) {
			in.Bytes[0] = 'X'
			return 0, nil
		}, "invalid memory address"},
		{"writes into the state it is shown", func(_ *codecs.Payloads, in codecs.Wire) (int, error) {
			in.State[0] = 'X'
			return 0, nil
		}, "invalid memory address"},
		{"error that is no fault", func(*codecs.Payloads, codecs.Wire) (int, error) { return 0, errors.New("no more ink") }, "no more ink"},
		{"long text", func(*codecs.Payloads, codecs.Wire) (int, error) { return 0, errors.New(strings.Repeat("n", 2*maxText)) },
			strings.Repeat("n", maxText)},
		{"consumes what is not there", func(_ *codecs.Payloads, in codecs.Wire) (int, error) { return len(in.Bytes) + 1, nil }, "consumed 4 of 3"},
		{"consumes a negative number", func(*codecs.Payloads, codecs.Wire) (int, error) { return -1, nil }, "consumed -1 of 3"},
		{"more payloads than bytes", func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			for range 50 {
				if err := out.Refer(0, 0); err != nil {
					return 0, err
				}
			}
			return len(in.Bytes), nil
		}, "50 payloads"},
		{"text of a fault too long", func(*codecs.Payloads, codecs.Wire) (int, error) {
			return 0, &codecs.Fault{Err: codecs.ErrMalformed, Want: strings.Repeat("w", 201), Resume: codecs.Never}
		}, "201 bytes"},
		{"fault of no kind", func(*codecs.Payloads, codecs.Wire) (int, error) {
			return 0, &codecs.Fault{Want: "nothing", Resume: codecs.Never}
		}, "unknown kind"},
	} {
		d := e.openOn(0, lab{decode: test.decode}, 100)
		shown := []byte("abc")
		var out codeccall.Decoded
		err := d.Decode(t.Context(), &codeccall.Decode{Wire: shown, State: []byte("s")}, &out)
		if !errors.Is(err, codeccall.ErrCodecFailed) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want that it failed with %.40q", test.name, err, test.want)
		} else if strings.Count(err.Error(), codeccall.ErrCodecFailed.Error()) != 1 {
			t.Errorf("%s: says more than once that it failed: %.100v", test.name, err)
		}
		if string(shown) != "abc" {
			t.Errorf("%s: the wire is %q", test.name, shown)
		}
		if err := well.Decode(t.Context(), &codeccall.Decode{Wire: []byte("on\n")}, &out); err != nil || len(out.Refs) != 1 {
			t.Errorf("%s: the next call: %+v, %v", test.name, out, err)
		}
	}
	d := e.Open(77, codeccall.Properties{MaxFrame: 1, MaxWire: 1})
	var out codeccall.Decoded
	if err := d.Decode(t.Context(), &codeccall.Decode{}, &out); !errors.Is(err, codeccall.ErrCodecFailed) {
		t.Errorf("a codec that was not configured: got %v", err)
	}
}

// A slow call of one session delays no other session, not even on the same lane.
func TestSlowCallHoldsUpNobody(t *testing.T) {
	e := start(t)
	entered, release := make(chan struct{}), make(chan struct{})
	slow := lab{decode: func(_ *codecs.Payloads, in codecs.Wire) (int, error) {
		entered <- struct{}{}
		<-release
		return len(in.Bytes), nil
	}}
	const stuck = 5
	results := make(chan error, stuck)
	for range stuck {
		d := e.openOn(0, slow, 100)
		go func() {
			var out codeccall.Decoded
			err := d.Decode(t.Context(), &codeccall.Decode{Wire: []byte("x"), EOF: true}, &out)
			if err == nil && out.Consumed != 1 {
				err = errors.New("not consumed")
			}
			results <- err
		}()
		<-entered
	}
	d := e.openOn(0, mixed{}, 100)
	var out codeccall.Decoded
	for range 100 {
		if err := d.Decode(t.Context(), &codeccall.Decode{Wire: []byte("a\n")}, &out); err != nil || len(out.Refs) != 1 {
			t.Fatalf("got %+v, %v", out, err)
		}
	}
	close(release)
	for range stuck {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}
