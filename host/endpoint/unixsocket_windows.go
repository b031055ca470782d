package endpoint

import (
	"context"
	"fmt"
	"io/fs"
	"net"
)

// bindUnix listens at path, where no file may be. The permissions of the directory decide who may connect.
func bindUnix(ctx context.Context, path string, mode fs.FileMode) (*net.UnixListener, error) {
	if mode != 0 {
		return nil, fmt.Errorf("got mode %#o, want none: sockets have none on Windows", uint32(mode))
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// lockDir does nothing: directories can't be locked on Windows.
func lockDir(context.Context, string) (unlock func(), err error) { return func() {}, nil }

// chmod does nothing: sockets have no mode on Windows.
func (l *unixListener) chmod(fs.FileMode) error { return nil }
