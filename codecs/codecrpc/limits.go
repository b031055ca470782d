package codecrpc

import (
	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// This file limits the size of calls and answers, once for both ends; PROTOCOL.md promises these limits to plugins in
// other languages. If a caller hands over more, the client makes the call with the part that is allowed and sets More in
// the result, so that the caller calls again at once with the rest.

// maxBatch is how many bytes a call or an answer may carry in addition to one frame of the greatest length.
const maxBatch = 1 << 20

// maxData returns how many bytes a call may carry: for a decode the wire shown, including bytes that the process kept;
// for an encode the payloads. The greatest frame has maxFrame bytes of payload and maxWire bytes of wire.
func (k kind) maxData(maxFrame, maxWire int) uint64 {
	if k == kindEncode {
		return uint64(maxFrame) + maxBatch
	}
	return uint64(maxWire) + maxBatch
}

// maxRoom returns the greatest room, in bytes, that a call may give its answer: for a decode room for payloads that are
// built, for an encode for wire. It is enough for any frame, so a codec never needs more.
func (k kind) maxRoom(maxFrame, maxWire int) uint64 {
	if k == kindEncode {
		return uint64(maxWire) + maxBatch
	}
	return uint64(maxFrame) + maxBatch
}

// limitDecode returns the call to make for in, and reports whether it shows less than in. A call that shows less is still
// longer than any frame, so its result always consumes some of it or is a fault.
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

// limitEncode returns the call to make for in, and reports whether it has fewer payloads than in. It has none only if
// the first payload is too long for any call.
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

// longerThanAnyCall sets out to the result for payloads of which the first is longer than any call may carry, and so
// longer than MaxFrame. The codec need not see it.
func longerThanAnyCall(in *codeccall.Encode, p *codeccall.Properties, out *codeccall.Encoded) {
	*out = codeccall.Encoded{
		Wire: out.Wire[:0], Ends: out.Ends[:0], State: append(out.State[:0], in.State...),
		Fault: codeccall.PayloadTooLong(p.MaxFrame),
	}
}
