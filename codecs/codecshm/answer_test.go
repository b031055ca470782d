//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

var hundred = codeccall.Properties{MaxFrame: 100, MaxWire: 200}

// An answer is accepted only as far as it can be true, and the rest of the process likewise.
func TestAnswersThatBreakTheContract(t *testing.T) {
	var head answerHead
	var table []codecs.Ref
	var ends []uint32
	d := impersonate(t, func(d *double, c *callSlot, a *answerSlot) {
		a.head = head
		if c.kind == kindDecode {
			copy(refsIn(d.memory(c.entries)), table)
		} else {
			copy(endsIn(d.memory(c.entries)), ends)
		}
	})
	say := func(h answerHead, refs []codecs.Ref, e []uint32) {
		d.says.Lock()
		defer d.says.Unlock()
		head, table, ends = h, refs, e
	}
	on := d.open(hundred)
	const shown, room, payloads = 10, 20, 4
	decode := func() error {
		var out codeccall.Decoded
		defer out.Return()
		return on.Decode(t.Context(), &codeccall.Decode{Wire: make([]byte, shown), Room: room, Borrow: true}, &out)
	}
	encode := func() error {
		var out codeccall.Encoded
		defer out.Return()
		in := &codeccall.Encode{Data: make([]byte, payloads), Refs: make([]codecs.Ref, payloads), Room: room, Borrow: true}
		return on.Encode(t.Context(), in, &out)
	}
	for _, test := range []struct {
		name    string
		head    answerHead
		refs    []codecs.Ref
		ends    []uint32
		decodes bool // is valid for a decode
		encodes bool // is valid for an encode
	}{
		{name: "nothing at all", decodes: true},
		{name: "more entries than there is room for", head: answerHead{entries: 11, consumed: 10, examined: 10}},
		{name: "as many entries as can be counted", head: answerHead{entries: math.MaxUint32}},
		{name: "more bytes than there is room for", head: answerHead{size: room + 1}},
		{name: "as many bytes as can be counted", head: answerHead{size: math.MaxUint32}},
		{name: "consumed too much", head: answerHead{consumed: shown + 1, examined: shown + 1}},
		{name: "consumed beyond what an int32 has", head: answerHead{consumed: 1 << 31, examined: 1 << 31}},
		{name: "examined too much", head: answerHead{examined: shown + 1}},
		{name: "examined less than consumed", head: answerHead{consumed: 2, examined: 1}},
		{name: "positions that no wire has", head: answerHead{need: math.MaxUint32, roomNeeded: math.MaxUint32, skipped: math.MaxUint32}},
		{name: "a need beyond the longest frame", head: answerHead{need: 202}},
		{name: "more dropped than consumed", head: answerHead{consumed: 1, examined: 1, dropped: 2}},
		{name: "dropped without a state", head: answerHead{consumed: 1, examined: 1, dropped: 1}},
		{name: "more skipped than consumed", head: answerHead{consumed: 1, examined: 1, skipped: 2}},
		{name: "state too long", head: answerHead{stateLen: codecs.MaxState + 1}},
		{name: "state without end", head: answerHead{stateLen: math.MaxUint32}},
		{name: "text too long", head: answerHead{bits: bitFault, faultKind: 2, textLen: maxText + 1}},
		{name: "text without end", head: answerHead{bits: bitFault, faultKind: 2, textLen: math.MaxUint32}},
		{name: "text too long for a fault", head: answerHead{bits: bitFault, faultKind: 2, textLen: 201}},
		{name: "a fault of no kind", head: answerHead{bits: bitFault}},
		{name: "a fault of an unknown kind", head: answerHead{bits: bitFault, faultKind: uint32(len(codeccall.FaultKinds))}},
		{name: "a fault of a kind beyond an int", head: answerHead{bits: bitFault, faultKind: math.MaxUint32}},
		{name: "a fault nowhere", head: answerHead{bits: bitFault, faultKind: 2, faultOffset: -1}},
		{name: "a fault far away", head: answerHead{bits: bitFault, faultKind: 2, faultOffset: math.MaxInt64, faultAt: math.MaxInt64}},
		{name: "a fault before its frame", head: answerHead{bits: bitFault, faultKind: 2, faultOffset: 3, faultAt: 2, faultResume: 4}},
		{name: "a fault that resumes where it is", head: answerHead{bits: bitFault, faultKind: 2, faultOffset: 3, faultAt: 3, faultResume: 3}},
		{name: "a fault that resumes beyond all streams", head: answerHead{bits: bitFault, faultKind: 2, faultResume: math.MaxInt64}},
		{name: "truncated before the end", head: answerHead{bits: bitFault, faultKind: 3, faultAt: shown, faultResume: -1}},
		{name: "malformed by its length", head: answerHead{bits: bitFault, faultKind: 2, faultResume: -1, announced: 101}},
		{name: "too long by a length that may be", head: answerHead{bits: bitFault, faultKind: 1, faultResume: -1, announced: 100}, encodes: true},
		{name: "too long by its length", head: answerHead{bits: bitFault, faultKind: 1, faultResume: -1, announced: 101}, decodes: true, encodes: true},
		{name: "a fault of a decoder", head: answerHead{bits: bitFault, faultKind: 2, faultResume: -1}, decodes: true},
		{name: "a fault of an encoder", head: answerHead{bits: bitFault, faultKind: 4}, encodes: true},
		{name: "more and a fault", head: answerHead{bits: bitFault | bitMore, faultKind: 2, faultResume: -1}},
		{name: "more for ever", head: answerHead{bits: bitMore}},
		{name: "more where nothing can help", head: answerHead{bits: bitMore, roomNeeded: 5000}},
		{name: "bits that nobody knows", head: answerHead{bits: 0xffff_fff8}, decodes: true},
		{name: "payloads", head: answerHead{entries: 2, consumed: 10, examined: 10, size: 3},
			refs: []codecs.Ref{{Off: 0, Len: 4}, {Off: 10, Len: 3}}, decodes: true},
		{name: "payloads beyond the data", head: answerHead{entries: 1, consumed: 10, examined: 10, size: 3},
			refs: []codecs.Ref{{Off: 10, Len: 4}}},
		{name: "payloads across", head: answerHead{entries: 1, consumed: 10, examined: 10, size: 3}, refs: []codecs.Ref{{Off: 9, Len: 2}}},
		{name: "payloads that wrap around", head: answerHead{entries: 1, consumed: 10, examined: 10},
			refs: []codecs.Ref{{Off: math.MaxUint32, Len: 2}}},
		{name: "payloads beyond the limit", head: answerHead{entries: 1, consumed: 10, examined: 10}, refs: []codecs.Ref{{Len: math.MaxUint32}}},
		{name: "payloads in what was not consumed", head: answerHead{entries: 1, consumed: 3, examined: 3}, refs: []codecs.Ref{{Off: 2, Len: 2}}},
		{name: "frames", head: answerHead{entries: 4, size: 8}, ends: []uint32{2, 4, 4, 8}, encodes: true},
		{name: "wire after the last frame", head: answerHead{entries: 4, size: 9}, ends: []uint32{2, 4, 4, 8}},
		{name: "frames beyond the wire", head: answerHead{entries: 4, size: 8}, ends: []uint32{2, 4, 4, 9}},
		{name: "frames that run backwards", head: answerHead{entries: 4, size: 8}, ends: []uint32{4, 2, 8, 8}},
		{name: "frames that were not asked for", head: answerHead{entries: 5, size: 8}},
		{name: "too few frames", head: answerHead{entries: 3, size: 8}, ends: []uint32{2, 4, 8}},
	} {
		say(test.head, test.refs, test.ends)
		err := decode()
		if isRight := err == nil; isRight != test.decodes || !isRight && !errors.Is(err, codeccall.ErrMisbehaved) {
			t.Errorf("decode: %s: got %v", test.name, err)
		}
		err = encode()
		if isRight := err == nil; isRight != test.encodes || !isRight && !errors.Is(err, codeccall.ErrMisbehaved) {
			t.Errorf("encode: %s: got %v", test.name, err)
		}
	}
	say(answerHead{bits: bitFailed, textLen: math.MaxUint32, entries: math.MaxUint32}, nil, nil)
	for _, err := range []error{decode(), encode()} {
		if !errors.Is(err, codeccall.ErrCodecFailed) || len(err.Error()) > maxText+100 {
			t.Errorf("failed at length: got %.100v", err)
		}
	}
	if d.in.lent != 0 || d.out.lent != 0 {
		t.Errorf("%d and %d blocks are lent", d.in.lent, d.out.lent)
	}
}

// The skipped faults in an answer are copied, and the copy is checked against the call.
func TestSkippedFaultsThatBreakTheContract(t *testing.T) {
	var head answerHead
	var entries []faultEntry
	var texts []wantEntry
	d := impersonate(t, func(d *double, c *callSlot, a *answerSlot) {
		a.head = head
		wants, faults := faultsIn(d.memory(c.faults))
		copy(wants, texts)
		copy(faults, entries)
	})
	on := d.open(hundred)
	const shown, skips = 10, 3
	decode := func(out *codeccall.Decoded) error {
		return on.Decode(t.Context(), &codeccall.Decode{Wire: make([]byte, shown), Room: 20, Skips: skips}, out)
	}
	one := faultEntry{kind: 2, offset: 1, at: 1, resume: 2}
	lf := wantEntry{length: 2, text: [codeccall.MaxWant]byte{'L', 'F'}}
	for _, test := range []struct {
		name   string
		head   answerHead
		faults []faultEntry
		wants  []wantEntry
		right  bool
	}{
		{"one", answerHead{consumed: 2, examined: 2, faults: 1, wants: 1}, []faultEntry{one}, []wantEntry{lf}, true},
		{"as many as may be, and all texts", answerHead{consumed: 6, examined: 6, faults: 3, wants: codeccall.MaxWants},
			[]faultEntry{one, {kind: 1, offset: 2, at: 9, resume: 4, want: 15}, {kind: 2, offset: 4, at: 4, resume: 6, want: 15}},
			slices.Repeat([]wantEntry{lf}, codeccall.MaxWants), true},
		{"more than there is room for", answerHead{consumed: 6, examined: 6, faults: skips + 1, wants: 1}, []faultEntry{one}, []wantEntry{lf}, false},
		{"as many as can be counted", answerHead{consumed: 6, examined: 6, faults: math.MaxUint32, wants: 1}, nil, nil, false},
		{"more texts than there is room for", answerHead{consumed: 6, examined: 6, faults: 1, wants: codeccall.MaxWants + 1},
			[]faultEntry{one}, []wantEntry{lf}, false},
		{"texts without end", answerHead{consumed: 6, examined: 6, faults: 1, wants: math.MaxUint32}, []faultEntry{one}, nil, false},
		{"a text that is too long", answerHead{consumed: 6, examined: 6, faults: 1, wants: 1}, []faultEntry{one},
			[]wantEntry{{length: codeccall.MaxWant + 1}}, false},
		{"a text without end", answerHead{consumed: 6, examined: 6, faults: 1, wants: 1}, []faultEntry{one},
			[]wantEntry{{length: math.MaxUint32}}, false},
		{"a text that is not there", answerHead{consumed: 2, examined: 2, faults: 1}, []faultEntry{one}, nil, false},
		{"a text far away", answerHead{consumed: 2, examined: 2, faults: 1, wants: 1},
			[]faultEntry{{kind: 2, offset: 1, at: 1, resume: 2, want: math.MaxUint32}}, []wantEntry{lf}, false},
		{"no kind", answerHead{consumed: 2, examined: 2, faults: 1, wants: 1}, []faultEntry{{offset: 1, at: 1, resume: 2}}, []wantEntry{lf}, false},
		{"a kind far away", answerHead{consumed: 2, examined: 2, faults: 1, wants: 1},
			[]faultEntry{{kind: math.MaxUint32, offset: 1, at: 1, resume: 2}}, []wantEntry{lf}, false},
		{"a kind that is not skipped", answerHead{consumed: 2, examined: 2, faults: 1, wants: 1},
			[]faultEntry{{kind: 3, offset: 1, at: 1, resume: 2}}, []wantEntry{lf}, false},
		{"a place after what was consumed", answerHead{consumed: 1, examined: 1, faults: 1, wants: 1}, []faultEntry{one}, []wantEntry{lf}, false},
		{"a place far away", answerHead{consumed: 2, examined: 2, faults: 1, wants: 1},
			[]faultEntry{{kind: 2, offset: math.MaxUint32, at: math.MaxUint32, resume: math.MaxUint32}}, []wantEntry{lf}, false},
		{"bytes dropped that are not there", answerHead{consumed: 2, examined: 2, faults: 1, wants: 1},
			[]faultEntry{{kind: 2, offset: 1, at: 1, resume: 2, dropped: math.MaxUint32}}, []wantEntry{lf}, false},
		{"payloads that are not there", answerHead{consumed: 2, examined: 2, faults: 1, wants: 1},
			[]faultEntry{{kind: 2, offset: 1, at: 1, resume: 2, payloads: math.MaxUint32}}, []wantEntry{lf}, false},
	} {
		d.says.Lock()
		head, entries, texts = test.head, test.faults, test.wants
		d.says.Unlock()
		var out codeccall.Decoded
		err := decode(&out)
		if isRight := err == nil; isRight != test.right || !isRight && !errors.Is(err, codeccall.ErrMisbehaved) {
			t.Errorf("%s: got %v", test.name, err)
		}
		if test.right && (len(out.SkippedFaults) != int(test.head.faults) || out.SkippedFaults[0].Want != "LF") {
			t.Errorf("%s: got %v", test.name, out.SkippedFaults)
		}
	}
	if d.in.lent != 0 || d.out.lent != 0 {
		t.Errorf("%d and %d blocks are lent", d.in.lent, d.out.lent)
	}
}

// An answer to another attempt does not count, however often the host is woken for it.
func TestAnswersToOtherAttempts(t *testing.T) {
	d := impersonateLane(t, 0, func(d *double, l *serverLane) {
		r := rand.New(rand.NewPCG(1, 2))
		d.eachCall(l, func(slot uint32) {
			c, a := &l.control.calls[slot], &l.state.answers[slot]
			a.head = answerHead{consumed: 1, examined: 1}
			for _, attempt := range []uint64{0, c.attempt - 1, c.attempt + 1, c.attempt + 1<<32, math.MaxUint64, r.Uint64() &^ 0xffff} {
				if a.attempt.Store(attempt); attempt != c.attempt {
					writeByte(l.signal)
				}
			}
			// No call uses the other slots.
			l.state.answers[(slot+1)%slotCount].attempt.Store(c.attempt)
			a.head = answerHead{}
			d.answer(l, slot)
		})
	})
	on := d.open(hundred)
	for i := range 300 {
		var out codeccall.Decoded
		wire := make([]byte, 1+i%2*2*quickCall) // quick calls, and those that park at once
		if err := on.Decode(t.Context(), &codeccall.Decode{Wire: wire}, &out); i%2 == 0 && (err != nil || out.Consumed != 0) {
			t.Fatalf("got %+v, %v", out, err)
		}
	}
}

// Wrong values of nap only cost the process its wake-ups, and the host nothing: this process never sleeps, so it misses none.
func TestNaps(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	var stop atomic.Bool
	d := impersonateLane(t, 0, func(d *double, l *serverLane) {
		for !stop.Load() {
			for taken := l.taken.Load(); taken != l.control.head.Load(); taken++ {
				d.answer(l, l.control.ring[taken%slotCount])
				writeByte(l.signal)
				l.taken.Store(taken + 1)
			}
			l.state.nap.Store(r.Uint32())
			runtime.Gosched()
		}
	})
	defer stop.Store(true)
	var all sync.WaitGroup
	for range 4 {
		on := d.open(hundred)
		all.Go(func() {
			var out codeccall.Decoded
			for range 500 {
				if err := on.Decode(context.Background(), &codeccall.Decode{}, &out); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// FuzzAnswer writes its input as a process would: an answer, its table and its data. For any input, the host has either a result
// that passes its checks or an error.
func FuzzAnswer(f *testing.F) {
	f.Add(true, []byte{}, []byte{}, []byte{})
	seed := func(h answerHead) []byte {
		b, err := binary.Append(nil, binary.NativeEndian, []uint32{
			h.bits, h.entries, h.size, h.consumed, h.examined, h.need, h.roomNeeded, h.skipped, h.stateLen, h.textLen, h.faultKind, h.dropped,
		})
		if err != nil {
			f.Fatal(err)
		}
		b, err = binary.Append(b, binary.NativeEndian, []int64{h.faultOffset, h.faultAt, h.faultResume, int64(h.announced)})
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	refs := []byte("\x00\x00\x00\x00\x02\x00\x00\x00\x40\x00\x00\x00\x03\x00\x00\x00")
	f.Add(true, seed(answerHead{entries: 2, size: 5, consumed: 4, examined: 5, stateLen: 3}), refs, []byte("hello"))
	f.Add(true, seed(answerHead{bits: bitFault, faultKind: 2, faultOffset: 1, faultAt: 2, faultResume: 3, textLen: 4}), refs, []byte{})
	f.Add(true, seed(answerHead{bits: bitFailed, textLen: math.MaxUint32}), []byte{}, []byte{})
	f.Add(false, seed(answerHead{entries: 3, size: 9}), []byte("\x03\x00\x00\x00\x03\x00\x00\x00\x09\x00\x00\x00"), []byte("wire wire"))
	f.Add(false, seed(answerHead{bits: bitMore, entries: 1, size: 9}), []byte("\x03\x00\x00\x00"), []byte("wire wire"))
	f.Add(false, seed(answerHead{bits: bitFault, faultKind: 4, faultAt: 1}), []byte{}, []byte{})

	var raw, table, data []byte
	d := impersonate(f, func(d *double, c *callSlot, a *answerSlot) {
		into := a.raw()
		copy(into[copy(into, raw):], make([]byte, 200))
		copy(d.memory(c.entries), table)
		copy(d.memory(c.data), data)
	})
	on := d.open(hundred)
	wire := []byte(strings.Repeat("0123456789abcdef", 4))
	payloads := []codecs.Ref{{Off: 0, Len: 3}, {Off: 3, Len: 0}, {Off: 62, Len: 2}}
	f.Fuzz(func(t *testing.T, decodes bool, answer, entries, bytes []byte) {
		d.says.Lock()
		raw, table, data = answer, entries, bytes
		d.says.Unlock()
		lent := d.out.lent
		if decodes {
			in := &codeccall.Decode{Wire: wire, Room: 64, Borrow: len(bytes)%2 == 0}
			out := codeccall.Decoded{Refs: make([]codecs.Ref, 0, 10)}
			err := on.Decode(context.Background(), in, &out)
			refuse(t, err, out.Lent != nil, func() error { return in.Check(&hundred, &out) })
			for _, r := range out.Refs {
				if err == nil && int(r.Off)+int(r.Len) > len(wire)+len(out.Data) {
					t.Errorf("payload at %+v", r)
				}
			}
			out.Return()
		} else {
			in := &codeccall.Encode{Wire: wire, Refs: payloads, Room: 64, Borrow: len(bytes)%2 == 0}
			var out codeccall.Encoded
			err := on.Encode(context.Background(), in, &out)
			refuse(t, err, out.Lent != nil, func() error { return in.Check(&hundred, &out) })
			out.Return()
		}
		if d.out.lent != lent || d.in.lent != 0 {
			t.Errorf("%d and %d blocks are lent", d.in.lent, d.out.lent)
		}
	})
}

// refuse checks the result of an answer that may have been anything.
func refuse(t *testing.T, err error, borrowed bool, check func() error) {
	t.Helper()
	switch {
	case err == nil:
		if err := check(); err != nil {
			t.Errorf("a result was let pass: %v", err)
		}
	case borrowed:
		t.Error("a result that was refused is borrowed")
	case !errors.Is(err, codeccall.ErrMisbehaved) && !errors.Is(err, codeccall.ErrCodecFailed):
		t.Errorf("got %v", err)
	}
}

// A change that a process makes while the host reads, or later, is either seen or not. A checked result does not change, except
// for the bytes that are used in place.
func TestAnswersThatChange(t *testing.T) {
	d := impersonate(t, func(_ *double, c *callSlot, a *answerSlot) {
		a.head = answerHead{size: c.data.length / 2}
		if c.kind == kindDecode {
			a.head.consumed, a.head.examined = c.wire.length, c.wire.length
		}
	})
	on := d.open(hundred)
	var stop atomic.Bool
	var scribbler sync.WaitGroup
	defer scribbler.Wait()
	defer stop.Store(true)
	scribbler.Go(func() {
		r := rand.New(rand.NewPCG(1, 5))
		d.server.mu.Lock()
		slots := &stateOf(d.server.common[1])[0].answers
		d.server.mu.Unlock()
		for !stop.Load() {
			for range 100 {
				raw := slots[r.IntN(4)].raw() // the slots in use: free slots are taken from the first
				raw[r.IntN(100)] = byte(r.Uint32() >> r.IntN(32))
				for _, segment := range *d.server.segments.Load() {
					func() {
						debug.SetPanicOnFault(true)
						defer func() { _ = recover() }() // the input of a call can't be written
						segment[r.IntN(1000)] = byte(r.Uint32())
					}()
				}
			}
			runtime.Gosched()
		}
	})
	wire := []byte(strings.Repeat("0123456789abcdef", 4))
	payloads := []codecs.Ref{{Off: 0, Len: 3}, {Off: 3, Len: 0}, {Off: 62, Len: 2}}
	for range 2000 {
		in := &codeccall.Decode{Wire: wire, Room: 64, Borrow: true}
		var out codeccall.Decoded
		err := on.Decode(t.Context(), in, &out)
		refuse(t, err, out.Lent != nil, func() error { return in.Check(&hundred, &out) })
		out.Return()
		back := &codeccall.Encode{Wire: wire, Refs: payloads, Room: 64, Borrow: true}
		var encoded codeccall.Encoded
		err = on.Encode(t.Context(), back, &encoded)
		refuse(t, err, encoded.Lent != nil, func() error { return back.Check(&hundred, &encoded) })
		encoded.Return()
	}
	if string(wire) != strings.Repeat("0123456789abcdef", 4) {
		t.Errorf("the wire is %q", wire)
	}
}
