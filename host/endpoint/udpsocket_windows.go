package endpoint

import (
	"os"

	"golang.org/x/sys/windows"
)

// untoldUDP says that this system does not tell where datagrams were sent to: golang.org/x/net does not ask it.
const untoldUDP = true

// shareUDP lets others who do the same listen on the same port.
func shareUDP(fd uintptr) error {
	err := windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_REUSEADDR, 1)
	return os.NewSyscallError("setsockopt SO_REUSEADDR", err)
}

func prepareUDP(uintptr, bool) error { return nil }

// setReceiveBuffer asks for size bytes unless 0, and returns how many were granted.
func setReceiveBuffer(fd uintptr, size int) (granted int, err error) {
	if size > 0 {
		err := windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_RCVBUF, min(size, 1<<30))
		if err != nil {
			return 0, os.NewSyscallError("setsockopt SO_RCVBUF", err)
		}
	}
	granted, err = windows.GetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_RCVBUF)
	return granted, os.NewSyscallError("getsockopt SO_RCVBUF", err)
}

// droppedDatagrams: Windows does not say.
func droppedDatagrams(uintptr) uint32 { return 0 }
