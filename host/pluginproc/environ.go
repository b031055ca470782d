package pluginproc

import (
	"maps"
	"os"
	"slices"
)

// passedOn are the variables that a plugin process gets from the host's environment. Other variables may hold secrets of the host
// (daemons often get credentials this way), or may make a plugin work differently from one installation to the next.
var passedOn = []string{
	"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "GOTRACEBACK",
	"SystemRoot", "SystemDrive", "TEMP", "TMP", "USERPROFILE", // Windows programs don't start without the first
}

// environ returns the environment of a plugin process: the variables passed on from the host, then own, then handshake, the variables
// of go-plugin's handshake. If a name occurs twice, the later one counts.
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
