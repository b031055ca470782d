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

// codecArgHelp says in the help of a command what its CODEC may be.
const codecArgHelp = `CODEC is a profile (framehost profiles), a plugin (framehost plugin list), or with -c a codec of that
configuration. -o sets options of a plugin, or changes those of a profile; a value is written as in a
configuration, lists and mappings as in YAML: -o also_accept=[CRLF] -o 'map={0xC0: 0xDC, 0xDB: 0xDD}'.`

// A codecArg is the CODEC of a command, with the flags that configure it.
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

// complete offers the possible values of CODEC to a shell.
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

// A namedCodec is the configured codec that the arguments name. Its calls go to a plugin process.
type namedCodec struct {
	codeccall.Codec
	name    string          // as in the arguments
	profile *config.Profile // nil: the codec is not a profile
}

// configuration returns the configuration of the file, or one without codecs if there is no file. Each call returns a new one.
func (a *codecArg) configuration(ctx context.Context) (*config.Config, error) {
	if a.file == "" {
		return config.Default(), nil
	}
	return a.load(ctx)
}

// withCodec runs work with the codec called name, and ends the codec's plugin process afterwards.
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

// find returns the codec of c that has this name. If there is none, name is a profile or a plugin with options, and find adds a codec
// for it to c.
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

// codecNames returns the possible values of CODEC, sorted.
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
