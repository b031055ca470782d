package escape

import "github.com/framehost/framehost/codecs"

// Encode implements codecs.Encoder.
func (f *framing) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	maxWire := f.MaxWire(f.maxFrame)
	for i := range in.Len() {
		payload := in.At(i)
		switch {
		case len(payload) > f.maxFrame:
			return i, &codecs.Fault{At: f.maxFrame, Err: codecs.ErrTooLong, Want: wantAtMost(f.maxFrame)}
		case len(payload) == 0 && f.empty == codecs.EmptySkip:
			out.Skip()
			continue
		case len(payload) == 0 && f.empty == codecs.EmptyRefuse:
			return i, unrepresentable(0, "a payload of at least 1 byte")
		}
		if at, want := f.style.refuse(payload); at >= 0 {
			return i, unrepresentable(at, want)
		}
		plain, most := f.style.stuffing(payload)
		b, err := out.Grow(min(len(f.front)+most+len(f.back), maxWire))
		if err != nil {
			return i, err
		}
		before := len(b)
		b = append(append(b, f.front...), payload[:plain]...)
		b = append(f.style.stuff(b, payload, plain), f.back...)
		if len(b)-before > maxWire {
			return i, unrepresentable(len(payload), wantWire(maxWire))
		}
		if err := out.Commit(b); err != nil {
			return i, err
		}
	}
	return in.Len(), nil
}

func unrepresentable(at int, want string) *codecs.Fault {
	return &codecs.Fault{At: at, Err: codecs.ErrUnrepresentable, Want: want}
}
