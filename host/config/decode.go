package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/framehost/framehost/codecs"
)

// decoder decodes nodes into the types of this package. The tags of a field say which values it accepts:
//
//	config:"max_frame"   the key; "-" for a field without a key
//	required:"ok"        a mapping without the key is an error
//	empty:"ok"           the empty text is a value
//	zero:"ok"            0 is a value, even outside the range
//	bare:"ok"            a size needs no unit
//	range:"1B..1GiB"     the least and the greatest value; either may be missing
type decoder struct {
	dir       string // relative paths are relative to this directory
	errs      Errors
	warnings  []Warning
	positions map[string]Position
	defaults  func(element reflect.Value) // sets defaults in an element of a list, or a pointer's target, before decoding it
}

func (d *decoder) addError(p Position, got, want string) { d.errs = append(d.errs, p.Error(got, want)) }

// wrong adds an error: n was got, and want is wanted.
func (d *decoder) wrong(n *node, key, want string) { d.addError(n.at(key), n.got(), want) }

// parsed adds err, an error without a position, at the position of n. It returns false if err is nil.
func (d *decoder) parsed(n *node, key string, err error) bool {
	if err == nil {
		return false
	}
	var e *Error
	var o *codecs.OptionError
	switch {
	case errors.As(err, &e):
		d.addError(n.at(key), e.Got, e.Want)
	case errors.As(err, &o):
		d.addError(n.at(key), o.Got, o.Want)
	default:
		d.addError(n.at(key), n.got()+": "+err.Error(), "")
	}
	return true
}

func (d *decoder) has(key string) bool {
	_, ok := d.positions[key]
	return ok
}

// decode sets dst to the value of n, or adds an error.
func (d *decoder) decode(n *node, key string, dst reflect.Value, tag reflect.StructTag) {
	d.positions[key] = n.at(key)
	switch p := dst.Addr().Interface().(type) {
	case *Options:
		d.options(n, key, p)
	case **Address:
		d.address(n, key, p)
	case *netip.Prefix:
		if d.scalar(n, key, "an address or CIDR, such as 10.1.0.0/16") {
			prefix, err := parsePrefix(n.text)
			if !d.parsed(n, key, err) {
				*p = prefix
			}
		}
	case *netip.Addr:
		want := "an IP address"
		if n.kind == mapping {
			want += "; in quotes, if it has colons"
		}
		if d.scalar(n, key, want) {
			addr, err := netip.ParseAddr(n.text)
			if err != nil {
				d.wrong(n, key, want)
				return
			}
			*p = addr
		}
	case *codecs.Bytes:
		if text, ok := d.bytes(n, key, tag); ok {
			b, err := codecs.ParseBytes(text)
			if !d.parsed(n, key, err) {
				*p = b
				if other, ok := bytesWarning(text); ok {
					d.warnings = append(d.warnings, Warning{n.at(key), other})
				}
			}
		}
	case *fs.FileMode:
		d.mode(n, key, p)
	case *Size:
		d.size(n, key, p, tag)
	case *time.Duration:
		d.duration(n, key, p, tag)
	case *int:
		d.int(n, key, p, tag)
	case *bool:
		switch {
		case n.isBare() && n.text == "true":
			*p = true
		case n.isBare() && n.text == "false":
			*p = false
		default:
			d.wrong(n, key, "true or false")
		}
	case enum:
		choices := p.values()
		if d.scalar(n, key, oneOf("", choices)) {
			for _, choice := range choices {
				if n.text == choice {
					dst.SetString(choice)
					return
				}
			}
			d.wrong(n, key, oneOf(n.text, choices))
		}
	case *string:
		d.string(n, key, p, tag)
	case *map[string]string:
		d.stringMap(n, key, p)
	default:
		switch dst.Kind() {
		case reflect.Slice:
			d.list(n, key, dst)
		case reflect.Pointer:
			value := reflect.New(dst.Type().Elem())
			d.defaults(value.Elem())
			d.decode(n, key, value.Elem(), tag)
			dst.Set(value)
		case reflect.Struct:
			d.structure(n, key, dst)
		default:
			panic(fmt.Sprintf("config: a field of type %s", dst.Type()))
		}
	}
}

// structure decodes a mapping into the struct dst. It decodes the fields in their order, because defaults of later fields may depend on
// earlier ones.
func (d *decoder) structure(n *node, key string, dst reflect.Value) {
	kind := strings.ToLower(dst.Type().Name())
	if n.kind != mapping {
		want := "a mapping"
		if keys := keysOf(dst.Type()); len(keys) > 0 {
			want += " with " + strings.Join(keys, ", ")
		}
		if got, blank, ok := withoutBlank(n.text, keysOf(dst.Type())); ok && n.kind == scalar {
			d.addError(n.at(key), got, blank)
			return
		}
		d.wrong(n, key, want)
		return
	}
	known := map[string]bool{}
	for i := range dst.NumField() {
		field := dst.Type().Field(i)
		if field.Type == reflect.TypeFor[Position]() {
			dst.Field(i).Set(reflect.ValueOf(n.at(key)))
			continue
		}
		name := field.Tag.Get("config")
		if name == "" || name == "-" {
			continue
		}
		known[name] = true
		if value := n.get(name); value != nil {
			if r, ok := dst.Addr().Interface().(*Route); ok && name == "to" && value.kind == list {
				d.toList(value, childKey(key, name), r)
				continue
			}
			d.decode(value, childKey(key, name), dst.Field(i), field.Tag)
		} else if field.Tag.Get("required") != "" {
			d.addError(n.at(childKey(key, name)), "nothing", "a value: it must be given")
		}
	}
	for _, e := range n.entries {
		if known[e.key] {
			continue
		}
		at := e.at(childKey(key, e.key))
		if got, want, ok := withoutBlank(e.key, keysOf(dst.Type())); ok && e.value.isNull() {
			d.addError(at, strings.Replace(got, "the text", "a key called", 1), want)
			continue
		}
		if harmless, ok := notBuiltKey(kind, e.key); !ok {
			d.addError(at, "an unknown key", oneOf(e.key, keysOf(dst.Type())))
		} else if e.value.kind != scalar || harmless == "" || e.value.text != harmless {
			d.addError(at, e.key+" is not built yet", "")
		}
	}
}

// toList decodes the list of a hub's endpoints: the first becomes r.To, the others r.More.
func (d *decoder) toList(n *node, key string, r *Route) {
	r.toIsList = true
	d.positions[key] = n.at(key)
	if len(n.items) == 0 {
		d.addError(n.at(key), "an empty list", "an endpoint, or a list of them")
		return
	}
	var all []Endpoint
	d.list(n, key, reflect.ValueOf(&all).Elem())
	r.To, r.More = all[0], all[1:]
}

// keysOf returns the keys of a mapping that is decoded into t.
func keysOf(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("config"); name != "" && name != "-" {
			keys = append(keys, name)
		}
	}
	return keys
}

func (d *decoder) list(n *node, key string, dst reflect.Value) {
	if n.kind != list {
		d.wrong(n, key, "a list")
		return
	}
	out := reflect.MakeSlice(dst.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		d.defaults(out.Index(i))
		d.decode(item, itemKey(key, i), out.Index(i), "")
	}
	dst.Set(out)
}

func (d *decoder) stringMap(n *node, key string, p *map[string]string) {
	if n.kind != mapping {
		d.wrong(n, key, "a mapping")
		return
	}
	*p = map[string]string{}
	for _, e := range n.entries {
		d.positions[childKey(key, e.key)] = e.at(childKey(key, e.key))
		if !e.value.isText() || e.value.isNull() {
			d.wrong(e.value, childKey(key, e.key), wantText(e.value))
			continue
		}
		(*p)[e.key] = e.value.text
	}
}

// scalar reports whether n is a scalar with a value, and otherwise adds an error.
func (d *decoder) scalar(n *node, key, want string) bool {
	if n.kind != scalar || n.isNull() || n.text == "" {
		d.wrong(n, key, want)
		return false
	}
	return true
}

func wantText(n *node) string {
	if n.syntax == syntaxJSON || n.syntax == syntaxTOML {
		return "a text in quotes"
	}
	return "a text"
}

func (d *decoder) string(n *node, key string, p *string, tag reflect.StructTag) {
	switch {
	case n.kind == list && strings.HasSuffix(key, ".codec"):
		d.addError(n.at(key), "a list: "+chainsNotBuilt, "")
	case !n.isText() || n.isNull():
		d.wrong(n, key, wantText(n))
	case n.text == "" && tag.Get("empty") == "":
		d.addError(n.at(key), "an empty text", "a value, or no such key")
	default:
		*p = n.text
	}
}

// bytes returns the source text of a bytes value, or adds an error and returns false.
func (d *decoder) bytes(n *node, key string, tag reflect.StructTag) (string, bool) {
	switch {
	case n.kind != scalar:
		d.wrong(n, key, "a bytes value: a name such as LF, hex such as 0x0A, or text")
	case !n.isText():
		d.wrong(n, key, "a bytes value in quotes, such as \"0x0B\"")
	case n.text == "" && (!n.quoted || tag.Get("empty") == ""):
		d.addError(n.at(key), "no bytes", "at least one")
	default:
		return n.text, true
	}
	return "", false
}

func (d *decoder) address(n *node, key string, p **Address) {
	if !d.scalar(n, key, wantURL) {
		return
	}
	a, err := ParseAddress(n.text, d.dir, strings.HasSuffix(key, ".listen"))
	if !d.parsed(n, key, err) {
		a.At = n.at(key)
		*p = a
	}
}

func (d *decoder) mode(n *node, key string, p *fs.FileMode) {
	const want = "octal permissions, such as 0660"
	if !d.scalar(n, key, want) {
		return
	}
	digits, octal := strings.CutPrefix(n.text, "0o")
	if !n.isText() && !octal {
		d.wrong(n, key, want+", in quotes")
		return
	}
	bits, err := strconv.ParseUint(digits, 8, 32)
	switch {
	case err != nil || len(digits) < 3:
		d.wrong(n, key, want)
	case bits == 0 || bits > 0o777:
		d.wrong(n, key, "permissions from 0001 to 0777")
	default:
		*p = fs.FileMode(bits)
	}
}

func (d *decoder) size(n *node, key string, p *Size, tag reflect.StructTag) {
	if !d.scalar(n, key, "a size, such as 64KiB or 1MiB") {
		return
	}
	text := n.text
	if _, err := strconv.ParseUint(text, 10, 32); err == nil && tag.Get("bare") != "" {
		text += "B"
	}
	size, err := ParseSize(text)
	if d.parsed(n, key, err) {
		return
	}
	least, most, _ := strings.Cut(tag.Get("range"), "..")
	lo, _ := ParseSize(least)
	hi, unbounded := ParseSize(most)
	switch {
	case size == 0 && tag.Get("zero") != "", size >= lo && (unbounded != nil || size <= hi):
		*p = size
	default:
		d.wrong(n, key, rangeText(least, most, tag))
	}
}

func (d *decoder) duration(n *node, key string, p *time.Duration, tag reflect.StructTag) {
	const want = "a duration, such as 500ms, 30s or 5m"
	if !d.scalar(n, key, want) {
		return
	}
	v, err := time.ParseDuration(n.text)
	if _, number := strconv.ParseFloat(n.text, 64); number == nil {
		d.wrong(n, key, "a duration with its unit, such as "+n.text+"s")
		return
	}
	least, most, _ := strings.Cut(tag.Get("range"), "..")
	lo, _ := time.ParseDuration(least)
	hi, unbounded := time.ParseDuration(most)
	switch {
	case err != nil:
		if hours, ok := inDays(n.text); ok {
			d.wrong(n, key, hours)
			return
		}
		d.wrong(n, key, want)
	case least == "" && (v < 0 || v > 0 && v < time.Millisecond):
		d.wrong(n, key, "0s, for never, or 1ms and more")
	case v < lo || unbounded == nil && v > hi:
		d.wrong(n, key, rangeText(least, most, tag))
	default:
		*p = v
	}
}

func (d *decoder) int(n *node, key string, p *int, tag reflect.StructTag) {
	v, err := strconv.Atoi(n.text)
	if !n.isBare() || err != nil {
		d.wrong(n, key, "a whole number")
		return
	}
	least, most, _ := strings.Cut(tag.Get("range"), "..")
	lo, _ := strconv.Atoi(least)
	hi, unbounded := strconv.Atoi(most)
	if v < lo || v > 1<<31-1 || unbounded == nil && v > hi {
		d.wrong(n, key, rangeText(least, most, tag))
		return
	}
	*p = v
}

func rangeText(least, most string, tag reflect.StructTag) string {
	text := least + " to " + most
	if most == "" {
		text = least + " or more"
	}
	if tag.Get("zero") != "" {
		text += "; or 0, for no limit"
	}
	return text
}

// parsePrefix parses a range of addresses as CIDR, or a single address.
func parsePrefix(text string) (netip.Prefix, error) {
	bad := func(want string) (netip.Prefix, error) { return netip.Prefix{}, &Error{Got: quote(text), Want: want} }
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		addr, err := netip.ParseAddr(text)
		switch {
		case err != nil:
			return bad("an address or CIDR, such as 10.1.0.0/16")
		case addr.Zone() != "":
			return bad("an address without zone")
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	switch {
	case prefix.Addr().Is4In6():
		return bad("an IPv4 address written as one")
	case prefix != prefix.Masked():
		return bad(prefix.Masked().String() + ", with no bits after the prefix")
	}
	return prefix, nil
}
