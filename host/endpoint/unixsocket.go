package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// A unixListener owns the file of its socket.
type unixListener struct {
	*net.UnixListener
	path string
	file fs.FileInfo // identifies the file that was created
}

// listenUnix creates a socket at path and listens. Under the lock of the directory, no other process that calls listenUnix
// can take the socket for stale before it listens.
func listenUnix(ctx context.Context, path string, mode fs.FileMode) (*unixListener, error) {
	if strings.HasPrefix(path, "@") {
		return nil, errors.New("got an abstract socket, want a path: anyone may connect to the former")
	}
	if mode&^fs.ModePerm != 0 {
		return nil, fmt.Errorf("got mode %#o, want permissions, at most 0777", uint32(mode))
	}
	unlock, err := lockDir(ctx, filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	l, err := bindUnix(ctx, path, mode)
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // package net removes whatever file has the name, perhaps that of another process
	file, err := os.Lstat(path)
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return &unixListener{l, path, file}, nil
}

// removeStale removes the socket at path if no process listens on it.
func removeStale(ctx context.Context, path string) error {
	file, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if file.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("got %s there, want nothing or a socket that no process listens on", kindOfFile(file.Mode()))
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = c.Close()
		return errors.New("another process listens there")
	case !errors.Is(err, errConnectionRefused):
		return fmt.Errorf("a socket is there, and whether another process listens on it can't be told: %w", bare(err))
	}
	return os.Remove(path)
}

func kindOfFile(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a regular file"
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	}
	return "a special file"
}

func errReplaced(path string) error {
	return fmt.Errorf("%s: another file has replaced the socket", path)
}

// Close removes the file and ends listening. The system does not reuse a file's identity while its socket is open, so a
// file with that identity is the one that l created.
func (l *unixListener) Close() error {
	var removed error
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.file) {
		removed = os.Remove(l.path)
	}
	return errors.Join(removed, l.UnixListener.Close())
}
