package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"testing"
)

// The example configurations have no errors and no warnings.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "examples", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d examples (%v), want some", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), "framehost", "check", "-c", file).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if bytes.Count(out, []byte("\n")) != 1 {
				t.Errorf("got\n%s\nwant no warnings", out)
			}
		})
	}
}
