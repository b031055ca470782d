package host

import (
	"context"
	"fmt"

	"github.com/framehost/framehost/host/config"
)

// checkStateless refuses what a hub can't have, nor a route that answers datagrams: receivers get whole frames there, in
// whatever order they come, so that frames may not depend on each other.
func (s *Codecs) checkStateless(ctx context.Context, r *config.Route) error {
	if !r.IsHub() && !answers(r) {
		return nil
	}
	var errs []error
	for _, e := range r.Sides() {
		if e.Codec == config.NoCodec && !e.Datagrams() {
			errs = append(errs, config.Errors{e.At.Error("codec none, on a stream that is joined with others or with datagrams",
				"a codec that knows where frames end")})
		}
		for _, key := range uses(s.config, r, e) {
			codec, err := s.Codec(ctx, key.name, key.maxFrame)
			if err != nil {
				return err
			}
			if codec.Properties().UsesState {
				errs = append(errs, config.Errors{e.At.Error(
					fmt.Sprintf("codec %s, whose frames depend on those before them", key.name),
					"a codec without state in a hub or for datagrams")})
			}
		}
	}
	return config.Join(errs...)
}
