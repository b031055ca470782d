package escape

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/framehost/framehost/codecs"
)

const (
	longestBytes = 64 // terminators and start
	mostAlso     = 16 // terminators in also_accept
)

// rules are checked options, in the form that the codec uses.
type rules struct {
	style       Style
	terminator  string
	terminators []string // all accepted terminators, each once
	start       string
	leading     bool
	escape      byte
	pairs       codecs.ByteMap
	xor         byte
	also        *set
	ignore      *set
	abort       bool
	deliverTail bool
	empty       codecs.Empty
}

// check fills in the defaults of o that depend on other options. It returns the rules that o states, or an error with an
// OptionError for each mistake.
func (o *Options) check() (*rules, error) {
	c := checking{o: o}
	r := &rules{
		style: o.Style, terminator: string(o.Terminator), start: string(o.Start), leading: o.LeadingTerminator,
		also: members(o.Also), ignore: members(o.Ignore), abort: o.Abort,
		deliverTail: o.Unterminated == unterminatedDeliver, empty: o.Empty,
	}
	c.terminators(r)
	c.choices()
	switch o.Style {
	case styleMap, styleXor, styleDouble:
		c.escape(r)
	case styleLineDot, styleNone:
		c.refuse("escape", o.Escape != nil)
	}
	switch o.Style {
	case styleMap:
		c.pairs(r)
	case styleXor:
		c.xor(r)
	case styleDouble:
		c.double(r)
	case styleLineDot:
		c.lineDot()
	}
	c.refuse("map", o.Map != nil && o.Style != styleMap)
	c.refuse("xor", o.Xor != nil && o.Style != styleXor)
	c.refuse("also", o.Also != nil && o.Style != styleXor)
	c.refuse("abort", o.Abort && o.Style != styleXor)
	c.ignore(r)
	return r, errors.Join(c.errs...)
}

// special reports whether b is the escape or belongs to a terminator.
func (r *rules) special(b byte) bool { return b == r.escape || r.terminates(b) }

func (r *rules) terminates(b byte) bool {
	return slices.ContainsFunc(r.terminators, func(t string) bool { return strings.IndexByte(t, b) >= 0 })
}

// xors reports whether style xor escapes b. It also escapes the bytes that a receiver would ignore.
func (r *rules) xors(b byte) bool { return r.special(b) || r.also.has[b] || r.ignore.has[b] }

// checking collects the mistakes in options.
type checking struct {
	o    *Options
	errs []error
}

func (c *checking) addError(option, got, want string, args ...any) {
	c.errs = append(c.errs, &codecs.OptionError{Option: option, Got: got, Want: fmt.Sprintf(want, args...)})
}

// refuse adds an error for option if it was given, because the style does not have it.
func (c *checking) refuse(option string, given bool) {
	if given {
		c.addError(option, "an option that style "+string(c.o.Style)+" does not have", "it left out")
	}
}

func (c *checking) terminators(r *rules) {
	o := c.o
	c.size("terminator", o.Terminator, 1)
	c.size("start", o.Start, 0)
	if len(o.AlsoAccept) > mostAlso {
		c.addError("also_accept", fmt.Sprintf("%d terminators", len(o.AlsoAccept)), "at most %d", mostAlso)
	}
	names := []string{"terminator"}
	all := []codecs.Bytes{o.Terminator}
	for i, t := range o.AlsoAccept {
		name := fmt.Sprintf("also_accept.%d", i)
		c.size(name, t, 1)
		if t != "" && !slices.Contains(all, t) {
			names, all = append(names, name), append(all, t)
		}
	}
	for i, t := range all {
		r.terminators = append(r.terminators, string(t))
		for j, within := range all {
			// A terminator that ends inside another one always ends first, so the other one would never be found.
			at := strings.Index(string(within), string(t))
			if i == j || t == "" || at < 0 || at+len(t) == len(within) {
				continue
			}
			c.addError(names[j], within.String(), "a terminator in which %s, %s, does not end before it does", names[i], t)
		}
	}
	if o.LeadingTerminator {
		if o.Empty != codecs.EmptySkip {
			c.addError("leading_terminator", "true with empty: "+string(o.Empty), "empty: skip, since it is read as an empty frame")
		}
		if o.Start != "" {
			c.addError("leading_terminator", "true with a start", "one of the two, since a frame begins with start alone")
		}
		c.refuse("leading_terminator", o.Style == styleLineDot)
	}
}

func (c *checking) size(option string, b codecs.Bytes, least int) {
	if len(b) < least || len(b) > longestBytes {
		c.addError(option, fmt.Sprintf("%d bytes", len(b)), "%d to %d bytes", least, longestBytes)
	}
}

func (c *checking) choices() {
	o := c.o
	c.errs = append(c.errs,
		codecs.OneOf("style", o.Style, styleMap, styleXor, styleDouble, styleLineDot, styleNone),
		codecs.OneOf("unterminated", o.Unterminated, unterminatedViolation, unterminatedDeliver),
		o.Empty.Check("empty"))
}

// single returns the byte of an option that is one byte, and sets the option to fallback if it was not given.
func (c *checking) single(option string, value **codecs.Bytes, fallback codecs.Bytes) byte {
	if *value == nil {
		*value = &fallback
	}
	if b := **value; len(b) != 1 {
		c.addError(option, fmt.Sprintf("%d bytes", len(b)), "1 byte")
		return fallback[0]
	}
	return (**value)[0]
}

func (c *checking) escape(r *rules) {
	r.escape = c.single("escape", &c.o.Escape, defaultEscape)
	if c.o.Style != styleDouble && r.terminates(r.escape) {
		c.addError("escape", one(r.escape), "a byte that is in no terminator")
	}
}

func (c *checking) pairs(r *rules) {
	o := c.o
	if o.Map == nil {
		if !slices.Equal(r.terminators, []string{"\n"}) {
			c.addError("map", "", "it given: the default is for the terminator LF alone")
			return
		}
		if r.escape == 'n' {
			c.addError("map", "", "it given: the default, LF to n, needs another escape than n")
			return
		}
		o.Map = codecs.ByteMap{'\n': 'n', r.escape: r.escape}
	}
	r.pairs = o.Map
	from := map[byte]byte{}
	for _, b := range slices.Sorted(maps.Keys(o.Map)) {
		to := o.Map[b]
		if other, ok := from[to]; ok {
			c.addError("map."+one(b), one(to), "a byte that does not stand for %s already", one(other))
		}
		from[to] = b
	}
	var missing []string
	for b := range 256 {
		if _, ok := o.Map[byte(b)]; !ok && r.special(byte(b)) {
			missing = append(missing, one(byte(b)))
		}
	}
	if len(missing) > 0 {
		c.addError("map", "none for "+strings.Join(missing, ", "), "the escape and every byte of every accepted terminator")
	}
}

func (c *checking) xor(r *rules) {
	r.xor = c.single("xor", &c.o.Xor, defaultXor)
	if !r.abort {
		return
	}
	for b := range 256 {
		becomes := byte(b) ^ r.xor
		begins := slices.ContainsFunc(r.terminators, func(t string) bool { return t != "" && t[0] == becomes })
		if r.xors(byte(b)) && begins {
			c.addError("abort", fmt.Sprintf("true, and %s to be escaped as %s", one(byte(b)), one(becomes)),
				"no escaped byte that looks like an abort")
		}
	}
}

func (c *checking) double(r *rules) {
	for i, t := range r.terminators {
		if len(t) >= 2 && t[0] == r.escape && t[1] != r.escape {
			continue
		}
		option := "terminator"
		if i > 0 {
			option = "also_accept"
		}
		c.addError(option, codecs.Bytes(t).String(), "the escape, %s, and then another byte, for style double", one(r.escape))
	}
}

func (c *checking) lineDot() {
	if c.o.Terminator != dotTerminator {
		c.addError("terminator", c.o.Terminator.String(), "%s, for style line_dot", codecs.Bytes(dotTerminator))
	}
	c.refuse("also_accept", len(c.o.AlsoAccept) > 0)
}

func (c *checking) ignore(r *rules) {
	for b := range 256 {
		if !r.ignore.has[b] {
			continue
		}
		for _, part := range []struct {
			name string
			has  bool
		}{
			{"a terminator", r.terminates(byte(b))},
			{"start", strings.IndexByte(r.start, byte(b)) >= 0},
			{"the escape", c.o.Escape != nil && byte(b) == r.escape},
		} {
			if part.has {
				c.addError("ignore", one(byte(b))+", which is in "+part.name, "bytes that mean nothing else")
			}
		}
	}
}
