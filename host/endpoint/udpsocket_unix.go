//go:build unix && !linux

package endpoint

import (
	"os"

	"golang.org/x/sys/unix"
)

// untoldUDP says that this system does not tell where datagrams were sent to.
const untoldUDP = false

// shareUDP lets others who do the same listen on the same port.
func shareUDP(fd uintptr) error {
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 1); err != nil {
			return os.NewSyscallError("setsockopt SO_REUSEADDR, SO_REUSEPORT", err)
		}
	}
	return nil
}

// prepareUDP lets datagrams be as long as they can: macOS allows 9 KiB unless more is asked for.
func prepareUDP(fd uintptr, _ bool) error {
	err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 4*MaxDatagram)
	return os.NewSyscallError("setsockopt SO_SNDBUF", err)
}

// setReceiveBuffer asks for size bytes unless 0, or for less if that is refused, and returns how many were granted.
func setReceiveBuffer(fd uintptr, size int) (granted int, err error) {
	for size = min(size, 1<<30); size > 0; size /= 2 {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size) == nil {
			break
		}
	}
	granted, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	return granted, os.NewSyscallError("getsockopt SO_RCVBUF", err)
}

// droppedDatagrams: these systems don't say.
func droppedDatagrams(uintptr) uint32 { return 0 }
