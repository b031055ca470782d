//go:build unix && !linux

package endpoint

import (
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// bindUnix listens at path, where nothing is. The socket is made in a private directory beside it, given its mode, and
// then moved, so that nobody reaches it before. The directory's name counts to the length that a socket's path may have.
func bindUnix(ctx context.Context, path string, mode fs.FileMode) (*net.UnixListener, error) {
	var config net.ListenConfig
	if mode == 0 {
		l, err := config.Listen(ctx, "unix", path)
		if err != nil {
			return nil, err
		}
		return l.(*net.UnixListener), nil
	}
	private, err := os.MkdirTemp(filepath.Dir(path), ".") // which only we may enter
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
