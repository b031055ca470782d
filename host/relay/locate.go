package relay

import (
	"context"

	"github.com/framehost/framehost/codecs/codeccall"
)

// A located is the place of the frame of a payload in the wire of a batch.
type located struct {
	index int
	at    int // where the frame begins in batch.shown
	state []byte
}

// begin returns the position in the stream of payload index of b, and whether codec built the payload. For a built payload, the
// position is the beginning of its frame or, if that can't be found, the end of the last payload before it that is part of the wire.
func (b *batch) begin(ctx context.Context, codec codeccall.Codec, index int) (offset int64, built bool) {
	refs := b.found.Refs
	for i := index; i >= 0; i-- {
		from, to := int(refs[i].Off), int(refs[i].Off)+int(refs[i].Len)
		if to > len(b.shown) || from == len(b.shown) { // payload i was built, or is empty and at the end of the wire
			if i == index && b.locate(ctx, codec, index) {
				return b.offset + int64(b.located.at), true
			}
			continue
		}
		if i == index {
			return b.offset + int64(from), false
		}
		return b.offset + int64(to), true
	}
	return b.offset, true
}

// locate finds the frame of payload index, which was built, sets b.located and returns true. It decodes the wire once more, with room
// for only the payloads before that one, so that the codec stops before its frame. A codec that requires more room than it uses stops
// earlier; then locate returns false.
func (b *batch) locate(ctx context.Context, codec codeccall.Codec, index int) bool {
	known := &b.located
	if known.index > index || codec == nil {
		return false
	}
	if known.index == 0 && known.at == 0 {
		known.state = append(known.state[:0], b.state...)
	}
	room := 0
	for _, ref := range b.found.Refs[known.index:index] {
		if int(ref.Off) >= len(b.shown) {
			room += int(ref.Len)
		}
	}
	in := codeccall.Decode{Wire: b.shown[known.at:], State: known.state, Room: room, Lent: b.lent}
	if len(b.found.SkippedFaults) > 0 {
		in.Skips = codeccall.MaxSkips
	}
	var out codeccall.Decoded
	decoder := codec.Open()
	defer decoder.Close()
	if err := decoder.Decode(ctx, &in, &out); err != nil || len(out.Refs) != index-known.index {
		return false
	}
	known.index, known.at, known.state = index, known.at+out.Consumed, append(known.state[:0], out.State...)
	return true
}
