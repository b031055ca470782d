package config

import "strings"

// This file lists everything that the design describes and framehost can't do yet. The configuration refuses each by name rather than
// ignoring it, except for values that change nothing. When a part is built, its line is removed.

// notBuiltKeys are keys by the kind of their mapping, each with the value that is accepted because it changes nothing ("": none is).
var notBuiltKeys = map[string]map[string]string{
	"endpoint": {
		"tls":            "",
		"proxy_protocol": "off",
	},
	"rule": {
		"server_name": "",
	},
}

// notBuiltSchemes are schemes of endpoints.
var notBuiltSchemes = []string{"tls"}

// notBuiltValues are keys of the whole configuration that accept only their default.
var notBuiltValues = []struct {
	key  string
	what string
	used func(c *Config) bool
}{
	{"metrics.listen", "metrics", func(c *Config) bool { return c.Metrics.Listen != "" }},
}

// chainsNotBuilt is the error for a list of codecs.
const chainsNotBuilt = "codec chains are not built yet"

func notBuiltScheme(text, scheme string) error {
	for _, s := range notBuiltSchemes {
		if s == scheme {
			return &Error{Got: quote(text) + ": " + scheme + ":// is not built yet"}
		}
	}
	return nil
}

// notBuiltKey reports whether key is not built in that kind of mapping, and returns the value that is accepted, "" if none is.
func notBuiltKey(kind, key string) (harmless string, ok bool) {
	harmless, ok = notBuiltKeys[strings.ToLower(kind)][key]
	return harmless, ok
}
