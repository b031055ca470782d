package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/host"
	"github.com/framehost/framehost/host/config"
)

// codecArgHelp says in the help of commands what their CODEC may be.
const codecArgHelp = `CODEC is a profile (framehost profiles), a plugin (framehost plugin list), or with -c a codec of that
configuration. -o sets options of a plugin, or changes those of a profile; a value is written as in a
configuration, lists and mappings as in YAML: -o also_accept=[CRLF] -o 'map={0xC0: 0xDC, 0xDB: 0xDD}'.`

// A codecArg is the CODEC of a command, with the flags that say more about it.
type codecArg struct {
	source
	options  []string
	maxFrame string
}

func (a *codecArg) addFlags(cmd *cobra.Command) {
	a.fileFlag(cmd, "a configuration `FILE`, whose codecs and plugins CODEC may name")
	cmd.Flags().StringArrayVarP(&a.options, "option", "o", nil,
		"an option of the codec: `KEY=VALUE`, such as terminator=CRLF; repeatable")
	cmd.Flags().StringVar(&a.maxFrame, "max-frame", "", "the longest payload: a `SIZE` such as 64KiB (default: the codec's own limit, or 1MiB)")
	cmd.ValidArgsFunction = a.complete
}

// complete offers what CODEC may be.
func (a *codecArg) complete(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := a.configuration()
	if err != nil {
		c = config.Default()
	}
	return codecNames(c), cobra.ShellCompDirectiveNoFileComp
}

// A namedCodec is a codec that was asked for in arguments, configured. Its calls go to a plugin process.
type namedCodec struct {
	codeccall.Codec
	name    string          // as it was given
	profile *config.Profile // nil: it is none
}

// A codecSet has the configured codecs of a command, and the plugin processes behind them. The caller closes it.
type codecSet struct {
	*host.Codecs
	config *config.Config
	arg    *codecArg
}

// open prepares for codecs to be used. No process is started before one is.
func (a *codecArg) open() (*codecSet, error) {
	c, err := a.configuration()
	if err != nil {
		return nil, err
	}
	return &codecSet{Codecs: host.OpenCodecs(c, nil), config: c, arg: a}, nil
}

// configuration is the file's, or else one without codecs. Each call returns another.
func (a *codecArg) configuration() (*config.Config, error) {
	if a.file == "" {
		return config.Default(), nil
	}
	return a.load()
}

// use configures the codec that the arguments call name, with options as KEY=VALUE.
func (s *codecSet) use(ctx context.Context, name string, options []string) (*namedCodec, error) {
	c, err := s.find(name, options)
	if err != nil {
		return nil, err
	}
	maxFrame := (&config.Route{Limits: s.config.Limits}).MaxFrame(c)
	if s.arg.maxFrame != "" {
		if maxFrame, err = parseMaxFrame(s.arg.maxFrame); err != nil {
			return nil, err
		}
	}
	codec, err := s.Codec(ctx, c.Name, maxFrame)
	if err != nil {
		return nil, wrongOrFailed(err)
	}
	profile, _ := config.LookupProfile(c.Profile)
	return &namedCodec{Codec: codec, name: name, profile: profile}, nil
}

func parseMaxFrame(text string) (int, error) {
	size, err := config.ParseSize(text)
	if err == nil && (size < 1 || size > config.GiB) {
		err = &config.Error{Got: text, Want: "1B to 1GiB"}
	}
	if err != nil {
		return 0, fmt.Errorf("--max-frame: %w", err)
	}
	return int(size), nil
}

// find returns the codec of the configuration that has this name; or else a new one of it, which is a profile or a
// plugin with options.
func (s *codecSet) find(name string, options []string) (*config.Codec, error) {
	if c := s.config.Codec(name); c != nil {
		if len(options) > 0 {
			return nil, fmt.Errorf("-o: codec %s has its options in %s, want a profile or a plugin", name, s.config.File)
		}
		return c, nil
	}
	plugin, profile := "", name
	if _, ok := config.LookupProfile(name); !ok {
		plugin, profile = name, ""
		if !slices.Contains(builtinNames(), name) && s.config.Plugin(name) == nil {
			return nil, unknownCodec(name, s.config)
		}
	}
	c, err := config.NewCodec(name, plugin, profile, options)
	if err != nil {
		return nil, err
	}
	s.config.Codecs = append(s.config.Codecs, *c)
	return c, nil
}

func unknownCodec(name string, c *config.Config) error {
	where := "a profile or a plugin"
	if c.File != "" {
		where = "a codec of " + c.File + ", a profile or a plugin"
	}
	if near := config.Nearest(name, codecNames(c)); near != "" {
		return fmt.Errorf("unknown codec %q, want %s; did you mean %s?", name, where, near)
	}
	return fmt.Errorf("unknown codec %q, want %s\nsee: framehost profiles, framehost plugin list", name, where)
}

// codecNames returns, sorted, what a CODEC may be.
func codecNames(c *config.Config) []string {
	names := map[string]bool{}
	for i := range c.Codecs {
		names[c.Codecs[i].Name] = true
	}
	for _, name := range slices.Concat(profileNames(), builtinNames(), pluginNames(c)) {
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// withCodec runs work with the codec that the arguments call name, and ends its plugin process afterwards.
func (a *codecArg) withCodec(ctx context.Context, name string, work func(*namedCodec) error) (err error) {
	set, err := a.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, failed(set.Close())) }()
	codec, err := set.use(ctx, name, a.options)
	if err != nil {
		return err
	}
	return work(codec)
}
