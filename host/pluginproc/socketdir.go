package pluginproc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The address of a Unix socket holds 104 bytes on the BSDs and macOS and 108 on Linux, with a final NUL. go-plugin puts
// a directory and a socket with random names of up to 10 digits below ours.
const (
	maxSocketPath = 103
	socketPattern = "framehost-"
	belowBase     = len("/"+socketPattern+"4294967295") + len("/plugin-dir4294967295") + len("/plugin4294967295")
)

// newSocketDir makes a directory for the sockets of one process, which only this user can enter, under the first of
// the usual places whose name is short enough.
func newSocketDir() (string, error) {
	var errs []error
	for _, base := range []string{os.TempDir(), os.Getenv("XDG_RUNTIME_DIR"), "/tmp"} {
		switch {
		case base == "":
			continue
		case len(base)+belowBase > maxSocketPath:
			errs = append(errs, fmt.Errorf("%s: too long for the address of a socket", base))
			continue
		}
		dir, err := os.MkdirTemp(base, socketPattern)
		if err == nil {
			return dir, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("directory for plugin sockets: %w", errors.Join(errs...))
}

// within reports whether path names something below dir.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) && filepath.IsAbs(path)
}
