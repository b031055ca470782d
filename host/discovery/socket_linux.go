package discovery

import (
	"encoding/binary"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// prepareSocket lets a socket broadcast, share its port, and report on which interface packets arrive. SO_REUSEADDR allows
// processes of different users to share the port (SO_REUSEPORT does not), and each receives every broadcast.
func prepareSocket(_, _ string, raw syscall.RawConn) error {
	var failed error
	set := func(fd uintptr, name string, level, option int) {
		if err := unix.SetsockoptInt(int(fd), level, option, 1); err != nil && failed == nil {
			failed = os.NewSyscallError("setsockopt "+name, err)
		}
	}
	err := raw.Control(func(fd uintptr) {
		set(fd, "SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR)
		set(fd, "SO_BROADCAST", unix.SOL_SOCKET, unix.SO_BROADCAST)
		set(fd, "IP_PKTINFO", unix.IPPROTO_IP, unix.IP_PKTINFO)
	})
	if err != nil {
		return err
	}
	return failed
}

// ancillarySize is room in bytes for a control message with an Inet4Pktinfo on any architecture.
const ancillarySize = 64

// leaveBy returns the ancillary data with which a packet is sent from l's interface and address, whatever the routing table
// says.
func leaveBy(l link) []byte {
	return unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(l.index), Spec_dst: l.prefix.Addr().As4()})
}

// arrivedOn returns the index of the interface that ancillary names, or 0 if there is none.
func arrivedOn(ancillary []byte) int {
	messages, err := unix.ParseSocketControlMessage(ancillary)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo {
			return int(int32(binary.NativeEndian.Uint32(m.Data)))
		}
	}
	return 0
}
