package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// validator checks what no single value can tell. It adds to the errors of its decoder, and stays silent about what
// rests on a value that is at fault itself.
type validator struct {
	*decoder
	config  *Config
	builtin []string
}

func (v *validator) at(key string) Position { return where(v.positions, v.config.File, key) }

func (v *validator) validate() {
	c := v.config
	if c.Limits.MaxFrame == 0 {
		c.Limits.MaxFrame = GiB
	}
	c.Control.Socket = under(v.dir, c.Control.Socket)
	c.Quarantine.Dir = under(v.dir, c.Quarantine.Dir)
	if n := len(c.Control.Socket); n > maxSocketPath {
		v.fail(v.at("control.socket"), fmt.Sprintf("a path of %d bytes", n), fmt.Sprintf("at most %d", maxSocketPath))
	}
	for _, part := range notBuiltValues {
		if part.used(c) {
			v.fail(v.at(part.key), part.what+" is not built yet", "")
		}
	}
	v.plugins()
	v.codecs()
	v.routes()
	v.listeners()
}

var nameText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// name checks the name of element i of a list, and that no earlier one has it.
func (v *validator) name(list string, i int, name string, earlier func(i int) string) {
	key := itemKey(list, i) + ".name"
	if name == "" {
		return
	}
	if !nameText.MatchString(name) {
		v.fail(v.at(key), quote(name), "1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first")
		return
	}
	for j := range i {
		if earlier(j) == name {
			v.fail(v.at(key), quote(name), fmt.Sprintf("a name that %s does not have", itemKey(list, j)))
			return
		}
	}
}

var (
	sha256Text = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)
	envText    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (v *validator) plugins() {
	all := v.config.Plugins
	for i := range all {
		p, key := &all[i], itemKey("plugins", i)
		v.name("plugins", i, p.Name, func(j int) string { return all[j].Name })
		if slices.Contains(v.builtin, p.Name) {
			v.fail(v.at(key+".name"), quote(p.Name), "another name: a plugin with this one is built in")
		}
		p.Path = under(v.dir, p.Path)
		if p.SHA256 != "" && !sha256Text.MatchString(p.SHA256) {
			v.fail(v.at(key+".sha256"), quote(p.SHA256), "64 hex digits")
		}
		p.SHA256 = strings.ToLower(p.SHA256)
		for name := range p.Env {
			if !envText.MatchString(name) {
				v.fail(v.at(childKey(key+".env", name)), quote(name), "the name of a variable: letters, digits and underscores")
			}
		}
	}
}

func (v *validator) codecs() {
	all := v.config.Codecs
	for i := range all {
		c, key := &all[i], itemKey("codecs", i)
		if c.At.Key != key {
			continue // it is no mapping
		}
		v.name("codecs", i, c.Name, func(j int) string { return all[j].Name })
		if c.Name == NoCodec {
			v.fail(v.at(key+".name"), quote(c.Name), "another name: none means no codec")
		}
		if c.Options.own == nil {
			c.Options.key, c.Options.at = key+".options", c.At
			c.Options.at.Key = key + ".options"
		}
		plugin, profile := v.has(key+".plugin"), v.has(key+".profile")
		switch {
		case plugin && profile:
			v.fail(v.at(key+".profile"), "a plugin and a profile", "one of them")
		case !plugin && !profile:
			v.fail(v.at(key), "neither plugin nor profile", "one of them")
		case c.Profile != "":
			p, err := findProfile(c.Profile)
			if err != nil {
				if slices.Contains(v.pluginNames(), c.Profile) {
					err.Want = fmt.Sprintf("the name of a profile; %s is a plugin", c.Profile)
				}
				v.fail(v.at(key+".profile"), err.Got, err.Want)
				continue
			}
			c.use(p)
		case c.Plugin != "" && !slices.Contains(v.pluginNames(), c.Plugin):
			want := "a plugin that is built in or in plugins: " + oneOf(c.Plugin, v.pluginNames())
			if _, ok := LookupProfile(c.Plugin); ok {
				want = fmt.Sprintf("a plugin; %s is a profile: write profile: %s", c.Plugin, c.Plugin)
			}
			v.fail(v.at(key+".plugin"), quote(c.Plugin), want)
		}
	}
}

func (v *validator) pluginNames() []string {
	names := slices.Clone(v.builtin)
	for _, p := range v.config.Plugins {
		if p.Name != "" {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (v *validator) routes() {
	all := v.config.Routes
	for i := range all {
		r, key := &all[i], itemKey("routes", i)
		v.name("routes", i, r.Name, func(j int) string { return all[j].Name })
		r.ownMaxFrame = v.has(key + ".limits.max_frame")
		if r.Limits.MaxFrame == 0 {
			r.Limits.MaxFrame = GiB
		}
		if v.has(key + ".limits.memory") {
			v.fail(v.at(key+".limits.memory"), "memory in a route", "it in the limits of the whole configuration")
		}
		if v.has(key + ".timeouts.codec") {
			v.fail(v.at(key+".timeouts.codec"), "codec in a route",
				"it in the timeouts of the whole configuration: routes share the plugin")
		}
		if r.OnViolation == ViolationQuarantine && v.config.Quarantine.Dir == "" && !v.has("quarantine.dir") {
			v.fail(v.at(key+".on_violation"), quote("quarantine"), "quarantine.dir to say where, or skip")
		}
		v.endpoint(&r.From, key+".from", true)
		v.endpoint(&r.To, key+".to", false)
		v.pair(r, key)
	}
}

// endpoint checks one side of a route.
func (v *validator) endpoint(e *Endpoint, key string, from bool) {
	listen, dial := v.has(key+".listen"), v.has(key+".dial")
	if e.At.Key != key {
		return // it is missing, or no mapping
	}
	switch {
	case listen && dial:
		v.fail(v.at(key+".dial"), "listen and dial", "one of them")
	case !listen && !dial:
		v.fail(v.at(key), "neither listen nor dial", "one of them")
	}
	v.codecName(e.Codec, key+".codec")
	if v.has(key+".select") && len(e.Select) > 0 && (!listen || !from) {
		v.fail(v.at(key+".select"), "rules here", "them in from, where it listens")
	}
	for i := range e.Select {
		v.rule(e, i, itemKey(key+".select", i))
	}
	tcp := e.Listen != nil && e.Listen.Scheme == "tcp"
	for _, name := range []string{"allow", "deny"} {
		if v.has(childKey(key, name)) && !tcp && (e.Listen != nil || dial) {
			v.fail(v.at(childKey(key, name)), name, "it only where framehost listens on tcp")
		}
	}
	unix := e.Listen != nil && e.Listen.Scheme == "unix"
	switch {
	case unix && !v.has(key+".mode"):
		e.Mode = 0o660
	case v.has(key+".mode") && !unix && (e.Listen != nil || dial):
		v.fail(v.at(key+".mode"), "mode", "it only where framehost listens on a Unix socket")
	}
	if v.has(key+".reconnect") && listen {
		v.fail(v.at(key+".reconnect"), "reconnect", "it only where framehost dials")
	}
	if e.Reconnect.Max < e.Reconnect.Min {
		at := v.at(key + ".reconnect.max")
		if !v.has(key + ".reconnect.max") {
			at = v.at(key + ".reconnect.min")
		}
		v.fail(at, fmt.Sprintf("min %s and max %s", e.Reconnect.Min, e.Reconnect.Max), "min to be no more than max")
	}
	if e.Shutdown && e.Direction == Both {
		v.fail(v.at(key+".shutdown"), "shutdown with both directions in use", "direction: receive or send as well")
	}
}

// codecName checks the name of a codec at an endpoint or in a rule.
func (v *validator) codecName(name, key string) {
	if name == "" || name == NoCodec || v.config.Codec(name) != nil {
		return
	}
	var names []string
	for _, c := range v.config.Codecs {
		if c.Name != "" {
			names = append(names, c.Name)
		}
	}
	want := "the name of a codec in codecs"
	switch _, isProfile := LookupProfile(name); {
	case Nearest(name, names) != "":
		want += "; did you mean " + Nearest(name, names) + "?"
	case isProfile:
		want += fmt.Sprintf(", such as {name: %s, profile: %s}", name, name)
	case slices.Contains(v.pluginNames(), name):
		want += fmt.Sprintf(", such as {name: %s, plugin: %s}", name, name)
	case len(names) > 0:
		want += ": " + oneOf(name, append(names, NoCodec))
	}
	v.fail(v.at(key), quote(name), want)
}

// maxStart is the most that a starts_with rule may look at, in bytes.
const maxStart = 256

func (v *validator) rule(e *Endpoint, i int, key string) {
	r := &e.Select[i]
	if r.At.Key != key {
		return
	}
	address, start, unbuilt := v.has(key+".address"), v.has(key+".starts_with"), v.unbuiltRule(key)
	switch {
	case address && start:
		v.fail(v.at(key), "address and starts_with", "one condition")
	case !address && !start && !unbuilt:
		v.fail(v.at(key), "a rule without a condition", "address or starts_with; the endpoint's codec is for what no rule matches")
	case address && e.Listen != nil && e.Listen.Scheme == "unix":
		v.fail(v.at(key+".address"), "address", "another condition: peers on a Unix socket have no address")
	case len(r.StartsWith) > maxStart:
		v.fail(v.at(key+".starts_with"), fmt.Sprintf("%d bytes", len(r.StartsWith)), fmt.Sprintf("1 to %d", maxStart))
	}
	v.codecName(r.Codec, key+".codec")
	if r.Codec != "" && e.Codec != "" && (r.Codec == NoCodec) != (e.Codec == NoCodec) {
		v.fail(v.at(key+".codec"), quote(r.Codec), fmt.Sprintf("codec none everywhere or nowhere in a route; %s.codec is %s",
			strings.TrimSuffix(key, itemKey(".select", i)), e.Codec))
	}
}

// unbuiltRule reports whether the rule's condition is one that is refused already since it is not built.
func (v *validator) unbuiltRule(key string) bool {
	return slices.ContainsFunc(v.errs, func(e *Error) bool {
		return strings.HasPrefix(e.Key, key+".") && strings.HasSuffix(e.Got, "is not built yet")
	})
}

// pair checks what the two sides of a route mean together.
func (v *validator) pair(r *Route, key string) {
	from, to := &r.From, &r.To
	if from.Codec != "" && to.Codec != "" && (from.Codec == NoCodec) != (to.Codec == NoCodec) {
		v.fail(v.at(key+".to.codec"), quote(to.Codec), fmt.Sprintf("codec none on both sides or on neither; %s.from.codec is %s",
			key, from.Codec))
	}
	if from.Direction != Both && from.Direction == to.Direction {
		what := map[Direction]string{Receive: "is written to", Send: "is listened to"}[from.Direction]
		v.fail(v.at(key+".to.direction"), fmt.Sprintf("%q on both sides", string(to.Direction)),
			"a direction in which payloads can flow: no side "+what)
	}
}

// listeners checks that no two routes listen at one place.
func (v *validator) listeners() {
	type listener struct {
		address *Address
		key     string
	}
	var seen []listener
	for i := range v.config.Routes {
		r := &v.config.Routes[i]
		for _, side := range []struct {
			name    string
			address *Address
		}{{"from", r.From.Listen}, {"to", r.To.Listen}} {
			if side.address == nil {
				continue
			}
			l := listener{side.address, itemKey("routes", i) + "." + side.name + ".listen"}
			for _, other := range seen {
				if collide(l.address, other.address) {
					v.fail(v.at(l.key), quote(l.address.String()), "a place that "+other.key+" does not listen at")
					break
				}
			}
			seen = append(seen, l)
		}
	}
}

func collide(a, b *Address) bool {
	if a.Scheme != b.Scheme {
		return false
	}
	if a.Scheme == "unix" {
		return a.Path == b.Path
	}
	all := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return a.Port == b.Port && a.Port != 0 && (a.Host == b.Host || all(a.Host) || all(b.Host))
}
