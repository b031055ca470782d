package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// validator makes the checks that need more than one value. It adds errors to those of its decoder. It skips a check that depends on a
// value with an error of its own.
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
	c.Discovery.KeyFile = under(v.dir, c.Discovery.KeyFile)
	if n := len(c.Control.Socket); n > maxSocketPath {
		v.addError(v.at("control.socket"), fmt.Sprintf("a path of %d bytes", n), fmt.Sprintf("at most %d", maxSocketPath))
	}
	for _, part := range notBuiltValues {
		if part.used(c) {
			v.addError(v.at(part.key), part.what+" is not built yet", "")
		}
	}
	v.discovery()
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
		v.addError(v.at(key), quote(name), "1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first")
		return
	}
	for j := range i {
		if earlier(j) == name {
			v.addError(v.at(key), quote(name), fmt.Sprintf("a name that %s does not have", itemKey(list, j)))
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
			v.addError(v.at(key+".name"), quote(p.Name), "another name: a plugin with this one is built in")
		}
		p.Path = under(v.dir, p.Path)
		if p.SHA256 != "" && !sha256Text.MatchString(p.SHA256) {
			v.addError(v.at(key+".sha256"), quote(p.SHA256), "64 hex digits")
		}
		p.SHA256 = strings.ToLower(p.SHA256)
		for name := range p.Env {
			if !envText.MatchString(name) {
				v.addError(v.at(childKey(key+".env", name)), quote(name), "the name of a variable: letters, digits and underscores")
			}
		}
	}
}

func (v *validator) codecs() {
	all := v.config.Codecs
	for i := range all {
		c, key := &all[i], itemKey("codecs", i)
		if c.At.Key != key {
			continue // not a mapping, which is reported already
		}
		v.name("codecs", i, c.Name, func(j int) string { return all[j].Name })
		if c.Name == NoCodec {
			v.addError(v.at(key+".name"), quote(c.Name), "another name: none means no codec")
		}
		if c.Options.own == nil {
			c.Options.key, c.Options.at = key+".options", c.At
			c.Options.at.Key = key + ".options"
		}
		plugin, profile := v.has(key+".plugin"), v.has(key+".profile")
		switch {
		case plugin && profile:
			v.addError(v.at(key+".profile"), "a plugin and a profile", "one of them")
		case !plugin && !profile:
			v.addError(v.at(key), "neither plugin nor profile", "one of them")
		case c.Profile != "":
			p, err := findProfile(c.Profile)
			if err != nil {
				if slices.Contains(v.pluginNames(), c.Profile) {
					err.Want = fmt.Sprintf("the name of a profile; %s is a plugin", c.Profile)
				}
				v.addError(v.at(key+".profile"), err.Got, err.Want)
				continue
			}
			c.applyProfile(p)
		case c.Plugin != "" && !slices.Contains(v.pluginNames(), c.Plugin):
			want := "a plugin that is built in or in plugins: " + oneOf(c.Plugin, v.pluginNames())
			if _, ok := LookupProfile(c.Plugin); ok {
				want = fmt.Sprintf("a plugin; %s is a profile: write profile: %s", c.Plugin, c.Plugin)
			}
			v.addError(v.at(key+".plugin"), quote(c.Plugin), want)
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
			v.addError(v.at(key+".limits.memory"), "memory in a route", "it in the limits of the whole configuration")
		}
		for _, shared := range []string{"start", "codec"} {
			if v.has(key + ".timeouts." + shared) {
				v.addError(v.at(key+".timeouts."+shared), shared+" in a route",
					"it in the timeouts of the whole configuration: routes share the plugin")
			}
		}
		if r.OnViolation == ViolationQuarantine && v.config.Quarantine.Dir == "" && !v.has("quarantine.dir") {
			v.addError(v.at(key+".on_violation"), quote("quarantine"), "quarantine.dir to say where, or skip")
		}
		for i, e := range r.Sides() {
			v.endpoint(e, key+r.sideKey(i))
		}
		v.sides(r, key)
	}
}
