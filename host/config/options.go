package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/framehost/framehost/codecs"
)

// Options are the options of a codec as they were written, with their positions. The plugin's schema decides what their texts mean; see
// [Codec.OptionsJSON]. The zero value has no options.
type Options struct {
	own  *node  // options in the configuration; nil: none
	base *node  // options of the profile; nil: none
	key  string // the path of the options, such as codecs[0].options; "" in arguments
	at   Position
}

func (d *decoder) options(n *node, key string, p *Options) {
	*p = Options{key: key, at: n.at(key)}
	switch {
	case n.kind != mapping:
		d.wrong(n, key, "a mapping of options, such as {terminator: LF}")
	default:
		p.own = n
	}
}

// merged returns all options in one mapping. Options in the configuration override those of the profile.
func (o *Options) merged() *node {
	out := &node{kind: mapping, file: o.at.File, line: o.at.Line, column: o.at.Column}
	if o.own != nil {
		out.entries = slices.Clone(o.own.entries)
	}
	if o.base != nil {
		for _, e := range o.base.entries {
			if out.get(e.key) == nil {
				out.entries = append(out.entries, e)
			}
		}
	}
	return out
}

// place returns the position of n, under the name of key. The position of a profile's option is that of the codec's options.
func (o *Options) place(n *node, key string) Position {
	if n == nil || n.file == profilesFile {
		p := o.at
		p.Key = key
		return p
	}
	return n.at(key)
}

// NewCodec returns a codec that is given in arguments rather than in a file: a plugin or, if plugin is "", a profile, and options as
// KEY=VALUE. Each value is written as its option needs it: the text of a bytes value, a number and so on; lists and mappings as in YAML:
// map={LF: n}. Every error is of type [Errors].
func NewCodec(name, plugin, profile string, options []string) (*Codec, error) {
	at := Position{File: name}
	c := &Codec{At: at, Name: name, Plugin: plugin, Profile: profile, Options: Options{at: at}}
	var errs Errors
	if plugin == "" {
		p, err := findProfile(profile)
		if err != nil {
			return nil, Errors{at.Error(err.Got, err.Want)}
		}
		c.applyProfile(p)
	}
	own := &node{kind: mapping, file: name}
	for _, option := range options {
		key, value, found := strings.Cut(option, "=")
		if !found || key == "" {
			errs = append(errs, Position{File: "-o " + option}.Error(quote(option), "KEY=VALUE, such as terminator=LF"))
			continue
		}
		own = own.with(key, argument("-o "+key, value))
	}
	c.Options.own = own
	if len(errs) > 0 {
		return nil, errs
	}
	return c, nil
}

// PlaceOptionError converts err, which a plugin's Configure returned, to errors with positions: for each OptionError in err, an error at
// the position of its option; for any other error in err, an error at the position of the codec.
func (c *Codec) PlaceOptionError(err error) Errors {
	var errs Errors
	rest := optionErrors(err, func(e *codecs.OptionError) {
		n, key := c.Options.merged(), c.Options.key
		found := n
		if e.Option != "" && e.Option != "options" {
			found = find(n, e.Option)
			key = childKey(key, e.Option)
		}
		got := e.Got
		if got == "" {
			got = "nothing"
		}
		errs = append(errs, c.Options.place(found, key).Error(got, e.Want))
	})
	for _, e := range rest {
		errs = append(errs, c.At.Error(e.Error(), ""))
	}
	errs.sort()
	return errs
}

// optionErrors calls yield for each OptionError in err, and returns the other errors that were joined in err.
func optionErrors(err error, yield func(*codecs.OptionError)) (rest []error) {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			rest = append(rest, optionErrors(e, yield)...)
		}
		return rest
	}
	if joined := (interface{ Unwrap() []error })(nil); errors.As(err, &joined) {
		return optionErrors(joined.(error), yield)
	}
	var e *codecs.OptionError
	if !errors.As(err, &e) {
		return []error{err}
	}
	yield(e)
	return nil
}

// find returns the node at path, such as map.0xC0 or also[1], below n. If that was not written, find returns the last node on the way to
// it that was. Keys may contain dots and brackets, so find follows the longest key that path begins with.
func find(n *node, path string) *node {
	if path == "" {
		return n
	}
	if n.kind == list {
		index, rest, _ := strings.Cut(strings.TrimPrefix(path, "["), "]")
		if i, err := strconv.Atoi(index); err == nil && i >= 0 && i < len(n.items) {
			return find(n.items[i], strings.TrimPrefix(rest, "."))
		}
		return n
	}
	best := -1
	for i, e := range n.entries {
		rest, ok := strings.CutPrefix(path, e.key)
		fits := ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
		if fits && (best < 0 || len(e.key) > len(n.entries[best].key)) {
			best = i
		}
	}
	if best < 0 {
		return n
	}
	e := n.entries[best]
	return find(e.value, strings.TrimPrefix(path[len(e.key):], "."))
}

func (c *Codec) applyProfile(p *Profile) {
	c.Plugin, c.Options.base = p.Plugin, p.Options.own
	if c.MaxFrame == 0 {
		c.MaxFrame = p.MaxFrame
	}
}

func findProfile(name string) (*Profile, *Error) {
	if p, ok := LookupProfile(name); ok {
		return p, nil
	}
	var names []string
	for _, p := range Profiles() {
		names = append(names, p.Name)
	}
	want := "the name of a profile; `framehost profiles` lists them"
	if near := Nearest(name, names); near != "" {
		want += fmt.Sprintf("; did you mean %s?", near)
	}
	return nil, &Error{Got: quote(name), Want: want}
}
