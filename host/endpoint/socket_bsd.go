//go:build unix && !linux

package endpoint

import (
	"os"

	"golang.org/x/sys/unix"
)

// fionread is FIONREAD of sys/filio.h, the same on all BSDs and macOS.
const fionread = 0x4004667f

func readable(fd uintptr) (int, error) {
	n, err := unix.IoctlGetInt(int(fd), fionread)
	return n, os.NewSyscallError("ioctl FIONREAD", err)
}
