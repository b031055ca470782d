//go:build unix

package config

import (
	"path/filepath"
	"syscall"
	"testing"
)

// newFIFO returns the path of a named pipe into which nobody writes, so that opening it for reading does not return.
func newFIFO(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
