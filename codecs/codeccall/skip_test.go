package codeccall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/framehost/framehost/codecs"
)

// A marked framing has frames of "<", lower case letters and ">". Any other byte before a frame is a fault of its own. After a
// wrong byte within a frame everything up to ">" is discarded, in a state; after "!" decoding cannot go on.
type marked struct{}

func (marked) Encode(*codecs.Frames, codecs.Batch) (int, error) { return 0, nil }
func (marked) MaxWire(maxFrame int) int                         { return maxFrame + 2 }

func (marked) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	pos := 0
	if len(in.State) > 0 {
		end := bytes.IndexByte(in.Bytes, '>')
		if end < 0 {
			out.Drop(len(in.Bytes))
			return len(in.Bytes), nil
		}
		pos = end + 1
		out.Drop(pos)
		out.SetState(nil)
	}
	for pos < len(in.Bytes) {
		if c := in.Bytes[pos]; c != '<' {
			return pos, &codecs.Fault{Offset: pos, At: pos, Err: codecs.ErrMalformed, Want: fmt.Sprintf("< instead of %c", c), Resume: pos + 1}
		}
		end := bytes.IndexFunc(in.Bytes[pos+1:], func(c rune) bool { return c < 'a' || c > 'z' })
		if end < 0 {
			break
		}
		switch at := pos + 1 + end; in.Bytes[at] {
		case '>':
			if err := out.Append(in.Bytes[pos+1 : at]); err != nil {
				return pos, err
			}
			pos = at + 1
		case '!':
			return pos, &codecs.Fault{Offset: pos, At: at, Err: codecs.ErrMalformed, Want: "no !", Resume: codecs.Never}
		default:
			out.SetState([]byte("discarding"))
			return pos, &codecs.Fault{Offset: pos, At: at, Err: codecs.ErrMalformed, Want: "a lower case letter", Resume: at + 1}
		}
	}
	if pos < len(in.Bytes) && in.EOF {
		return pos, &codecs.Fault{Offset: pos, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: ">", Resume: len(in.Bytes)}
	}
	return pos, nil
}

func TestFaultsAreSkippedInOneCall(t *testing.T) {
	many := ""
	for i := range 40 {
		many += string(rune('a' + i%(MaxWants+1)))
	}
	tests := []struct {
		name, wire string
		eof        bool
		skips      int
		want       string // "payload" and (offset at at, resume), in order
		consumed   int
		fault      string // the fault that ended the call
		state      string
	}{
		{"none, as nothing may be skipped", "<a>xy<b>", false, 0, "a", 3, "(3 at 3, 4)", ""},
		{"all of them", "<a>xy<b>", false, 9, "a (3 at 3, 4) (4 at 4, 5) b", 8, "", ""},
		{"as many as may be", "<a>xy<b>", false, 1, "a (3 at 3, 4)", 4, "(4 at 4, 5)", ""},
		{"the last to where what is shown ends", "<a>xy", false, 9, "a (3 at 3, 4) (4 at 4, 5)", 5, "", ""},
		{"but not to the end of the stream", "<a>xy", true, 9, "a (3 at 3, 4)", 4, "(4 at 4, 5)", ""},
		{"a frame after one is unfinished", "x<ab", false, 9, "(0 at 0, 1)", 1, "", ""},
		{"a frame after one is truncated", "x<ab", true, 9, "(0 at 0, 1)", 1, "(1 at 4, 4)", ""},
		{"one in a state that discards", "<aB<<c><d>", false, 9, "(0 at 2, 3, drops 4) d", 10, "", ""},
		{"one that discards still", "<aB<<c", false, 9, "(0 at 2, 3, drops 3)", 6, "", "discarding"},
		{"none after one that ends all", "x<a!>yz", false, 9, "(0 at 0, 1)", 1, "(1 at 3, -1)", ""},
		{"as many wants as an answer has room for", many, false, 99, "", MaxWants, "(16 at 16, 17)", ""},
		{"a frame that is longer than any", "x<abcdefghijkl", false, 9, "(0 at 0, 1)", 1, "(1 at 11, -1)", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := &Decode{Wire: []byte(tt.wire), EOF: tt.eof, Room: 100, Skips: tt.skips}
			p := &Properties{MaxFrame: 10, MaxWire: 12}
			var r Runner
			var out Decoded
			if err := r.Decode(marked{}, p.MaxFrame, in, &out); err != nil {
				t.Fatal(err)
			}
			if err := in.Check(p, &out); err != nil {
				t.Fatal(err)
			}
			fault := ""
			if out.Fault != nil {
				fault = places(out.Fault)
			}
			if got := found(in, &out); got != tt.want && tt.want != "" || out.Consumed != tt.consumed || fault != tt.fault ||
				string(out.State) != tt.state {
				t.Errorf("got %s, consumed %d, fault %q, state %q\nwant %s, consumed %d, fault %q, state %q",
					got, out.Consumed, fault, out.State, tt.want, tt.consumed, tt.fault, tt.state)
			}
		})
	}
}

func places(f *codecs.Fault) string { return fmt.Sprintf("(%d at %d, %d)", f.Offset, f.At, f.Resume) }

// found prints payloads and skipped faults in order.
func found(in *Decode, out *Decoded) string {
	var all []string
	batch := Encode{Wire: in.Wire, Data: out.Data, Refs: out.Refs}
	skipped := out.SkippedFaults
	for i := range len(out.Refs) + 1 {
		for ; len(skipped) > 0 && skipped[0].Payloads == i; skipped = skipped[1:] {
			f := places(&skipped[0].Fault)
			if n := skipped[0].Dropped; n > 0 {
				f = fmt.Sprintf("%s, drops %d)", strings.TrimSuffix(f, ")"), n)
			}
			all = append(all, f)
		}
		if i < len(out.Refs) {
			all = append(all, string(batch.At(i)))
		}
	}
	return strings.Join(all, " ")
}

// garbage finds a fault in each byte and allocates only once. (marked also formats Want, for which fmt takes memory from a pool;
// under the race detector pools drop some of their memory.)
type garbage struct{}

func (garbage) Decode(_ *codecs.Payloads, in codecs.Wire) (int, error) {
	if len(in.Bytes) == 0 {
		return 0, nil
	}
	return 0, &codecs.Fault{Err: codecs.ErrMalformed, Want: "no byte", Resume: 1}
}

// A result with many faults reuses the memory of the previous one.
func TestSkippingAllocates(t *testing.T) {
	in := &Decode{Wire: bytes.Repeat([]byte("x"), MaxSkips), Room: 100, Skips: MaxSkips}
	var r Runner
	var out Decoded
	one := testing.AllocsPerRun(20, func() {
		in.Wire = in.Wire[:1]
		_ = r.Decode(garbage{}, 10, in, &out)
	})
	all := testing.AllocsPerRun(20, func() {
		in.Wire = in.Wire[:MaxSkips]
		_ = r.Decode(garbage{}, 10, in, &out)
	})
	if len(out.SkippedFaults) != MaxSkips || all > one*MaxSkips {
		t.Errorf("%d faults take %v allocations, one takes %v: want what the codec allocates for its faults", len(out.SkippedFaults), all, one)
	}
}

// Skipped faults that a plugin reports are accepted only as far as they can be true.
func TestSkippedFaultsAreChecked(t *testing.T) {
	fault := func(payloads, offset, at, resume int) SkippedFault {
		return SkippedFault{Payloads: payloads, Fault: codecs.Fault{Offset: offset, At: at, Err: codecs.ErrMalformed, Resume: resume}}
	}
	dropping := func(payloads, offset, resume, dropped int) SkippedFault {
		f := fault(payloads, offset, offset, resume)
		f.Dropped = dropped
		return f
	}
	of := func(err error, want string) SkippedFault {
		f := fault(0, 0, 0, 1)
		f.Err, f.Want = err, want
		return f
	}
	tests := []struct {
		name    string
		skipped []SkippedFault
		right   bool
	}{
		{"none", nil, true},
		{"before, between and after the payloads", []SkippedFault{fault(0, 0, 1, 2), fault(1, 4, 4, 5), fault(2, 8, 9, 10)}, true},
		{"two in one place", []SkippedFault{fault(1, 4, 4, 5), fault(1, 5, 5, 6)}, true},
		{"certain after where it goes on", []SkippedFault{fault(0, 0, 12, 1)}, true},
		{"too long", []SkippedFault{of(codecs.ErrTooLong, "less")}, true},
		{"more than was allowed", []SkippedFault{fault(0, 0, 0, 1), fault(0, 1, 1, 2), fault(1, 4, 4, 5), fault(1, 5, 5, 6)}, false},
		{"after more payloads than there are", []SkippedFault{fault(3, 8, 8, 9)}, false},
		{"after fewer payloads than none", []SkippedFault{fault(-1, 8, 8, 9)}, false},
		{"payloads that run backwards", []SkippedFault{fault(2, 8, 8, 9), fault(1, 9, 9, 10)}, false},
		{"before the wire", []SkippedFault{fault(0, -1, 0, 1)}, false},
		{"after what was consumed", []SkippedFault{fault(2, 9, 9, 11)}, false},
		{"after each other, but not", []SkippedFault{fault(1, 4, 4, 6), fault(1, 5, 5, 6)}, false},
		{"on the spot", []SkippedFault{fault(1, 4, 4, 4)}, false},
		{"never to go on", []SkippedFault{fault(1, 4, 4, codecs.Never)}, false},
		{"certain before it begins", []SkippedFault{fault(1, 4, 3, 5)}, false},
		{"certain beyond what was shown", []SkippedFault{fault(1, 4, 13, 5)}, false},
		{"over a payload before it", []SkippedFault{fault(1, 3, 3, 5)}, false},
		{"over a payload after it", []SkippedFault{fault(0, 0, 0, 3)}, false},
		{"and the rest of its frame", []SkippedFault{dropping(1, 4, 5, 1), dropping(2, 8, 9, 1)}, true},
		{"and a part of the next one", []SkippedFault{dropping(1, 4, 5, 1), dropping(1, 5, 6, 0)}, false},
		{"and more than was consumed", []SkippedFault{dropping(2, 8, 9, 2)}, false},
		{"and less than nothing", []SkippedFault{dropping(2, 8, 9, -1)}, false},
		{"and without end", []SkippedFault{dropping(2, 8, 9, math.MaxInt)}, false},
		{"and a payload after it", []SkippedFault{dropping(1, 4, 5, 2)}, false},
		{"truncated", []SkippedFault{of(codecs.ErrTruncated, "")}, false},
		{"unrepresentable", []SkippedFault{of(codecs.ErrUnrepresentable, "")}, false},
		{"of no kind", []SkippedFault{of(nil, "")}, false},
		{"with much text", []SkippedFault{of(codecs.ErrMalformed, strings.Repeat("w", 201))}, false},
	}
	p := &Properties{MaxFrame: 10, MaxWire: 12}
	for _, tt := range tests {
		in := &Decode{Wire: make([]byte, 12), Room: 5, Skips: 3}
		out := &Decoded{
			Refs: []codecs.Ref{{Off: 2, Len: 2}, {Off: 6, Len: 2}}, Consumed: 10, Examined: 10, SkippedFaults: tt.skipped,
		}
		if err := in.Check(p, out); (err == nil) != tt.right || err != nil && !errors.Is(err, ErrMisbehaved) {
			t.Errorf("%s: got %v, want it to be right: %t", tt.name, err, tt.right)
		}
	}
	in := &Decode{Wire: make([]byte, 12), Skips: 1, EOF: true}
	out := &Decoded{Consumed: 12, Examined: 12, SkippedFaults: []SkippedFault{fault(0, 11, 11, 12)}}
	if err := in.Check(p, out); !errors.Is(err, ErrMisbehaved) {
		t.Errorf("to the end of the stream: got %v, want it refused, since the end is a call of its own", err)
	}
	p.MaxWire = 10
	in.EOF, out.SkippedFaults[0] = false, fault(0, 0, 11, 12)
	if err := in.Check(p, out); !errors.Is(err, ErrMisbehaved) {
		t.Errorf("certain beyond the longest frame: got %v, want it refused", err)
	}
}

// A codec in this process is called like any other.
func TestSkipsOfLocalCodec(t *testing.T) {
	codec := &local{framing: marked{}, properties: Properties{MaxFrame: 10, MaxWire: 12}}
	d := codec.Open()
	defer d.Close()
	var out Decoded
	in := &Decode{Wire: []byte("x<a>"), Room: 10, Skips: 1}
	if err := d.Decode(context.Background(), in, &out); err != nil {
		t.Fatal(err)
	}
	kept := slices.Clone(out.SkippedFaults)
	var other Decoded
	if err := d.Decode(context.Background(), &Decode{Wire: []byte("<b>y"), Room: 10, Skips: 1}, &other); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out.SkippedFaults, kept) || found(in, &out) != "(0 at 0, 1) a" {
		t.Errorf("got %s after another call, want (0 at 0, 1) a", found(in, &out))
	}
}
