package codectest

import (
	"encoding/binary"
	"testing"

	"github.com/framehost/framehost/codecs"
)

// counted is a framing of payloads that follow their length in two bytes. The zero value is correct; each field adds one mistake.
type counted struct {
	extra int  // added to the need
	late  bool // a frame that is too long is reported only when it is complete
	wide  bool // its longest wire is not known
	at    int  // where a late report says that it was certain
}

func (c counted) MaxWire(maxFrame int) int {
	if c.wide {
		return codecs.DefaultMaxWire(maxFrame)
	}
	return 2 + maxFrame
}

func (c counted) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	pos := 0
	for pos < len(in.Bytes) {
		rest := in.Bytes[pos:]
		need := 2
		if len(rest) >= 2 {
			need += int(binary.BigEndian.Uint16(rest))
			tooLong := &codecs.Fault{Offset: pos, At: pos + 1, Err: codecs.ErrTooLong, Want: "a shorter payload", Resume: pos + need}
			if c.late {
				tooLong.At = pos + c.at
			}
			if need > 2+in.MaxFrame && (!c.late || len(rest) >= need) {
				return pos, tooLong
			}
		}
		switch {
		case len(rest) >= need:
			if err := out.Refer(pos+2, pos+need); err != nil {
				return pos, err
			}
			pos += need
		case in.EOF:
			return pos, &codecs.Fault{Offset: pos, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: "all of the frame", Resume: len(in.Bytes)}
		default:
			out.SetNeed(need + c.extra)
			return pos, nil
		}
	}
	return pos, nil
}

func (counted) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	for i := range in.Len() {
		payload := in.At(i)
		if len(payload) > 1<<16-1 {
			return i, &codecs.Fault{Err: codecs.ErrUnrepresentable, Want: "at most 65535 bytes"}
		}
		wire, err := out.Grow(2 + len(payload))
		if err != nil {
			return i, err
		}
		wire = binary.BigEndian.AppendUint16(wire, uint16(len(payload)))
		if err := out.Commit(append(wire, payload...)); err != nil {
			return i, err
		}
	}
	return in.Len(), nil
}

func TestCodecThatSaysWhatItNeeds(t *testing.T) {
	Run(t, codecOf(counted{}), Case{Accept: []string{"hi", ""}})
}
