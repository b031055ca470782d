package pluginproc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

func TestSealedProgramCannotBeChanged(t *testing.T) {
	spec := pinnedProgram(t, "good")
	im, err := newImage(&spec)
	if err != nil {
		t.Fatal(err)
	}
	defer im.close()
	if im.sealed == nil {
		t.Skip("no memory to execute")
	}
	if _, err := im.sealed.WriteAt([]byte("x"), 0); err == nil {
		t.Error("it was written to")
	}
	if err := im.sealed.Truncate(0); err == nil {
		t.Error("it was cut")
	}
	again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", im.sealed.Fd()), os.O_RDWR, 0)
	if err == nil {
		defer again.Close()
		if _, err := again.Write([]byte("x")); err == nil {
			t.Error("it was opened again and written to")
		}
	}
}

func TestCopyIsExecutedWhereMemoryCannotBe(t *testing.T) {
	spec := pinnedProgram(t, "good")
	im, err := newImage(&spec)
	if err != nil {
		t.Fatal(err)
	}
	defer im.close()
	replace(t, spec.Path)
	var paths []string
	forbidden := func(cmd *exec.Cmd) error {
		paths = append(paths, cmd.Path)
		if cmd.Path == "/proc/self/fd/3" {
			return os.ErrPermission
		}
		if got := hashOf(t, cmd.Path); got != hashOf(t, im.copied()) {
			t.Errorf("executes %s", got)
		}
		return nil
	}
	for range 2 {
		if err := im.start(forbidden); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"/proc/self/fd/3", im.copied(), im.copied()}
	if len(paths) != len(want) || paths[0] != want[0] || paths[1] != want[1] || paths[2] != want[2] {
		t.Errorf("executed %v, want %v", paths, want)
	}
	info, err := os.Stat(im.dir.path)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s: %v, %v", im.dir.path, info.Mode(), err)
	}
}

// A process that can't be started because the system is short of something is no reason to copy the program, and a copy that failed
// is not executed.
func TestShortageAndFailedCopies(t *testing.T) {
	spec := pinnedProgram(t, "good")
	im, err := newImage(&spec)
	if err != nil {
		t.Fatal(err)
	}
	defer im.close()
	calls := 0
	err = im.start(func(*exec.Cmd) error {
		calls++
		return syscall.EAGAIN
	})
	if !errors.Is(err, syscall.EAGAIN) || calls != 1 || im.dir != nil {
		t.Errorf("got %v after %d attempts and the copy %v, want one attempt and no copy", err, calls, im.dir)
	}
	if err := im.writeCopy(io.MultiReader(strings.NewReader("#!/bin/sh\n"), iotest.ErrReader(syscall.ENOSPC))); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want %v", err, syscall.ENOSPC)
	}
	var executed string
	if err := im.start(func(cmd *exec.Cmd) error {
		executed = cmd.Path
		return nil
	}); err != nil || executed != "/proc/self/fd/3" {
		t.Errorf("got %v, and %s was executed, want the sealed memory", err, executed)
	}
}
