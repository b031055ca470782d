//go:build unix && !linux

package endpoint

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// bindUnix listens at path, where no file may be. It creates the socket in a private directory next to path, sets its mode,
// and only then moves it to path, so no process can connect before the mode is set. The name of the private directory
// counts towards the maximum length of a socket's path.
func bindUnix(ctx context.Context, path string, mode fs.FileMode) (*net.UnixListener, error) {
	var config net.ListenConfig
	if mode == 0 {
		l, err := config.Listen(ctx, "unix", path)
		if err != nil {
			return nil, err
		}
		return l.(*net.UnixListener), nil
	}
	private, err := os.MkdirTemp(filepath.Dir(path), ".") // only this user may enter it
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	made := filepath.Join(private, "s")
	l, err := config.Listen(ctx, "unix", made)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err = os.Chmod(made, mode); err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// chmod changes the permissions of the file that l created.
func (l *unixListener) chmod(mode fs.FileMode) error {
	if now, err := os.Lstat(l.path); err != nil || !os.SameFile(now, l.file) {
		return errors.Join(errReplaced(l.path), err)
	}
	return os.Chmod(l.path, mode)
}
