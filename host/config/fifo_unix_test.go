//go:build unix

package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
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

// The end of its context ends a reading that nothing else would.
func TestReadingAPipeEndsWithTheContext(t *testing.T) {
	path := newFIFO(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Load(ctx, path, LoadOptions{}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), path) {
		t.Errorf("Load: got %v, want an error that names the file and wraps %v", err, context.Canceled)
	}
	if _, err := ControlSocket(ctx, path, LoadOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("ControlSocket: got %v, want an error that wraps %v", err, context.Canceled)
	}
	if writer, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil { // which lets go of those that still wait
		_ = writer.Close()
	}
}

// What has no end is read up to the longest file, and one byte further.
func TestReadingADeviceIsBounded(t *testing.T) {
	if _, err := Load(t.Context(), "/dev/zero", LoadOptions{}); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("got %v, want an error about its length", err)
	}
}
