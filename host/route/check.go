package route

import (
	"context"
	"fmt"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/plugins"
	"github.com/framehost/framehost/host/relay"
)

// Check makes the checks of a route that need its codecs, which s has configured. The error lists everything that is wrong.
func Check(ctx context.Context, s *plugins.Set, r *config.Route) error {
	return config.Join(checkMemory(ctx, s, r), checkStateless(ctx, s, r))
}

// checkMemory refuses a route whose longest frames need more memory than limits.memory.
func checkMemory(ctx context.Context, s *plugins.Set, r *config.Route) error {
	if s.Config().Limits.Memory == 0 {
		return nil
	}
	sides := r.Sides()
	for i, from := range sides {
		for _, to := range sides[i+1:] {
			some, others := plugins.KeysOfSide(s.Config(), r, from), plugins.KeysOfSide(s.Config(), r, to)
			if err := checkMemoryBetween(ctx, s, r, some, others); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkMemoryBetween(ctx context.Context, s *plugins.Set, r *config.Route, some, others []plugins.Key) error {
	limit := int64(s.Config().Limits.Memory)
	for _, downstream := range some {
		for _, upstream := range others {
			from, err := s.Codec(ctx, downstream.Name, downstream.MaxFrame)
			if err != nil {
				return err
			}
			to, err := s.Codec(ctx, upstream.Name, upstream.MaxFrame)
			if err != nil {
				return err
			}
			frame := relay.FrameMemory
			if r.IsHub() || answers(r) { // a session that answers datagrams is a hub too
				frame = relay.HubFrameMemory
			}
			if need := max(frame(from, to), frame(to, from)); need > limit {
				return config.Errors{r.At.Error(
					fmt.Sprintf("codecs %s and %s, between which a frame takes up to %d bytes of memory",
						downstream.Name, upstream.Name, need),
					fmt.Sprintf("no more than limits.memory, %d bytes", limit))}
			}
		}
	}
	return nil
}

// checkStateless refuses codecs that neither a hub nor a route that answers datagrams can use. Receivers there get whole
// frames in any order, so the codec must know where frames end, and frames must not depend on each other.
func checkStateless(ctx context.Context, s *plugins.Set, r *config.Route) error {
	if !r.IsHub() && !answers(r) {
		return nil
	}
	var errs []error
	for _, e := range r.Sides() {
		if e.Codec == config.NoCodec && !e.Datagrams() {
			errs = append(errs, config.Errors{e.At.Error("codec none on a stream, in a hub or on a route that answers datagrams",
				"a codec that knows where frames end")})
		}
		for _, key := range plugins.KeysOfSide(s.Config(), r, e) {
			codec, err := s.Codec(ctx, key.Name, key.MaxFrame)
			if err != nil {
				return err
			}
			if codec.Properties().UsesState {
				errs = append(errs, config.Errors{e.At.Error(
					fmt.Sprintf("codec %s, whose frames depend on those before them", key.Name),
					"a codec without state in a hub or for datagrams")})
			}
		}
	}
	return config.Join(errs...)
}
