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

// The address of a Unix socket has at most 104 bytes on the BSDs and macOS and 108 on Linux, including a final NUL. Below a socket
// directory, go-plugin creates a directory and a socket with random names of up to 10 digits.
const (
	maxSocketPath = 103
	socketPattern = "framehost-"
	imagePattern  = "framehost-plugin-"
	belowBase     = len("/"+socketPattern+"4294967295") + len("/plugin-dir4294967295") + len("/plugin4294967295")
)

// A privateDir is a temporary directory that only this user can enter. This process holds a lock on it while it needs the directory.
// Another framehost that finds the directory unlocked knows that its owner is gone, and removes it.
type privateDir struct {
	path string
	lock *os.File // nil if directories can't be locked
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

// remove removes the directory and everything in it. Later calls do nothing.
func (d *privateDir) remove() {
	d.once.Do(func() {
		_ = os.RemoveAll(d.path) // the system will clean up anything that can't be removed
		if d.lock != nil {
			d.lock.Close()
		}
	})
}

// newSocketDir makes a directory for the sockets of one process. It makes the directory below the temporary directory, XDG_RUNTIME_DIR
// or /tmp: the first of these that has a short enough path and lets it make one.
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

// leftFor is the least age of a directory that sweep may remove: the owner of a younger one may not have locked it yet.
const leftFor = time.Minute

var swept sync.Map // directories that sweepOnce has swept, by path

// sweepOnce calls sweep for base, the first time that it is called for base.
func sweepOnce(base string) {
	if _, done := swept.LoadOrStore(base, true); !done {
		sweep(base, time.Now().Add(-leftFor))
	}
}

// sweep removes the private directories in base that were last modified before before and whose owners are gone: a host that was killed
// while a plugin came up could not remove them itself.
func sweep(base string, before time.Time) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return // framehost can't make directories there either
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
		if lock := lockDir(path); lock != nil { // lockDir also fails for another user's directory
			_ = os.RemoveAll(path)
			lock.Close()
		}
	}
}

// isPrivateDir reports whether name is a name that newPrivateDir gives to a directory.
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
