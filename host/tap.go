package host

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/codecs/codeccall"
)

// tapped is a codec whose decoded payloads are logged at level trace, the first bytes of each. It exists only where
// log.payload_bytes asks for it.
type tapped struct {
	codeccall.Codec
	log   hclog.Logger
	bytes int
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
