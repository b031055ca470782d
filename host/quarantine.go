package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// quarantineFile is what a file costs besides its bytes, so that the number of files is bounded too.
	quarantineFile = 512
	// quarantineBuffer is how many bytes are written to a file at a time.
	quarantineBuffer = 32 << 10
	// quarantineRecount is how often a directory that is full is looked at again, for somebody may have made room.
	quarantineRecount = time.Minute
	// quarantineRetry is how long nothing is kept after an error, such as that of a full disk.
	quarantineRetry = time.Second
)

// A quarantine keeps the bytes of frames that broke their framing, each in a file of its own, or several that follow one
// another in one, within a bound for all of them. It is safe for concurrent use.
type quarantine struct {
	dir    string
	max    int64
	log    hclog.Logger
	create func(path string) (quarantineWriter, error)

	mu      sync.Mutex
	used    int64
	counted time.Time // when used was what the directory held
	number  int       // of the last file
	full    bool      // and said so
	failed  time.Time // the last error, which was logged; zero: bytes are kept
}

// A quarantineWriter is a file.
type quarantineWriter interface {
	Write(p []byte) (int, error)
	Close() error
}

// openQuarantine makes the directory if it is not there, and counts what it holds.
func openQuarantine(dir string, most int64, log hclog.Logger) (*quarantine, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	q := &quarantine{dir: dir, max: most, log: log, create: createQuarantineFile}
	if err := q.count(); err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	return q, nil
}

func createQuarantineFile(path string) (quarantineWriter, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// count sets used to what the directory holds. Files that others take out meanwhile don't matter.
func (q *quarantine) count() error {
	q.used, q.counted = 0, time.Now()
	return filepath.WalkDir(q.dir, func(path string, entry fs.DirEntry, err error) error {
		if path != q.dir && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		}
		q.used += quarantineFile + info.Size()
		return nil
	})
}

// file returns what keeps the bytes of a violation. The file is made when there are bytes for it; its name says when, on
// which route, in which session and where in the stream. What does not fit within the bound, or can't be written, is left
// out, which is logged once.
func (q *quarantine) file(route string, session uint64, direction string, offset int64) *quarantined {
	return &quarantined{quarantine: q, began: time.Now(), route: route, session: session, direction: direction, offset: offset}
}

// begin reserves a file, and returns its path; "" if there is no room for one, or if an error has just occurred.
func (q *quarantine) begin(f *quarantined) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.failed.IsZero() && time.Since(q.failed) < quarantineRetry {
		return ""
	}
	if !q.room() {
		q.refuse()
		return ""
	}
	q.number++
	q.used += quarantineFile
	q.full = false
	return filepath.Join(q.dir, fmt.Sprintf("%s-%s-%d-%s-%d-%d.bin", f.began.UTC().Format("20060102T150405.000Z"), safe(f.route),
		f.session, strings.ReplaceAll(f.direction, " ", "-"), f.offset, q.number))
}

// room reports whether there is any for another file. q.mu is held.
func (q *quarantine) room() bool {
	if q.used+quarantineFile < q.max {
		return true
	}
	if time.Since(q.counted) < quarantineRecount {
		return false
	}
	if err := q.count(); err != nil {
		q.fail(err)
		return false
	}
	return q.used+quarantineFile < q.max
}

// refuse says, once, that the bound is reached. q.mu is held.
func (q *quarantine) refuse() {
	if !q.full {
		q.full = true
		q.log.Warn("quarantine is full; no more bytes are kept until files are taken out", "dir", q.dir, "max", q.max)
	}
}

// fail says, once until bytes are kept again, that they can't be. q.mu is held.
func (q *quarantine) fail(err error) {
	if q.failed.IsZero() {
		q.log.Error("quarantine: bytes are not kept until this is fixed", "dir", q.dir, "error", err)
	}
	q.failed = time.Now()
}

// take reserves up to n bytes.
func (q *quarantine) take(n int64) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	fits := max(0, min(n, q.max-q.used))
	if fits < n {
		q.refuse()
	}
	q.used += fits
	return fits
}

// wrote notes that reserved bytes were not written after all, and why; nil: all of them were.
func (q *quarantine) wrote(unwritten int64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used -= unwritten
	switch {
	case err != nil:
		q.fail(err)
	case !q.failed.IsZero():
		q.failed = time.Time{}
		q.log.Info("quarantine: bytes are kept again", "dir", q.dir)
	}
}

// A quarantined keeps bytes in a file. Bytes are collected and written together.
type quarantined struct {
	quarantine *quarantine
	began      time.Time
	route      string
	session    uint64
	direction  string
	offset     int64

	mu      sync.Mutex
	path    string // "": there is no file yet
	file    quarantineWriter
	waiting []byte // to be written
	written int64
	missing int64 // bytes that were left out
	ended   bool  // nothing more is written, since something was left out
}

// Write keeps what fits; the rest is left out without an error.
func (f *quarantined) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		f.missing += int64(len(p))
		return len(p), nil
	}
	if len(f.waiting)+len(p) <= quarantineBuffer {
		f.waiting = append(f.waiting, p...)
		return len(p), nil
	}
	f.store(f.waiting)
	f.waiting = f.waiting[:0]
	if len(p) > quarantineBuffer {
		f.store(p)
	} else {
		f.waiting = append(f.waiting, p...)
	}
	return len(p), nil
}

// Flush writes what was collected.
func (f *quarantined) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flush()
	f.waiting = nil // it may be long until more comes
	return nil
}

func (f *quarantined) flush() {
	f.store(f.waiting)
	f.waiting = f.waiting[:0]
}

// store writes p to the file, which it makes if there is none yet.
func (f *quarantined) store(p []byte) {
	if len(p) == 0 {
		return
	}
	if f.ended || !f.open() {
		f.ended = true
		f.missing += int64(len(p))
		return
	}
	fits := f.quarantine.take(int64(len(p)))
	n, err := f.file.Write(p[:fits])
	f.written += int64(n)
	f.missing += int64(len(p) - n)
	f.ended = n < len(p)
	unwritten := fits - int64(n)
	if err != nil && f.written == 0 {
		f.remove()
		unwritten += quarantineFile
	}
	f.quarantine.wrote(unwritten, err)
}

// open makes the file, and reports whether there is one.
func (f *quarantined) open() bool {
	if f.file != nil {
		return true
	}
	path := f.quarantine.begin(f)
	if path == "" {
		return false
	}
	file, err := f.quarantine.create(path)
	if err != nil {
		f.quarantine.wrote(quarantineFile, err)
		return false
	}
	f.path, f.file = path, file
	return true
}

// remove removes a file that has nothing in it.
func (f *quarantined) remove() {
	_ = f.file.Close()
	_ = os.Remove(f.path)
	f.path, f.file = "", nil
}

// Close writes what was collected and closes the file.
func (f *quarantined) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flush()
	f.waiting, f.ended = nil, true
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// whole returns the path of the file, with all bytes up to now in it but for the missing ones that were left out; "" if
// there is none.
func (f *quarantined) whole() (path string, missing int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flush()
	return f.path, f.missing
}

// safe makes a route's name fit for a file's.
func safe(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, name)
}
