//go:build unix

package endpoint

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// abandon leaves a socket file at path without a listener, as a killed process does.
func abandon(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
}

func TestUnixSocketMode(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o660, 0o666, 0o777} {
		addr := testAddress(t, "unix")
		listening(t, addr, ListenOptions{Mode: mode})
		file, err := os.Lstat(addr.Address)
		if err != nil {
			t.Fatal(err)
		}
		if got := file.Mode(); got != mode|fs.ModeSocket {
			t.Errorf("got %v, want a socket with %v", got, mode)
		}
	}
}

func TestUnixSocketFileComesAndGoes(t *testing.T) {
	addr := testAddress(t, "unix")
	abandon(t, addr.Address)
	for range 2 { // first with a stale socket, then without
		l := listening(t, addr, ListenOptions{Mode: 0o600})
		c, err := Dial(t.Context(), addr, DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		_ = l.Close()
		if entries, err := os.ReadDir(filepath.Dir(addr.Address)); err != nil || len(entries) != 0 {
			t.Errorf("got %v, %v after Close, want an empty directory", entries, err)
		}
	}
}

func TestCloseLeavesAnothersSocket(t *testing.T) {
	addr := testAddress(t, "unix")
	l := listening(t, addr, ListenOptions{})
	if err := os.Remove(addr.Address); err != nil {
		t.Fatal(err)
	}
	listening(t, addr, ListenOptions{})
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	c, err := Dial(t.Context(), addr, DialOptions{})
	if err != nil {
		t.Fatalf("got %v, want the other listener reachable", err)
	}
	_ = c.Close()
}

func TestListenWhereSomethingIs(t *testing.T) {
	tests := []struct {
		name, path string
		options    ListenOptions
		before     func(t *testing.T, path string) error
		want       string
	}{
		{"a live socket", "s", ListenOptions{}, func(t *testing.T, path string) error {
			listening(t, Address{"unix", path}, ListenOptions{})
			return nil
		}, "another process listens there"},
		{"a datagram socket", "s", ListenOptions{}, func(t *testing.T, path string) error {
			c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
			if err == nil {
				t.Cleanup(func() { _ = c.Close() })
			}
			return err
		}, "a socket is there, and whether another process listens on it can't be told: connect: protocol wrong type for socket"},
		{"a file", "s", ListenOptions{}, func(_ *testing.T, path string) error { return os.WriteFile(path, nil, 0o600) },
			"got a regular file there, want nothing or a socket that no process listens on"},
		{"a directory", "s", ListenOptions{}, func(_ *testing.T, path string) error { return os.Mkdir(path, 0o700) },
			"got a directory there, want nothing or a socket that no process listens on"},
		{"a link", "s", ListenOptions{}, func(_ *testing.T, path string) error { return os.Symlink("x", path) },
			"got a symbolic link there, want nothing or a socket that no process listens on"},
		{"no directory", "x/s", ListenOptions{}, nil, "no such file or directory"},
		{"more than permissions", "s", ListenOptions{Mode: 0o1777}, nil, "got mode 01777, want permissions, at most 0777"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(shortDir(t), test.path)
			if test.before != nil {
				if err := test.before(t, path); err != nil {
					t.Fatal(err)
				}
			}
			_, before := os.Lstat(path)
			_, err := Listen(t.Context(), Address{"unix", path}, test.options)
			if err == nil || !strings.HasPrefix(err.Error(), "listen unix://"+path+": ") || !strings.HasSuffix(err.Error(), test.want) {
				t.Errorf("got %v, want listen unix://%s: %s", err, path, test.want)
			}
			if _, after := os.Lstat(path); (before == nil) != (after == nil) {
				t.Errorf("got %v where %v was before, want nothing touched", after, before)
			}
		})
	}
	_, err := Listen(t.Context(), Address{"unix", "@name"}, ListenOptions{})
	if err == nil || !strings.Contains(err.Error(), "abstract") {
		t.Errorf("got %v, want an abstract socket refused", err)
	}
}

func TestOfManyThatStartTogetherOneListens(t *testing.T) {
	addr := testAddress(t, "unix")
	for range 20 {
		abandon(t, addr.Address)
		var winner atomic.Pointer[Listener]
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				l, err := Listen(t.Context(), addr, ListenOptions{})
				if err == nil && !winner.CompareAndSwap(nil, l) {
					t.Error("got two listeners on one path, want one")
					_ = l.Close()
				}
			})
		}
		all.Wait()
		if winner.Load() == nil {
			t.Fatal("got no listener, want one")
		}
		_ = winner.Load().Close()
	}
}

// A change of the mode follows no link that has replaced the socket.
func TestModeOfAReplacedSocket(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	l := listening(t, Address{"unix", path}, ListenOptions{Mode: 0o600})
	other := filepath.Join(t.TempDir(), "other")
	if err := errors.Join(os.WriteFile(other, nil, 0o600), os.Remove(path), os.Symlink(other, path)); err != nil {
		t.Fatal(err)
	}
	to, err := l.Transfer(ListenOptions{Mode: 0o666})
	if err == nil || !strings.Contains(err.Error(), "another file has replaced the socket") {
		t.Errorf("got %v, want an error about the replaced socket", err)
	}
	defer to.Close()
	if info, err := os.Stat(other); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v; want the other file's mode as before", info.Mode(), err)
	}
}

// Another process that holds the lock of the directory delays listening, and does not prevent it.
func TestListenInALockedDirectory(t *testing.T) {
	dir := shortDir(t)
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	unlock, err := lockDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrUnexpectedEOF)
	if _, err := lockDir(ctx, dir); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want the end of the wait", err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), Address{"unix", filepath.Join(fifo, "s")}, ListenOptions{}); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a pipe in place of the directory: got %v, want %v", err, unix.ENOTDIR)
	}
}
