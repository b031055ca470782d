package endpoint

import (
	"os"

	"golang.org/x/sys/unix"
)

func readable(fd uintptr) (int, error) {
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	return n, os.NewSyscallError("ioctl SIOCINQ", err)
}
