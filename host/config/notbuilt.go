package config

import "strings"

// This is the one table of what the design has and framehost does not have yet. Each is refused by name rather than
// ignored, unless it says what would be so anyway. Who builds a part removes its line.

// notBuiltKeys are keys, by the kind of mapping they are in, with the value that is accepted since it changes nothing.
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

// notBuiltValues are keys of the whole configuration of which only the default is accepted.
var notBuiltValues = []struct {
	key  string
	what string
	used func(c *Config) bool
}{
	{"metrics.listen", "metrics", func(c *Config) bool { return c.Metrics.Listen != "" }},
}

// chainsNotBuilt says what a list of codecs is.
const chainsNotBuilt = "codec chains are not built yet"

func notBuiltScheme(text, scheme string) error {
	for _, s := range notBuiltSchemes {
		if s == scheme {
			return &Error{Got: quote(text) + ": " + scheme + ":// is not built yet"}
		}
	}
	return nil
}

// notBuiltKey reports whether key is one that is not built, in that kind of mapping, and what its value must be.
func notBuiltKey(kind, key string) (harmless string, ok bool) {
	harmless, ok = notBuiltKeys[strings.ToLower(kind)][key]
	return harmless, ok
}
