package endpoint

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// untoldUDP says that this system does not tell where datagrams were sent to.
const untoldUDP = false

// shareUDP lets others who do the same listen on the same port.
func shareUDP(fd uintptr) error {
	return os.NewSyscallError("setsockopt SO_REUSEADDR", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
}

// prepareUDP keeps away what is sent to groups that other sockets have joined, which Linux delivers too by default.
func prepareUDP(fd uintptr, v6 bool) error {
	if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0); err != nil {
		return os.NewSyscallError("setsockopt IP_MULTICAST_ALL", err)
	}
	if v6 {
		err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0)
		if err != unix.ENOPROTOOPT { // as before Linux 4.20, where nothing can be done about it
			return os.NewSyscallError("setsockopt IPV6_MULTICAST_ALL", err)
		}
	}
	return nil
}

// setReceiveBuffer asks for size bytes unless 0, and returns how many were granted. Only a privileged process gets more
// than net.core.rmem_max. The kernel doubles what it is asked for, to have room for its own records.
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

// droppedDatagrams returns how many datagrams the kernel dropped at a socket so far, modulo 2^32; 0 where it does not
// say. SO_RXQ_OVFL has the same number, but tells it with the next datagram only.
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
