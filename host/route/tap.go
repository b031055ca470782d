package route

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/codecs/codeccall"
)

// tapped is a codec that logs the first bytes of each payload that it decodes, at level trace. tappedCodec makes one only if
// log.payload_bytes is set.
type tapped struct {
	codeccall.Codec
	log   hclog.Logger
	bytes int // how many bytes of a payload are logged at most
}

func (c tapped) Open() codeccall.Direction { return tappedDirection{c.Codec.Open(), c} }

type tappedDirection struct {
	codeccall.Direction
	tap tapped
}

func (d tappedDirection) Decode(ctx context.Context, in *codeccall.Decode, out *codeccall.Decoded) error {
	if err := d.Direction.Decode(ctx, in, out); err != nil {
		return err
	}
	batch := codeccall.Encode{Wire: in.Wire, Data: out.Data, Refs: out.Refs}
	for i := range batch.Refs {
		payload := batch.At(i)
		d.tap.log.Trace("payload", "bytes", len(payload), "begins", hclog.Quote(payload[:min(len(payload), d.tap.bytes)]))
	}
	return nil
}
