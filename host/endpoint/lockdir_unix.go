//go:build unix

package endpoint

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const lockPatience = 5 * time.Second

// lockDir locks dir against other processes that call lockDir, until unlock. Without the lock, two processes that start together could
// both find a stale socket, and the slower one would remove the socket of the faster.
//
// Processes hold the lock only for moments, so lockDir waits at most lockPatience for it, and then succeeds without it: any user who may
// read dir can hold the lock. It also succeeds without it if this process may not read dir, or if the file system has no locks.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0) // opening a pipe could wait for ever
	if errors.Is(err, fs.ErrPermission) {
		return func() {}, nil // this process may create files in dir but not read it
	}
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() {
				_ = unix.Flock(int(f.Fd()), unix.LOCK_UN) // a child between fork and exec has a copy of f, so Close is not enough
				_ = f.Close()
			}, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = f.Close()
			return func() {}, nil // the file system has no locks
		}
		timer := time.NewTimer(10 * time.Millisecond)
		select {
		case <-timer.C:
		case <-limited.Done():
			timer.Stop()
			_ = f.Close()
			return func() {}, context.Cause(ctx)
		}
	}
}
