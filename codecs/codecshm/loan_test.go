//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"bytes"
	"errors"
	"testing"
	"unsafe"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// copied reports whether a call that shows wire, of loan, used blocks of its own to show it.
func copied(t *testing.T, d *direction, wire []byte, loan codeccall.Loan) bool {
	t.Helper()
	its, where, err := d.plane.show(wire, loan)
	if err != nil {
		t.Fatal(err)
	}
	if its != nil {
		its.End()
		return true
	}
	if lent := loan.(*block); where.segment != lent.segment.id || int(where.length) != len(wire) {
		t.Errorf("shown at %+v", where)
	}
	return false
}

// Wire in a loan of the plane is shown in place, and all other wire is copied; results are the same.
func TestLent(t *testing.T) {
	e, other, gone := start(t), start(t), start(t)
	loan := e.Lend(smallestBlock).(*block)
	defer loan.End()
	foreign := other.Lend(100)
	defer foreign.End()
	outlived := gone.Lend(100)
	copy(outlived.Bytes(), "abc\n")
	gone.close()
	defer outlived.End()
	second := e.Lend(100)
	defer second.End()

	fill := func(b []byte) []byte {
		copy(b, bytes.Repeat([]byte("abc\n"), len(b)/4))
		return b
	}
	fill(loan.segment.memory[loan.offset : int(loan.offset)+2*smallestBlock])
	beyond := unsafe.Slice(unsafe.SliceData(loan.bytes), smallestBlock+4)
	result := heldAnswer(t, e)
	defer result.End()
	for _, test := range []struct {
		name   string
		wire   []byte
		lent   codeccall.Loan
		copied bool
	}{
		{"its beginning", fill(loan.bytes[:8]), loan, false},
		{"its end", fill(loan.bytes[smallestBlock-8:]), loan, false},
		{"all of it", fill(loan.bytes), loan, false},
		{"one byte", loan.bytes[3:4], loan, false},
		{"beyond its end", beyond, loan, true},
		{"after it", beyond[smallestBlock:], loan, true},
		{"elsewhere", []byte("abc\n"), loan, true},
		{"not said to be lent", fill(loan.bytes[:8]), nil, true},
		{"another plane's", fill(foreign.Bytes()[:8]), foreign, true},
		{"a plane's that is gone", outlived.Bytes()[:4], outlived, true},
		{"of what the plugin writes", result.Bytes()[:1], result, true},
		{"another loan of this plane", fill(second.Bytes()[:8]), loan, true},
	} {
		d, plain := e.open(mixed{}, 100), local(t, mixedCodec, 100)
		if got := copied(t, d, test.wire, test.lent); got != test.copied {
			t.Errorf("%s: copied: %v", test.name, got)
		}
		var out, want codeccall.Decoded
		in := &codeccall.Decode{Wire: test.wire, Lent: test.lent, Room: 100}
		if err := errors.Join(d.Decode(t.Context(), in, &out), plain.Decode(t.Context(), in, &want)); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if err := sameDecoded(&out, &want); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		back := &codeccall.Encode{Wire: test.wire, Lent: test.lent, Refs: want.Refs, Room: 2 * smallestBlock}
		var encoded, wantEncoded codeccall.Encoded
		if err := errors.Join(d.Encode(t.Context(), back, &encoded), plain.Encode(t.Context(), back, &wantEncoded)); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if err := sameEncoded(&encoded, &wantEncoded); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// heldAnswer returns a loan in which a result lies.
func heldAnswer(t *testing.T, e *ends) codeccall.Loan {
	t.Helper()
	var out codeccall.Decoded
	in := &codeccall.Decode{Wire: []byte("^a\n"), Room: 10, Borrow: true}
	if err := e.open(mixed{}, 100).Decode(t.Context(), in, &out); err != nil || out.Lent == nil {
		t.Fatalf("got %+v, %v", out, err)
	}
	return out.Lent
}

// A borrowed result does not change while other calls are made, and is returned with the next call.
func TestBorrow(t *testing.T) {
	e := start(t)
	d := e.open(mixed{}, 100)
	var out codeccall.Decoded
	var encoded codeccall.Encoded
	for i := range 50 {
		text := bytes.Repeat([]byte{'a' + byte(i%26)}, 1+i)
		in := &codeccall.Decode{Wire: append(append([]byte("^"), text...), '\n'), Room: 100, Borrow: true}
		if err := d.Decode(t.Context(), in, &out); err != nil {
			t.Fatal(err)
		}
		if out.Lent == nil || !bytes.Equal(out.Data, bytes.ToUpper(text)) || cap(out.Data) != len(out.Data) {
			t.Fatalf("got %+v", out)
		}
		if err := e.open(mixed{}, 100).Decode(t.Context(), in, &codeccall.Decoded{}); err != nil {
			t.Fatal(err) // this loan is never returned: only its memory is lost
		}
		if !bytes.Equal(out.Data, bytes.ToUpper(text)) {
			t.Fatalf("a later call changed it to %q", out.Data)
		}
		back := &codeccall.Encode{Wire: in.Wire, Data: out.Data, Refs: out.Refs, Room: 200, Borrow: true}
		if err := d.Encode(t.Context(), back, &encoded); err != nil {
			t.Fatal(err)
		}
		if encoded.Lent == nil || !bytes.Equal(encoded.Wire, append(bytes.ToUpper(text), '\n')) {
			t.Fatalf("got %+v", encoded)
		}
	}
	lent := e.out.lent
	out.Return()
	out.Return()
	encoded.Return()
	if out.Data != nil || encoded.Wire != nil || e.out.lent != lent-2 {
		t.Errorf("returned, and data is %q, wire %q, %d blocks of %d", out.Data, encoded.Wire, e.out.lent, lent)
	}
	// A result without bytes borrows nothing, and a failed call returns the loan of the earlier result.
	in := &codeccall.Decode{Wire: []byte("a\n^b\n"), Room: 10, Borrow: true}
	if err := d.Decode(t.Context(), in, &out); err != nil || out.Lent == nil {
		t.Fatalf("got %+v, %v", out, err)
	}
	panics := e.open(lab{decode: func(*codecs.Payloads, codecs.Wire) (int, error) { panic("oh dear") }}, 10)
	if err := panics.Decode(t.Context(), in, &out); !errors.Is(err, codeccall.ErrCodecFailed) || out.Lent != nil {
		t.Errorf("got %+v, %v", out, err)
	}
	in.Wire = in.Wire[:2]
	if err := d.Decode(t.Context(), in, &out); err != nil || out.Lent != nil {
		t.Errorf("got %+v, %v", out, err)
	}
	if e.out.lent != lent-2 {
		t.Errorf("%d blocks are lent, %d were", e.out.lent, lent-2)
	}
}

// Calls give back all memory that they take.
func TestCallsReturnTheirMemory(t *testing.T) {
	e := start(t)
	d := e.open(mixed{}, 100)
	var out codeccall.Decoded
	for _, wire := range []string{"", "a\n", "^a\n", "!\n", "x", "^" + string(bytes.Repeat([]byte("y"), 200)) + "\n"} {
		for _, room := range []int{0, 10} {
			if err := d.Decode(t.Context(), &codeccall.Decode{Wire: []byte(wire), Room: room, EOF: room > 0}, &out); err != nil {
				t.Fatal(err)
			}
			var encoded codeccall.Encoded
			in := &codeccall.Encode{Wire: []byte(wire), Refs: []codecs.Ref{{Len: uint32(len(wire))}}, Room: room}
			if err := d.Encode(t.Context(), in, &encoded); err != nil {
				t.Fatal(err)
			}
		}
	}
	if e.in.lent != 0 || e.out.lent != 0 {
		t.Errorf("%d and %d blocks are lent", e.in.lent, e.out.lent)
	}
}
