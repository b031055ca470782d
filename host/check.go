package host

import (
	"context"
	"errors"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/lan"
	"github.com/framehost/framehost/host/plugins"
	"github.com/framehost/framehost/host/route"
)

// Check tries c without running it: it starts every plugin, configures every codec with the limits of each route that
// uses it (or with the codec's own, if no route does), encodes and decodes a payload with it, and checks whether the
// sockets and directories could be made. The error lists everything that is wrong; [config.Errors] say where in the
// configuration. Check adds to c.Warnings the settings that are allowed but probably mistakes, and the addresses that are in
// use. It leaves nothing running. log may be nil.
func Check(ctx context.Context, c *config.Config, log hclog.Logger) error {
	return check(ctx, c, nil, log)
}

// CheckReload is like Check, for a configuration that running is to reload: an address that running itself uses does not
// count as in use, and an address that another process uses is an error.
func CheckReload(ctx context.Context, c *config.Config, running *control.Running, log hclog.Logger) error {
	return check(ctx, c, running, log)
}

func check(ctx context.Context, c *config.Config, running *control.Running, log hclog.Logger) (err error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	s := plugins.Open(c, log)
	defer func() { err = errors.Join(err, s.Close()) }()
	keys, unused := everything(c)
	warnings, misplaced := checkPlaces(ctx, c, running)
	errs := []error{s.ConfigureAll(ctx, slices.Clone(keys)), lan.CheckKey(ctx, c), misplaced}
	c.Warnings = slices.Concat(c.Warnings, s.Warnings(), warnings)
	for _, p := range unused {
		if _, err := s.Plugin(ctx, p.Name); err != nil {
			errs = append(errs, config.Errors{p.At.Error(err.Error(), "")})
		}
	}
	if errs[0] != nil {
		return config.Join(errs...) // the checks that follow need configured codecs
	}
	tried := map[plugins.Key]bool{}
	for _, key := range keys {
		if !tried[key] {
			tried[key] = true
			errs = append(errs, s.CheckRoundTrip(ctx, key))
		}
	}
	for i := range c.Routes {
		errs = append(errs, route.Check(ctx, s, &c.Routes[i]))
	}
	return config.Join(errs...)
}

// everything returns all codecs of c, with each limit that they may be used with, and the plugins that no codec uses.
func everything(c *config.Config) (keys []plugins.Key, unused []*config.Plugin) {
	for i := range c.Routes {
		r := &c.Routes[i]
		keys = slices.Concat(keys, plugins.KeysOf(c, r))
	}
	unlimited := &config.Route{Limits: c.Limits}
	for i := range c.Codecs {
		codec := &c.Codecs[i]
		if !slices.ContainsFunc(keys, func(k plugins.Key) bool { return k.Name == codec.Name }) {
			keys = append(keys, plugins.Key{Name: codec.Name, MaxFrame: unlimited.MaxFrame(codec)})
		}
	}
	for i := range c.Plugins {
		p := &c.Plugins[i]
		if !slices.ContainsFunc(c.Codecs, func(codec config.Codec) bool { return codec.Plugin == p.Name }) {
			unused = append(unused, p)
		}
	}
	return keys, unused
}
