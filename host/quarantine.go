package host

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// A quarantine keeps the bytes of frames that broke their framing, each in a file of its own, within a bound for all of
// them. It is safe for concurrent use.
type quarantine struct {
	dir string
	max int64
	log hclog.Logger

	mu     sync.Mutex
	used   int64
	number int
	full   bool
}

// openQuarantine makes the directory if it is not there, and counts what it holds.
func openQuarantine(dir string, most int64, log hclog.Logger) (*quarantine, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	q := &quarantine{dir: dir, max: most, log: log}
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		q.used += info.Size()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	return q, nil
}

// file returns a new file for the bytes of one frame. Its name tells when, on which route, in which session and
// where in the stream. What does not fit within the bound is left out, which is logged once. nil: there is no file.
func (q *quarantine) file(route string, session uint64, direction string, offset int64) io.WriteCloser {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.used >= q.max {
		q.refuse()
		return nil
	}
	q.number++
	name := fmt.Sprintf("%s-%s-%d-%s-%d-%d.bin", time.Now().UTC().Format("20060102T150405.000Z"), safe(route), session,
		strings.ReplaceAll(direction, " ", "-"), offset, q.number)
	f, err := os.OpenFile(filepath.Join(q.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		q.log.Error("quarantine: bytes are not kept", "error", err)
		return nil
	}
	return &quarantined{quarantine: q, file: f}
}

// refuse says, once, that the bound is reached. q.mu is held.
func (q *quarantine) refuse() {
	if !q.full {
		q.full = true
		q.log.Warn("quarantine is full; no more bytes are kept", "dir", q.dir, "max", q.max)
	}
}

// take reserves up to n bytes.
func (q *quarantine) take(n int64) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, q.max-q.used)
	q.used += n
	return n
}

type quarantined struct {
	*quarantine
	file *os.File
}

// Write keeps what fits; the rest is left out without an error.
func (f *quarantined) Write(p []byte) (int, error) {
	fits := f.take(int64(len(p)))
	if _, err := f.file.Write(p[:fits]); err != nil {
		return 0, err
	}
	if fits < int64(len(p)) {
		f.mu.Lock()
		f.refuse()
		f.mu.Unlock()
	}
	return len(p), nil
}

// Close closes the file.
func (f *quarantined) Close() error { return f.file.Close() }

// safe makes a route's name fit for a file's.
func safe(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, name)
}
