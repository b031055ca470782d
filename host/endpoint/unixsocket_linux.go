package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindUnix listens at path, where no file may be. On Linux, bind creates the file with the permissions of the unbound
// socket, less the umask. bindUnix sets those to mode before it binds, so the file's permissions are never wider than mode.
// Then it adds those that the umask removed.
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

// chmod changes the permissions of the file that l created. It follows no link, and changes no other file.
func (l *unixListener) chmod(mode fs.FileMode) error {
	fd, err := unix.Open(l.path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: l.path, Err: err}
	}
	f := os.NewFile(uintptr(fd), l.path)
	defer f.Close()
	if now, err := f.Stat(); err != nil || !os.SameFile(now, l.file) {
		return errors.Join(errReplaced(l.path), err)
	}
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode)
}
