package endpoint

import (
	"context"
	"io/fs"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindUnix listens at path, where nothing is. On Linux the permissions of a socket that is not bound yet are those that
// its file is made with, less the umask. So the file is never wider than mode, not even for a moment; what the umask
// took is then added.
func bindUnix(ctx context.Context, path string, mode fs.FileMode) (*net.UnixListener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if mode == 0 {
			return nil
		}
		if failed := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), uint32(mode)) }); failed != nil {
			return failed
		}
		return os.NewSyscallError("fchmod", err)
	}}
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if mode != 0 {
		if err := os.Chmod(path, mode); err != nil {
			_ = l.Close()
			return nil, err
		}
	}
	return l.(*net.UnixListener), nil
}
