package pluginproc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func hashOf(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// replace puts another program at path, in one of the ways in which upgrades do.
func replace(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho swapped\n"), 0o700); err != nil {
		t.Fatal(err)
	}
}

// pinnedProgram returns the spec of a test program in a file of its own, with the file's hash.
func pinnedProgram(t *testing.T, name string) Spec {
	t.Helper()
	spec := program(t, name)
	mine := filepath.Join(t.TempDir(), "plugin")
	copyFile(t, spec.Path, mine)
	spec.Path, spec.SHA256 = mine, strings.ToUpper(hashOf(t, mine))
	return spec
}

func TestPinnedPlugin(t *testing.T) {
	t.Run("wrong hash", func(t *testing.T) {
		spec := program(t, "good")
		want := hashOf(t, spec.Path)
		spec.SHA256 = strings.Repeat("ab", 32)
		p, err := Start(testContext(t), spec, Options{})
		if err == nil {
			p.Close()
			t.Fatal("it started")
		}
		if message := "plugin good (" + spec.Path + "): sha256: got " + want + ", want " + spec.SHA256; err.Error() != message {
			t.Errorf("got %q, want %q", err, message)
		}
	})
	t.Run("the file is no file", func(t *testing.T) {
		_, err := Start(testContext(t), Spec{Name: "x", Path: t.TempDir(), SHA256: strings.Repeat("ab", 32)}, Options{})
		if err == nil || !strings.Contains(err.Error(), "want a regular file") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the file is swapped between check and execution, and again before a restart", func(t *testing.T) {
		spec := pinnedProgram(t, "good")
		options := quick(newJournal()).withDefaults()
		im, err := newImage(&spec)
		if err != nil {
			t.Fatal(err)
		}
		defer im.close()
		replace(t, spec.Path)
		p, err := start(testContext(t), spec, options, func(ctx context.Context) (process, error) { return launch(ctx, &spec, im, options) })
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		k := newTalk(mustConfigure(t, p))
		if err := k.say(testContext(t), "before", "!exit-once "+filepath.Join(t.TempDir(), "once"), "after"); err != nil {
			t.Error(err)
		}
	})
	t.Run("memory can't be executed", func(t *testing.T) {
		spec := pinnedProgram(t, "good")
		im := &image{spec: &spec}
		from, err := os.Open(spec.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		if err := im.writeCopy(from); err != nil {
			t.Fatal(err)
		}
		defer im.close()
		replace(t, spec.Path)
		options := quick(newJournal()).withDefaults()
		p, err := start(testContext(t), spec, options, func(ctx context.Context) (process, error) { return launch(ctx, &spec, im, options) })
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := newTalk(mustConfigure(t, p)).say(testContext(t), "hi"); err != nil {
			t.Error(err)
		}
		im.close()
		if im.dir == nil {
			return
		}
		if _, err := os.Stat(im.dir.path); err == nil {
			t.Error("the copy is left behind")
		}
	})
}

func TestPinnedScript(t *testing.T) {
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip(err)
	}
	spec := program(t, "good")
	script := filepath.Join(t.TempDir(), "plugin.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec '"+spec.Path+"' \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	spec.Path, spec.SHA256 = script, hashOf(t, script)
	p := mustStart(t, spec, quick(newJournal()))
	replace(t, script)
	if err := newTalk(mustConfigure(t, p)).say(testContext(t), "hi"); err != nil {
		t.Error(err)
	}
}
