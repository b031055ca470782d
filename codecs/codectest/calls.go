package codectest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/framehost/framehost/codecs/codeccall"
)

// callsAgain checks that results depend on nothing but the call. Another instance of the codec repeats calls of several
// streams, in another order: each as it was, and with nothing examined.
func (s *suite) callsAgain() {
	type decodeCall struct {
		in  codeccall.Decode
		out codeccall.Decoded
	}
	type encodeCall struct {
		in  codeccall.Encode
		out codeccall.Encoded
	}
	var decodes []decodeCall
	var encodes []encodeCall
	watch := func(in *codeccall.Decode, out *codeccall.Decoded) error { //nolint:unparam // the type of a reader's watch
		decodes = append(decodes, decodeCall{clone(in), clone(out)})
		return nil
	}
	alphabet := s.framing()
	predictable := true
	for _, e := range s.material(s.effort.streams, s.effort.cutWire/2) {
		for _, wire := range [][]byte{e.wire, s.damage(e.wire, alphabet)} {
			a := s.inChunks(2 * len(wire))
			a.cuts = slices.DeleteFunc(a.cuts, func(k int) bool { return k > len(wire) })
			a.adjust = func(r *reader) { r.watch = watch }
			s.decode(wire, a)
		}
		again := s.encode(e.payloads(), func(w *writer) {
			w.room = s.random.IntN(200)
			w.watch = func(in *codeccall.Encode, out *codeccall.Encoded) error {
				encodes = append(encodes, encodeCall{clone(in), clone(out)})
				return nil
			}
		})
		predictable = predictable && bytes.Equal(again.wire, s.encode(e.payloads(), nil).wire)
	}

	other, err := s.configure(json.RawMessage(s.c.Options), s.maxFrame)
	if err != nil {
		s.t.Fatalf("configured once more: %v", err)
	}
	d := other.Open()
	defer d.Close()
	s.random.Shuffle(len(decodes), func(i, j int) { decodes[i], decodes[j] = decodes[j], decodes[i] })
	for _, call := range decodes[:min(len(decodes), 2*s.effort.payloads)] {
		for _, examined := range []int{call.in.Examined, 0} {
			in, out := call.in, codeccall.Decoded{}
			in.Examined, in.Left = examined, 0
			if err := d.Decode(s.ctx, &in, &out); err != nil {
				s.t.Fatalf("decode of %s, made again: %v", quote(in.Wire), err)
			}
			if got, want := outcome(&out), outcome(&call.out); got != want {
				s.t.Fatalf("decode of %s (eof %t, state %q), made again with %d bytes examined:\n got  %s\n want %s",
					quote(in.Wire), in.EOF, in.State, examined, got, want)
			}
		}
	}
	if !predictable {
		return
	}
	s.random.Shuffle(len(encodes), func(i, j int) { encodes[i], encodes[j] = encodes[j], encodes[i] })
	for _, call := range encodes {
		in, out := call.in, codeccall.Encoded{}
		if err := d.Encode(s.ctx, &in, &out); err != nil {
			s.t.Fatalf("encode of %s%s, made again: %v", quote(in.Wire), quote(in.Data), err)
		}
		if !bytes.Equal(out.Wire, call.out.Wire) || !slices.Equal(out.Ends, call.out.Ends) || !bytes.Equal(out.State, call.out.State) {
			s.t.Fatalf("encode of %s, made again:\n got  %s, state %q\n want %s, state %q",
				quote(in.Wire), quote(out.Wire), out.State, quote(call.out.Wire), call.out.State)
		}
	}
}

// clone returns a copy of a call or a result that shares no slices with it.
func clone[T any](v *T) T {
	c := *v
	fields := reflect.ValueOf(&c).Elem()
	for i := range fields.NumField() {
		if f := fields.Field(i); f.Kind() == reflect.Slice {
			f.Set(reflect.AppendSlice(reflect.MakeSlice(f.Type(), 0, f.Len()), f))
		}
	}
	return c
}

// outcome prints the result of a decode, without the values that only help the next search.
func outcome(out *codeccall.Decoded) string {
	fault := "none"
	for i := range out.SkippedFaults {
		f := &out.SkippedFaults[i]
		fault = fmt.Sprintf("%s; skipped after %d payloads, dropping %d bytes: %s", fault, f.Payloads, f.Dropped, describe(&f.Fault))
	}
	if f := out.Fault; f != nil {
		fault = fmt.Sprintf("%s; %v at %d of %d, want %s, resume %d", fault, f.Err, f.At, f.Offset, f.Want, f.Resume)
	}
	return fmt.Sprintf("payloads %v and %s, consumed %d, skipped %d, more %t (%d), state %q, fault %s",
		out.Refs, quote(out.Data), out.Consumed, out.Skipped, out.More, out.RoomNeeded, out.State, fault)
}

// atTheSameTime checks that calls of many directions may be under way at once. Under the race detector it finds more.
func (s *suite) atTheSameTime() {
	type stream struct {
		*encoding
		want *transcript
	}
	var streams []stream
	for _, e := range s.material(2, s.effort.cutWire/2) {
		streams = append(streams, stream{e, s.decode(e.wire, inOnePiece)})
	}
	failures := make([]error, s.effort.together)
	var all sync.WaitGroup
	for i := range failures {
		all.Go(func() {
			for j := range 2 * len(streams) {
				st := streams[(i+j)%len(streams)]
				if failures[i] = s.alone(st.encoding, st.want, 1+(i+j)%7); failures[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	for _, err := range failures {
		if err != nil {
			s.t.Fatalf("with %d streams at the same time: %v", len(failures), err)
		}
	}
}

// alone encodes and decodes one stream in pieces of step bytes. It runs in a goroutine of its own.
func (s *suite) alone(e *encoding, want *transcript, step int) error {
	w, closeWriter := s.writer()
	defer closeWriter()
	if err := w.write(e.payloads(), true); err != nil {
		return err
	}
	if !slices.Equal(w.got.payloads(), e.payloads()) {
		return fmt.Errorf("wrote payloads %s, want %s", quoteAll(w.got.payloads()), quoteAll(e.payloads()))
	}
	r, closeReader := s.reader()
	defer closeReader()
	a := arrival{}
	for at := step; at < len(e.wire); at += step {
		a.cuts = append(a.cuts, at)
	}
	if err := r.arrive(e.wire, a); err != nil {
		return err
	}
	if !r.got.equal(want) {
		return fmt.Errorf("stream %s in pieces of %d bytes:\n got  %v\n want %v", quote(e.wire), step, &r.got, want)
	}
	return nil
}
