package pluginproc

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
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
