package pluginproc

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
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

// An image is the program that each launch of a plugin executes. With a hash, all launches execute the same bytes.
type image struct {
	spec   *Spec
	sealed *os.File // the verified bytes, in sealed memory; nil without a hash, or if the system has no sealed memory

	mu  sync.Mutex  // held by start
	dir *privateDir // holds a copy of the verified bytes; nil while no copy is needed
}

// newImage returns the image for spec. If spec has a hash, newImage verifies the program.
func newImage(spec *Spec) (*image, error) {
	im := &image{spec: spec}
	if spec.SHA256 == "" {
		return im, nil
	}
	if err := im.verify(); err != nil {
		im.close()
		return nil, fmt.Errorf("%s: %w", spec.label(), err)
	}
	return im, nil
}

// verify copies the program and hashes the copied bytes. Launches execute the copy, because the file itself could be changed between
// hashing it and executing it.
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

// writeCopy writes program to a file in a directory that only this user can enter. After an error there is no copy.
func (im *image) writeCopy(program io.Reader) error {
	dir, err := newPrivateDir("", imagePattern)
	if err != nil {
		return err
	}
	if err := writeProgram(im.copyIn(dir), program); err != nil {
		dir.remove()
		return err
	}
	im.dir = dir
	return nil
}

func writeProgram(path string, program io.Reader) error {
	// A process forked while the file is open for writing keeps it open until that process calls exec, and until then the file can't be
	// executed (ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o500)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, program); err != nil {
		to.Close()
		return err
	}
	return to.Close()
}

func (im *image) copied() string { return im.copyIn(im.dir) }

func (im *image) copyIn(dir *privateDir) string {
	return filepath.Join(dir.path, filepath.Base(im.spec.Path))
}

// start calls its argument to start a process. If the system forbids executing sealed memory (vm.memfd_noexec, some security modules, no
// /proc), start calls it a second time, to execute a private copy. It is safe for concurrent use.
func (im *image) start(start func(*exec.Cmd) error) error {
	im.mu.Lock() // so that only one of two launches makes the copy
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
		err := start(sealedCommand(im.sealed, spec))
		if err == nil || isShortage(err) {
			return err
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

// isShortage reports whether a process could not be started because the system has no resources for it now. The memory in which the
// program lies is not to blame, and the next attempt may succeed.
func isShortage(err error) bool {
	for _, shortage := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, shortage) {
			return true
		}
	}
	return false
}

// self returns a path that executes this very program. On Linux the path works even after the file was deleted, as "go run" does, or
// replaced by an upgrade: a restarted built-in plugin must run the same program as its host.
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

// A stamp identifies one version of a program file. The zero stamp is that of a program that can't be replaced, or whose file is gone.
type stamp struct{ file os.FileInfo }

// stamp returns the stamp of the program as it is now.
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

// replacedBy reports whether now, a later stamp, is of another program. A file that is gone has not been replaced.
func (s stamp) replacedBy(now stamp) bool {
	if now.file == nil {
		return false
	}
	return s.file == nil || !os.SameFile(s.file, now.file) || s.file.Size() != now.file.Size() ||
		!s.file.ModTime().Equal(now.file.ModTime())
}
