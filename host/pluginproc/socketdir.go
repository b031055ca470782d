package pluginproc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// The address of a Unix socket holds 104 bytes on the BSDs and macOS and 108 on Linux, with a final NUL. go-plugin puts
// a directory and a socket with random names of up to 10 digits below ours.
const (
	maxSocketPath = 103
	socketPattern = "framehost-"
	imagePattern  = "framehost-plugin-"
	belowBase     = len("/"+socketPattern+"4294967295") + len("/plugin-dir4294967295") + len("/plugin4294967295")
)

// A privateDir is a directory that only this user can enter, for as long as this process needs it. It is locked as long: another
// framehost knows by that whether its owner is gone, and then removes it.
type privateDir struct {
	path string
	lock *os.File // nil where directories can't be locked
	once sync.Once
}

// newPrivateDir makes a directory below base.
func newPrivateDir(base, pattern string) (*privateDir, error) {
	path, err := os.MkdirTemp(base, pattern)
	if err != nil {
		return nil, err
	}
	return &privateDir{path: path, lock: lockDir(path)}, nil
}

// remove removes the directory, with what is in it. To do it again does nothing.
func (d *privateDir) remove() {
	d.once.Do(func() {
		_ = os.RemoveAll(d.path) // what can't be removed is left for the system to clean up
		if d.lock != nil {
			d.lock.Close()
		}
	})
}

// newSocketDir makes a directory for the sockets of one process under the first of the usual places whose name is short enough.
func newSocketDir() (*privateDir, error) {
	var errs []error
	for _, base := range []string{os.TempDir(), os.Getenv("XDG_RUNTIME_DIR"), "/tmp"} {
		switch {
		case base == "":
			continue
		case len(base)+belowBase > maxSocketPath:
			errs = append(errs, fmt.Errorf("%s: too long for the address of a socket", base))
			continue
		}
		sweepOnce(base)
		dir, err := newPrivateDir(base, socketPattern)
		if err == nil {
			return dir, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("directory for plugin sockets: %w", errors.Join(errs...))
}

// leftFor is how old a directory is at least that is swept: a younger one may be about to be locked.
const leftFor = time.Minute

var swept sync.Map // places, by name

// sweepOnce removes what processes that are gone have left in base, the first time that it is called for base.
func sweepOnce(base string) {
	if _, done := swept.LoadOrStore(base, true); !done {
		sweep(base, time.Now().Add(-leftFor))
	}
}

// sweep removes the private directories in base that were made before, and whose owners are gone: a host that was killed while a plugin
// came up could not remove them itself.
func sweep(base string, before time.Time) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return // then none can be made there either
	}
	for _, entry := range entries {
		if !entry.IsDir() || !isPrivateDir(entry.Name()) {
			continue
		}
		path := filepath.Join(base, entry.Name())
		info, err := entry.Info()
		if err != nil || info.ModTime().After(before) || info.Mode().Perm() != 0o700 {
			continue
		}
		if lock := lockDir(path); lock != nil { // which fails for another user's too
			_ = os.RemoveAll(path)
			lock.Close()
		}
	}
}

// isPrivateDir reports whether name is one that newPrivateDir makes.
func isPrivateDir(name string) bool {
	digits, ok := strings.CutPrefix(name, imagePattern)
	if !ok {
		digits, ok = strings.CutPrefix(name, socketPattern)
	}
	return ok && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// within reports whether path names something below dir.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) && filepath.IsAbs(path)
}
