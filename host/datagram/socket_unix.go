//go:build unix && !linux

package datagram

import (
	"os"

	"golang.org/x/sys/unix"
)

// destinationUnknown is true if the system does not report where datagrams were sent to.
const destinationUnknown = false

// shareUDP lets other sockets that do the same bind to the same port.
func shareUDP(fd uintptr) error {
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 1); err != nil {
			return os.NewSyscallError("setsockopt SO_REUSEADDR, SO_REUSEPORT", err)
		}
	}
	return nil
}

// prepareUDP allows datagrams of up to MaxDatagram bytes: macOS allows only 9 KiB by default.
func prepareUDP(fd uintptr, _ bool) error {
	err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 4*MaxDatagram)
	return os.NewSyscallError("setsockopt SO_SNDBUF", err)
}

// setReceiveBuffer asks for size bytes unless size is 0, halves size while the system refuses, and returns how many bytes
// were granted.
func setReceiveBuffer(fd uintptr, size int) (granted int, err error) {
	for size = min(size, 1<<30); size > 0; size /= 2 {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size) == nil {
			break
		}
	}
	granted, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	return granted, os.NewSyscallError("getsockopt SO_RCVBUF", err)
}

// droppedDatagrams returns 0: these systems don't report the number.
func droppedDatagrams(uintptr) uint32 { return 0 }
