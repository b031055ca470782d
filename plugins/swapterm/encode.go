package swapterm

import (
	"fmt"

	"github.com/framehost/framehost/codecs"
)

// Encode writes plain frames if possible, else frames that declare a terminator.
func (f *framing) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	st, err := f.readState(in.State)
	if err != nil || st.discarding {
		return 0, errState
	}
	var memory [longest]byte // for the terminator in force, because scratch memory goes back to the pool
	inForce := memory[:copy(memory[:], st.terminator)]
	s := f.scratch.Get().(*scratch)
	defer f.scratch.Put(s)
	for i := range in.Len() {
		payload := in.At(i)
		switch {
		case len(payload) > f.maxFrame:
			return i, &codecs.Fault{
				At: f.maxFrame, Err: codecs.ErrTooLong, Want: fmt.Sprintf("a payload of at most %d bytes", f.maxFrame),
			}
		case len(payload) == 0 && f.empty == codecs.EmptySkip:
			out.Skip()
			continue
		case len(payload) == 0 && f.empty == codecs.EmptyRefuse:
			return i, &codecs.Fault{Err: codecs.ErrUnrepresentable, Want: "a payload that is not empty"}
		}
		if f.plain(payload, inForce) {
			wire, err := out.Grow(len(payload) + len(inForce))
			if err != nil {
				return i, err
			}
			if err := out.Commit(append(append(wire, payload...), inForce...)); err != nil {
				return i, err
			}
			continue
		}
		wire, err := out.Grow(f.header() + len(payload) + f.length)
		if err != nil {
			return i, err
		}
		t := f.search(s, payload)
		if t == nil {
			return i, f.noTerminator()
		}
		wire = append(append(append(wire, f.marker...), t...), f.suffix...)
		if err := out.Commit(append(append(wire, payload...), t...)); err != nil {
			return i, err
		}
		if f.stream {
			inForce = memory[:copy(memory[:], t)]
			var buf [1 + longest]byte
			out.SetState(f.between(&buf, inForce))
		}
	}
	return in.Len(), nil
}

// plain reports whether payload, followed by t, is a frame that can't be read as anything else.
func (f *framing) plain(payload, t []byte) bool {
	return !f.always && !f.likeMarker(payload, t) && endsFirst(payload, t)
}

// likeMarker reports whether "payload t" begins with the marker, or is itself a beginning of the marker.
func (f *framing) likeMarker(payload, t []byte) bool {
	n := min(len(payload), len(f.marker))
	if string(payload[:n]) != string(f.marker[:n]) {
		return false
	}
	return n == len(f.marker) || alike(t, f.marker[n:])
}

func (f *framing) noTerminator() *codecs.Fault {
	return &codecs.Fault{Err: codecs.ErrUnrepresentable, Want: fmt.Sprintf("a payload that some terminator can follow: "+
		"each of length %d, out of the pool of %d bytes, would end this one early", f.length, len(f.pool))}
}
