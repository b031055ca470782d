package discovery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lan.key")
	tests := []struct {
		name, key, err string
	}{
		{"the last newline counts", strings.Repeat("k", MinKey-1) + "\n", ""},
		{"the longest", strings.Repeat("k", MaxKey), ""},
		{"an empty file", "", "got 0 bytes, want at least 16"},
		{"too short", strings.Repeat("k", MinKey-1), "got 15 bytes, want at least 16"},
		{"too long", strings.Repeat("k", MaxKey+1), "got more than 4096 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(tt.key), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := ReadKey(t.Context(), path)
			if tt.err == "" && (err != nil || !bytes.Equal(got, []byte(tt.key))) {
				t.Errorf("got %d bytes and %v, want %d bytes", len(got), err, len(tt.key))
			}
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got %v, want %s", err, tt.err)
			}
		})
	}
	if _, err := ReadKey(t.Context(), path+".none"); err == nil {
		t.Error("got no error for a file that is not there")
	}
}

func TestReadKeyFromASilentPipe(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := exec.Command("mkfifo", fifo).Run(); err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrUnexpectedEOF)
	if _, err := ReadKey(ctx, fifo); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want the end of the wait", err)
	}
}
