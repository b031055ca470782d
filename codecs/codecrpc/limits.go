package codecrpc

import (
	"fmt"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// What a call may carry and be answered with is decided here, once for both ends; PROTOCOL.md promises it to plugins in
// other languages. A caller may hand over more: the client then makes the call with the part that is allowed, and the
// result says More, so that the caller calls again at once with the rest.

// maxBatch is how many bytes a call may carry, and be answered with, beyond one frame of the greatest length.
const maxBatch = 1 << 20

// maxData returns how many bytes a call may carry: of a decode the wire shown, what was kept included, and of an encode
// the payloads. The greatest frame has maxFrame bytes of payload and maxWire of wire.
func (k kind) maxData(maxFrame, maxWire int) uint64 {
	if k == kindEncode {
		return uint64(maxFrame) + maxBatch
	}
	return uint64(maxWire) + maxBatch
}

// maxRoom returns how many bytes the answer to a call may be given room for: of a decode payloads that are built, of an
// encode wire. It is enough for any frame, so a codec never has to ask for more.
func (k kind) maxRoom(maxFrame, maxWire int) uint64 {
	if k == kindEncode {
		return uint64(maxWire) + maxBatch
	}
	return uint64(maxFrame) + maxBatch
}

// limitDecode returns the call to make for in, and whether it shows less than in does. What it shows is longer than any
// frame, so the result always takes some of it or is a fault.
func limitDecode(in *codeccall.Decode, p *codeccall.Properties) (limited codeccall.Decode, partly bool) {
	limited = *in
	limited.Room = int(min(uint64(in.Room), kindDecode.maxRoom(p.MaxFrame, p.MaxWire)))
	most := kindDecode.maxData(p.MaxFrame, p.MaxWire)
	if uint64(len(in.Wire)) <= most {
		return limited, false
	}
	limited.Wire, limited.EOF, limited.Examined = in.Wire[:most], false, min(in.Examined, int(most))
	return limited, true
}

// limitEncode returns the call to make for in, and whether it hands over fewer payloads than in does. It hands over none
// only where the first is too long for any call.
func limitEncode(in *codeccall.Encode, p *codeccall.Properties) (limited codeccall.Encode, partly bool) {
	limited = *in
	limited.Room = int(min(uint64(in.Room), kindEncode.maxRoom(p.MaxFrame, p.MaxWire)))
	left := kindEncode.maxData(p.MaxFrame, p.MaxWire)
	for i, r := range in.Refs {
		if uint64(r.Len) > left || i == codecs.MaxPayloads {
			limited.Refs, limited.EOF = in.Refs[:i], false
			return limited, true
		}
		left -= uint64(r.Len)
	}
	return limited, false
}

// longerThanAnyCall makes out the result for payloads of which the first is longer than any call may carry, and so far
// beyond the limit for a payload. No codec needs to see it.
func longerThanAnyCall(in *codeccall.Encode, p *codeccall.Properties, out *codeccall.Encoded) {
	out.Return()
	*out = codeccall.Encoded{
		Wire: out.Wire[:0], Ends: out.Ends[:0], State: append(out.State[:0], in.State...),
		Fault: &codecs.Fault{
			At: p.MaxFrame, Err: codecs.ErrTooLong, Want: fmt.Sprintf("a payload of at most %d bytes", p.MaxFrame),
		},
	}
}
