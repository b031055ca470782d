package host

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// kept returns how many files a directory has and their bytes.
func kept(t *testing.T, dir string) (files int, size int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	return len(entries), size
}

func openTestQuarantine(t *testing.T, dir string, most int64) *quarantine {
	t.Helper()
	q, err := openQuarantine(dir, most, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// keep keeps p in pieces, and reports whether there was a file for it.
func keep(t *testing.T, q *quarantine, pieces ...string) bool {
	t.Helper()
	f := q.file("scales/1", 7, "to upstream", 42)
	if f == nil {
		return false
	}
	for _, p := range pieces {
		if _, err := io.WriteString(f, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return true
}

func TestQuarantineBounds(t *testing.T) {
	kilo := strings.Repeat("x", 1000)
	tests := []struct {
		name  string
		max   int64
		frame []string
		files int
		size  int64
	}{
		{"files that fit", 6 * (1000 + quarantineFile), []string{kilo}, 6, 6000},
		{"the last is cut", 2500, []string{kilo}, 2, 2500 - 2*quarantineFile},
		{"one is cut between two writes", 2 * quarantineFile, []string{"four", kilo}, 1, quarantineFile},
		{"frames of no bytes", 10 * quarantineFile, nil, 9, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "kept")
			q := openTestQuarantine(t, dir, test.max)
			for range 100 {
				keep(t, q, test.frame...)
			}
			if files, size := kept(t, dir); files != test.files || size != test.size {
				t.Errorf("got %d files of %d bytes, want %d of %d", files, size, test.files, test.size)
			}
			if again := openTestQuarantine(t, dir, test.max); again.used != q.used {
				t.Errorf("counted again: got %d, want %d", again.used, q.used)
			}
		})
	}
}

// Who takes files out makes room, which is noticed after a while.
func TestQuarantineIsEmptied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "kept")
		q := openTestQuarantine(t, dir, 3*quarantineFile)
		for keep(t, q) {
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if keep(t, q) {
			t.Error("the directory was counted again at once")
		}
		<-time.After(quarantineRecount)
		if !keep(t, q) {
			t.Error("the directory is empty, and still nothing is kept")
		}
	})
}

func TestQuarantineNames(t *testing.T) {
	dir := t.TempDir()
	q := openTestQuarantine(t, dir, 1<<20)
	keep(t, q, "bytes")
	names, err := filepath.Glob(filepath.Join(dir, "*Z-scales_1-7-to-upstream-42-1.bin"))
	if err != nil || len(names) != 1 {
		t.Errorf("got %v (%v), want one file whose name tells route, session, direction and offset", names, err)
	}
}
