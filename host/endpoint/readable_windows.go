package endpoint

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// fionread is FIONREAD of winsock2.h.
const fionread = 0x4004667f

func readable(fd uintptr) (int, error) {
	var n, returned uint32
	err := windows.WSAIoctl(windows.Handle(fd), fionread, nil, 0, (*byte)(unsafe.Pointer(&n)), uint32(unsafe.Sizeof(n)), &returned, nil, 0)
	return int(n), os.NewSyscallError("WSAIoctl FIONREAD", err)
}
