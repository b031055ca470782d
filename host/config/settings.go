package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Settings are the values of a configuration as text, by key, such as timeouts.idle. Two configurations with the same meaning have
// equal Settings. A running framehost sends its Settings as JSON to `framehost check --running`. In place of the values of plugins'
// environment variables, Settings have hashes of them.
type Settings struct {
	Restart map[string]string `json:"restart"` // a change of these needs a restart
	Live    map[string]string `json:"live"`    // a reload applies a change of these at once
	Routes  []RouteSettings   `json:"routes"`
}

// RouteSettings are the values of a route, including the inherited ones, and the values of its codecs and their plugins.
type RouteSettings struct {
	Name   string            `json:"name"`
	Values map[string]string `json:"values"`
}

// Change is what happens to a route in a reload.
type Change string

// The changes.
const (
	Unchanged Change = "unchanged"
	Added     Change = "added"
	Changed   Change = "changed"
	Removed   Change = "removed"
)

// A RouteChange is what a reload does with a route.
type RouteChange struct {
	Name   string        `json:"name"`
	Change Change        `json:"change"`
	Values []ValueChange `json:"values,omitempty"` // only if Changed
}

// A ValueChange is a value that differs. From or To is "" if the key has no value there. The values of plugins' environment variables are
// replaced by "(not shown)".
type ValueChange struct {
	Key  string `json:"key"`
	From string `json:"from"`
	To   string `json:"to"`
}

// notShown replaces a value that may be secret.
const notShown = "(not shown)"

// String returns "KEY: FROM -> TO".
func (c ValueChange) String() string {
	return fmt.Sprintf("%s: %s -> %s", c.Key, orNone(c.From), orNone(c.To))
}

func orNone(text string) string {
	if text == "" {
		return "(none)"
	}
	return text
}

// Settings returns the values of c.
func (c *Config) Settings() *Settings {
	s := &Settings{Restart: map[string]string{}, Live: map[string]string{}}
	flatten(s.Restart, "log", reflect.ValueOf(c.Log))
	s.Live["log.level"] = s.Restart["log.level"]
	delete(s.Restart, "log.level")
	flatten(s.Restart, "control", reflect.ValueOf(c.Control))
	flatten(s.Restart, "metrics", reflect.ValueOf(c.Metrics))
	flatten(s.Restart, "quarantine", reflect.ValueOf(c.Quarantine))
	flatten(s.Restart, "discovery", reflect.ValueOf(c.Discovery))
	s.Restart["limits.memory"] = c.Limits.Memory.String()
	s.Live["limits.max_connections"] = strconv.Itoa(c.Limits.MaxConnections)
	for i := range c.Routes {
		s.Routes = append(s.Routes, RouteSettings{c.Routes[i].Name, c.routeSettings(&c.Routes[i])})
	}
	return s
}

func (c *Config) routeSettings(r *Route) map[string]string {
	values := map[string]string{}
	flatten(values, "", reflect.ValueOf(*r))
	values["hub"] = strconv.FormatBool(r.IsHub())
	for i, side := range r.Sides() {
		if i > 1 {
			flatten(values, fmt.Sprintf("to[%d]", i-1), reflect.ValueOf(*side))
		}
		names := []string{side.Codec}
		for _, rule := range side.Select {
			names = append(names, rule.Codec)
		}
		for _, name := range names {
			if codec := c.Codec(name); codec != nil {
				c.codecSettings(values, r, codec)
			}
		}
	}
	return values
}

func (c *Config) codecSettings(values map[string]string, r *Route, codec *Codec) {
	key := "codecs." + codec.Name
	values[key+".plugin"] = codec.Plugin
	values[key+".options"] = codec.Options.text()
	values[key+".max_frame"] = Size(r.MaxFrame(codec)).String()
	plane := c.DataPlane
	if p := c.Plugin(codec.Plugin); p != nil {
		flatten(values, "plugins."+p.Name, reflect.ValueOf(*p))
		if p.DataPlane != "" {
			plane = p.DataPlane
		}
	}
	values["plugins."+codec.Plugin+".data_plane"] = string(plane)
}

// SameEndpoint reports whether a and b have equal settings.
func SameEndpoint(a, b *Endpoint) bool {
	one, other := map[string]string{}, map[string]string{}
	flatten(one, "", reflect.ValueOf(*a))
	flatten(other, "", reflect.ValueOf(*b))
	return maps.Equal(one, other)
}

// flatten adds the values in v to values. Their keys begin with key and follow the config tags of the fields.
func flatten(values map[string]string, key string, v reflect.Value) {
	if text, ok := v.Interface().(fmt.Stringer); ok && (v.Kind() != reflect.Pointer || !v.IsNil()) {
		values[key] = text.String()
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			flatten(values, key, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Tag.Get("config")
			if name == "" || name == "-" {
				continue
			}
			if key != "" {
				name = key + "." + name
			}
			flatten(values, name, v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			flatten(values, fmt.Sprintf("%s[%d]", key, i), v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			text := v.MapIndex(k).String()
			if strings.HasSuffix(key, ".env") { // the value may be secret
				sum := sha256.Sum256([]byte(text))
				text = "sha256:" + hex.EncodeToString(sum[:8])
			}
			values[key+"."+k.String()] = text
		}
	default:
		values[key] = fmt.Sprint(v.Interface())
	}
}

// text returns the options of the profile and those of the configuration, as flow returns them.
func (o *Options) text() string {
	return strings.TrimSpace(o.base.flow() + " " + o.own.flow())
}

// flow returns n as YAML in one line, or "" for nil. Keys are sorted, because their order has no meaning.
func (n *node) flow() string {
	if n == nil {
		return ""
	}
	var parts []string
	switch n.kind {
	case mapping:
		for _, e := range n.entries {
			parts = append(parts, e.key+": "+e.value.flow())
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, ", ") + "}"
	case list:
		for _, item := range n.items {
			parts = append(parts, item.flow())
		}
		return "[" + strings.Join(parts, ", ") + "]"
	default:
		return strconv.QuoteToASCII(n.text)
	}
}

// RestartChanges returns the differences in values that only a restart can change. If s has no values of discovery, discovery is not in
// use, and a reload starts discovery with the values of to; then RestartChanges ignores those.
func (s *Settings) RestartChanges(to *Settings) []ValueChange {
	all := valueChanges(s.Restart, to.Restart)
	if _, used := s.Restart["discovery.port"]; !used {
		all = slices.DeleteFunc(all, func(c ValueChange) bool { return strings.HasPrefix(c.Key, "discovery.") })
	}
	return append(all, s.socketChanges(to)...)
}

// socketChanges returns the differences in the socket options of UDP listeners with flows. In a reload, a route of to takes over the
// open socket of the route of s that listens at the same address, and the options of an open socket can't be changed.
func (s *Settings) socketChanges(to *Settings) (all []ValueChange) {
	for i := range to.Routes {
		after := &to.Routes[i]
		before := s.route(after.Name)
		if before == nil || !before.sharesFlows(after) {
			before = nil
			for j := range s.Routes {
				if !strings.HasSuffix(after.Values["from.listen"], ":0") && s.Routes[j].sharesFlows(after) {
					before = &s.Routes[j]
				}
			}
		}
		if before == nil {
			continue
		}
		for _, c := range valueChanges(before.Values, after.Values) {
			for _, option := range []string{"interfaces", "groups", "receive_buffer"} {
				if strings.HasPrefix(c.Key, "from.udp."+option) {
					c.Key = "route " + after.Name + ", " + c.Key
					all = append(all, c)
				}
			}
		}
	}
	return all
}

// sharesFlows reports whether both routes have UDP flows at the same address.
func (r *RouteSettings) sharesFlows(o *RouteSettings) bool {
	const flows = "from.udp.flows.max"
	return r.Values[flows] != "" && o.Values[flows] != "" && r.Values["from.listen"] == o.Values["from.listen"]
}

// route returns the route called name, or nil.
func (s *Settings) route(name string) *RouteSettings {
	if i := slices.IndexFunc(s.Routes, func(r RouteSettings) bool { return r.Name == name }); i >= 0 {
		return &s.Routes[i]
	}
	return nil
}

// Listens reports whether a route listens at address, a URL.
func (s *Settings) Listens(address string) bool {
	return slices.ContainsFunc(s.Routes, func(r RouteSettings) bool {
		for key, value := range r.Values {
			side, isListen := strings.CutSuffix(key, ".listen")
			if isListen && (side == "from" || strings.HasPrefix(side, "to")) && value == address {
				return true
			}
		}
		return false
	})
}

// LiveChanges returns the differences in values that a reload applies at once.
func (s *Settings) LiveChanges(to *Settings) []ValueChange { return valueChanges(s.Live, to.Live) }

// RouteChanges returns what a reload does with each route: first the routes of to in their order, then the removed routes.
func (s *Settings) RouteChanges(to *Settings) (all []RouteChange) {
	for _, r := range to.Routes {
		change := RouteChange{Name: r.Name, Change: Added}
		if old := s.route(r.Name); old != nil {
			change.Change = Unchanged
			if change.Values = valueChanges(old.Values, r.Values); len(change.Values) > 0 {
				change.Change = Changed
			}
		}
		all = append(all, change)
	}
	for _, r := range s.Routes {
		if to.route(r.Name) == nil {
			all = append(all, RouteChange{Name: r.Name, Change: Removed})
		}
	}
	return all
}

func valueChanges(from, to map[string]string) (all []ValueChange) {
	keys := maps.Clone(from)
	maps.Copy(keys, to)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if from[key] == to[key] {
			continue
		}
		change := ValueChange{key, from[key], to[key]}
		if strings.HasPrefix(key, "plugins.") && strings.Contains(key, ".env.") {
			change.From, change.To = hidden(change.From), hidden(change.To)
		}
		all = append(all, change)
	}
	return all
}

func hidden(value string) string {
	if value == "" {
		return ""
	}
	return notShown
}
