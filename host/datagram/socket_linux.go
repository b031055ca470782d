package datagram

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// destinationUnknown is true if the system does not report where datagrams were sent to.
const destinationUnknown = false

// shareUDP lets other sockets that do the same bind to the same port.
func shareUDP(fd uintptr) error {
	return os.NewSyscallError("setsockopt SO_REUSEADDR", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
}

// prepareUDP stops delivery of datagrams to groups that only other sockets have joined, which Linux delivers by default.
func prepareUDP(fd uintptr, v6 bool) error {
	if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0); err != nil {
		return os.NewSyscallError("setsockopt IP_MULTICAST_ALL", err)
	}
	if v6 {
		err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0)
		if err != unix.ENOPROTOOPT { // before Linux 4.20, the option does not exist
			return os.NewSyscallError("setsockopt IPV6_MULTICAST_ALL", err)
		}
	}
	return nil
}

// setReceiveBuffer asks for size bytes unless size is 0, and returns how many were granted. Only a privileged process gets
// more than net.core.rmem_max. The kernel doubles the size for its own bookkeeping, so half of it is returned.
func setReceiveBuffer(fd uintptr, size int) (granted int, err error) {
	if size > 0 {
		size = min(size, 1<<30)
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
			if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size); err != nil {
				return 0, os.NewSyscallError("setsockopt SO_RCVBUF", err)
			}
		}
	}
	n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	return n / 2, os.NewSyscallError("getsockopt SO_RCVBUF", err)
}

// droppedDatagrams returns how many datagrams the kernel has dropped at a socket, modulo 2^32, or 0 if the kernel does not
// report it. SO_RXQ_OVFL reports the same number, but only with the next datagram.
func droppedDatagrams(fd uintptr) uint32 {
	const drops = 8 // SK_MEMINFO_DROPS of include/uapi/linux/sock_diag.h
	var info [drops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return info[drops]
}
