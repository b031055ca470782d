// Package quarantine keeps in files the bytes of frames that broke their framing. A limit applies to all files together.
package quarantine

import (
	"errors"
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

const (
	// fileCost is how many bytes a file counts in addition to its own. It limits the number of files.
	fileCost = 512
	// bufferSize is how many bytes a File collects before it writes them.
	bufferSize = 32 << 10
	// recountEvery is how often a full directory is counted again, because files may have been removed.
	recountEvery = time.Minute
	// retryAfter is how long no file is made after an error, such as that of a full disk.
	retryAfter = time.Second
)

// A Store is a directory of quarantined files. It is safe for concurrent use.
type Store struct {
	dir    string
	max    int64
	log    hclog.Logger
	create func(path string) (io.WriteCloser, error)

	mu      sync.Mutex
	used    int64     // bytes, with fileCost for each file
	counted time.Time // when the directory was last counted
	number  int       // of the last file
	full    bool      // the limit is reached, and that was logged
	failed  time.Time // when the last error occurred; zero: none since bytes were last written
}

// Open makes the directory dir, with mode 0700, if it does not exist, and counts the bytes in it. most limits these, in bytes;
// each file counts 512 bytes in addition to its own.
func Open(dir string, most int64, log hclog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	dir, err := filepath.EvalSymlinks(dir) // count would not follow a link
	if err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	s := &Store{dir: dir, max: most, log: log, create: createFile}
	if err := s.count(); err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	return s, nil
}

func createFile(path string) (io.WriteCloser, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// count sets used to the bytes that the directory holds. It ignores files that are removed meanwhile.
func (s *Store) count() error {
	s.used, s.counted = 0, time.Now()
	return filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if path != s.dir && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
			return nil // it was removed, or belongs to another user, as lost+found does
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
		s.used += fileCost + info.Size()
		return nil
	})
}

// File returns a File for the bytes of a violation. The file in the directory is made when the first bytes are written to it;
// its name has the time, the route, the session, the direction and the offset in the stream. Bytes that exceed the limit of the
// Store, or can't be written, are left out, which is logged once. The caller must close the File.
func (s *Store) File(route string, session uint64, direction string, offset int64) *File {
	return &File{store: s, began: time.Now(), route: route, session: session, direction: direction, offset: offset}
}

// begin reserves fileCost and returns the path for a new file; "" if there is no room, or less than retryAfter has passed since
// an error.
func (s *Store) begin(f *File) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.failed.IsZero() && time.Since(s.failed) < retryAfter {
		return ""
	}
	if !s.room() {
		s.refuse()
		return ""
	}
	s.number++
	s.used += fileCost
	s.full = false
	return filepath.Join(s.dir, fmt.Sprintf("%s-%s-%d-%s-%d-%d.bin", f.began.UTC().Format("20060102T150405.000Z"), safe(f.route),
		f.session, strings.ReplaceAll(f.direction, " ", "-"), f.offset, s.number))
}

// room reports whether there is room for another file. The caller holds s.mu.
func (s *Store) room() bool {
	if s.used+fileCost < s.max {
		return true
	}
	if time.Since(s.counted) < recountEvery {
		return false
	}
	if err := s.count(); err != nil {
		s.noteError(err)
		return false
	}
	return s.used+fileCost < s.max
}

// refuse logs that the limit is reached, once until there is room again. The caller holds s.mu.
func (s *Store) refuse() {
	if !s.full {
		s.full = true
		s.log.Warn("quarantine is full; no more bytes are kept until files are removed", "dir", s.dir, "max", s.max)
	}
}

// noteError records an error, and logs it unless one was logged since bytes were last written. The caller holds s.mu.
func (s *Store) noteError(err error) {
	if s.failed.IsZero() {
		s.log.Error("quarantine: bytes are not kept until this is fixed", "dir", s.dir, "error", err)
	}
	s.failed = time.Now()
}

// reserve reserves n bytes, or as many as fit, and returns how many it reserved.
func (s *Store) reserve(n int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	fits := max(0, min(n, s.max-s.used))
	if fits < n {
		s.refuse()
	}
	s.used += fits
	return fits
}

// wrote records the result of a write: it gives back the reserved bytes that were not written, and records err, unless nil.
func (s *Store) wrote(unwritten int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= unwritten
	switch {
	case err != nil:
		s.noteError(err)
	case !s.failed.IsZero():
		s.failed = time.Time{}
		s.log.Info("quarantine: bytes are kept again", "dir", s.dir)
	}
}

// A File collects bytes and writes them in large pieces. It is safe for concurrent use.
type File struct {
	store     *Store
	began     time.Time
	route     string
	session   uint64
	direction string
	offset    int64

	mu      sync.Mutex
	path    string // "": there is no file yet
	file    io.WriteCloser
	waiting []byte // collected, and not written yet
	written int64
	missing int64 // bytes that were left out
	ended   bool  // closed, or bytes were left out; nothing more is written
}

// Write collects p. Bytes that do not fit in the Store are left out. Write never returns an error.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		f.missing += int64(len(p))
		return len(p), nil
	}
	if len(f.waiting)+len(p) <= bufferSize {
		f.waiting = append(f.waiting, p...)
		return len(p), nil
	}
	f.write(f.waiting)
	f.waiting = f.waiting[:0]
	if len(p) > bufferSize {
		f.write(p)
	} else {
		f.waiting = append(f.waiting, p...)
	}
	return len(p), nil
}

// Flush writes the collected bytes. It never returns an error.
func (f *File) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flush()
	f.waiting = nil // frees the memory, because more bytes may come only much later
	return nil
}

func (f *File) flush() {
	f.write(f.waiting)
	f.waiting = f.waiting[:0]
}

// write writes p to the file, and makes the file if there is none yet. It counts in f.missing the bytes that it leaves out.
func (f *File) write(p []byte) {
	if len(p) == 0 {
		return
	}
	if f.ended || !f.open() {
		f.ended = true
		f.missing += int64(len(p))
		return
	}
	fits := f.store.reserve(int64(len(p)))
	n, err := f.file.Write(p[:fits])
	f.written += int64(n)
	f.missing += int64(len(p) - n)
	f.ended = n < len(p)
	unwritten := fits - int64(n)
	if err != nil && f.written == 0 {
		f.remove()
		unwritten += fileCost
	}
	f.store.wrote(unwritten, err)
}

// open makes the file if there is none yet, and reports whether there is one now.
func (f *File) open() bool {
	if f.file != nil {
		return true
	}
	path := f.store.begin(f)
	if path == "" {
		return false
	}
	file, err := f.store.create(path)
	if err != nil {
		f.store.wrote(fileCost, err)
		return false
	}
	f.path, f.file = path, file
	return true
}

// remove closes and removes the file, which is empty.
func (f *File) remove() {
	_ = f.file.Close()
	_ = os.Remove(f.path)
	f.path, f.file = "", nil
}

// Close writes the collected bytes and closes the file.
func (f *File) Close() error {
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

// Flushed writes the collected bytes. It returns the path of the file, "" if there is none, and how many bytes were left out.
func (f *File) Flushed() (path string, missing int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flush()
	return f.path, f.missing
}

// safe returns name with "_" for each character that is not an ASCII letter, a digit, or "_", for use in a file name.
func safe(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, name)
}
