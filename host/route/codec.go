package route

import (
	"context"
	"fmt"

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

// tappedCodec returns the route's codec of that name. If log.payload_bytes is set and log writes level trace, the codec logs
// the payloads that it decodes.
func (r *Route) tappedCodec(ctx context.Context, log hclog.Logger, name string) (codeccall.Codec, error) {
	codec, err := r.codec(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("codec %s: %w", name, err)
	}
	if n := r.shared.PayloadBytes; n > 0 && log.IsTrace() {
		return tapped{Codec: codec, log: log.With("codec", name), bytes: n}, nil
	}
	return codec, nil
}

// codec returns the route's codec of that name, which was configured when the route started.
func (r *Route) codec(ctx context.Context, name string) (codeccall.Codec, error) {
	for {
		codecs := r.Codecs()
		codec, err := codecs.Codec(ctx, name, r.config.MaxFrame(codecs.Config().Codec(name)))
		if err == nil || r.Codecs() == codecs { // otherwise a reload has put another Set in their place and closed them
			return codec, err
		}
	}
}
