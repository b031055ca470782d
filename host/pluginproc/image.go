package pluginproc

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// An image is what is executed as a plugin: the same program with each launch, until it is closed.
type image struct {
	spec   *Spec
	sealed *os.File // the verified bytes in memory that nothing can change; nil without a hash, or where there is none

	mu  sync.Mutex  // held by start
	dir *privateDir // with the verified bytes; nil while not needed
}

// newImage opens, and where the spec has a hash verifies, what the spec says.
func newImage(spec *Spec) (*image, error) {
	im := &image{spec: spec}
	if spec.SHA256 == "" {
		return im, nil
	}
	if err := im.verify(); err != nil {
		im.close()
		return nil, fmt.Errorf("%s: %w", spec.what(), err)
	}
	return im, nil
}

// verify copies the program while hashing it. What will be executed is the copy: a hash of a file that is opened again
// to be executed would be a hash of what it used to be.
func (im *image) verify() error {
	if info, err := os.Stat(im.spec.Path); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return fmt.Errorf("got a %s, want a regular file", info.Mode().Type())
	}
	from, err := os.Open(im.spec.Path)
	if err != nil {
		return err
	}
	defer from.Close()
	hash := sha256.New()
	program := io.TeeReader(from, hash)
	if im.sealed = newSealable(filepath.Base(im.spec.Path)); im.sealed != nil {
		if _, err = io.Copy(im.sealed, program); err == nil {
			err = seal(im.sealed)
		}
	} else {
		err = im.writeCopy(program)
	}
	if err != nil {
		return fmt.Errorf("copy of the program to execute: %w", err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); !strings.EqualFold(got, im.spec.SHA256) {
		return fmt.Errorf("sha256: got %s, want %s", got, im.spec.SHA256)
	}
	return nil
}

// writeCopy writes program to a file in a directory that only this user can enter.
func (im *image) writeCopy(program io.Reader) error {
	dir, err := newPrivateDir("", imagePattern)
	if err != nil {
		return err
	}
	im.dir = dir
	// A process forked while the file is open for writing would hold it open until it executes, and until then the file
	// can't be executed itself (ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	to, err := os.OpenFile(im.copied(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o500)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, program); err != nil {
		to.Close()
		return err
	}
	return to.Close()
}

func (im *image) copied() string { return filepath.Join(im.dir.path, filepath.Base(im.spec.Path)) }

// start launches a process by way of start, which may be called twice: where executing sealed memory is forbidden
// (vm.memfd_noexec, some security modules, no /proc), a private copy is executed instead. It is safe for concurrent use.
func (im *image) start(start func(*exec.Cmd) error) error {
	im.mu.Lock() // of two launches, one makes the copy
	defer im.mu.Unlock()
	switch spec := im.spec; {
	case spec.Path == "":
		path, err := self()
		if err != nil {
			return err
		}
		return start(&exec.Cmd{Path: path, Args: append([]string{os.Args[0], serveCommand, spec.Name}, spec.Args...)})
	case spec.SHA256 == "":
		path, err := filepath.Abs(spec.Path)
		if err != nil {
			return err
		}
		return start(&exec.Cmd{Path: path, Args: append([]string{spec.Path}, spec.Args...)})
	case im.dir == nil:
		if start(sealedCommand(im.sealed, spec)) == nil {
			return nil
		}
		info, err := im.sealed.Stat()
		if err != nil {
			return err
		}
		if err := im.writeCopy(io.NewSectionReader(im.sealed, 0, info.Size())); err != nil {
			return fmt.Errorf("copy of the program to execute: %w", err)
		}
	}
	return start(&exec.Cmd{Path: im.copied(), Args: append([]string{im.spec.Path}, im.spec.Args...)})
}

// self returns the path by which this very program can be executed again. On Linux that holds also when its file was
// deleted, as "go run" does, or replaced by an upgrade: a restarted plugin must be the program that its host is.
func self() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

func (im *image) close() {
	if im.sealed != nil {
		im.sealed.Close()
	}
	if im.dir != nil {
		im.dir.remove()
	}
}

// A stamp tells whether a program was replaced. The zero stamp is that of a program that can't be.
type stamp struct{ file os.FileInfo }

// stamp returns what the program is now.
func (im *image) stamp() stamp {
	if im.spec.Path == "" || im.spec.SHA256 != "" {
		return stamp{}
	}
	info, err := os.Stat(im.spec.Path)
	if err != nil {
		return stamp{}
	}
	return stamp{info}
}

// replacedBy reports whether now, a later stamp, is of another program. One that is gone replaces none.
func (s stamp) replacedBy(now stamp) bool {
	if now.file == nil {
		return false
	}
	return s.file == nil || !os.SameFile(s.file, now.file) || s.file.Size() != now.file.Size() ||
		!s.file.ModTime().Equal(now.file.ModTime())
}
