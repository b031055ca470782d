package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/plugins"
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
	cmd.Flags().StringVar(&a.maxFrame, "max-frame", "",
		"the longest payload: a `SIZE` such as 64KiB (default: the codec's own limit, or 1MiB)")
	cmd.ValidArgsFunction = a.complete
}

// complete offers what CODEC may be.
func (a *codecArg) complete(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := a.configuration(cmd.Context())
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

// configuration is the file's, or else one without codecs. Each call returns another.
func (a *codecArg) configuration(ctx context.Context) (*config.Config, error) {
	if a.file == "" {
		return config.Default(), nil
	}
	return a.load(ctx)
}

// withCodec runs work with the codec that the arguments call name, and ends its plugin process afterwards.
func (a *codecArg) withCodec(ctx context.Context, name string, work func(*namedCodec) error) (err error) {
	c, err := a.configuration(ctx)
	if err != nil {
		return err
	}
	one, err := a.find(c, name)
	if err != nil {
		return err
	}
	maxFrame := (&config.Route{Limits: c.Limits}).MaxFrame(one)
	if a.maxFrame != "" {
		if maxFrame, err = parseMaxFrame(a.maxFrame); err != nil {
			return err
		}
	}
	set := plugins.Open(c, nil)
	defer func() { err = errors.Join(err, failed(set.Close())) }()
	codec, err := set.Codec(ctx, one.Name, maxFrame)
	if err != nil {
		return wrongOrFailed(err)
	}
	profile, _ := config.LookupProfile(one.Profile)
	return work(&namedCodec{Codec: codec, name: name, profile: profile})
}

func parseMaxFrame(text string) (int, error) {
	size, err := config.ParseSize(text)
	if err == nil && (size < 1 || size > config.GiB) {
		err = &config.Error{Got: fmt.Sprintf("%q", text), Want: "1B to 1GiB"}
	}
	if err != nil {
		return 0, fmt.Errorf("--max-frame: %w", err)
	}
	return int(size), nil
}

// find returns the codec of c that has this name; or else makes one of it in c, which is a profile or a plugin with
// options.
func (a *codecArg) find(c *config.Config, name string) (*config.Codec, error) {
	if one := c.Codec(name); one != nil {
		if len(a.options) > 0 {
			return nil, fmt.Errorf("-o: codec %s has its options in %s, want a profile or a plugin", name, c.File)
		}
		return one, nil
	}
	plugin, profile := "", name
	if _, ok := config.LookupProfile(name); !ok {
		plugin, profile = name, ""
		if !slices.Contains(builtinNames(), name) && c.Plugin(name) == nil {
			return nil, unknownCodec(name, c)
		}
	}
	one, err := config.NewCodec(name, plugin, profile, a.options)
	if err != nil {
		return nil, err
	}
	c.Codecs = append(c.Codecs, *one)
	return one, nil
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
