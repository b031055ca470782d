package pluginproc

import (
	"maps"
	"os"
	"slices"
)

// passedOn are the variables that a plugin process gets from the host's environment. Everything else may be a secret
// of the host's (credentials are often handed to daemons this way), or may change how a plugin works from one
// installation to the next.
var passedOn = []string{
	"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "GOTRACEBACK",
	"SystemRoot", "SystemDrive", "TEMP", "TMP", "USERPROFILE", // Windows programs don't start without the first
}

// environ returns the environment of a plugin process: what is passed on, then own, then what go-plugin's handshake
// needs. Where a name occurs twice the last one counts.
func environ(own map[string]string, handshake []string) []string {
	var env []string
	for _, name := range passedOn {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		env = append(env, name+"="+own[name])
	}
	return append(env, handshake...)
}
