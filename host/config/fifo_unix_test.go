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

// newFIFO returns the path of a named pipe without a writer: opening it for reading does not return.
func newFIFO(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Load returns when its context ends, even if the file is a pipe without a writer.
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
	if writer, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil { // ends readers that still wait
		_ = writer.Close()
	}
}

// Load reads at most one byte more than the longest file from a device without an end.
func TestReadingADeviceIsBounded(t *testing.T) {
	if _, err := Load(t.Context(), "/dev/zero", LoadOptions{}); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("got %v, want an error about its length", err)
	}
}
