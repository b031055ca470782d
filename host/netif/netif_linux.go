package netif

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watch subscribes to rtnetlink's reports on links and addresses, and calls refresh after each. It ignores what the reports
// say: the kernel drops reports when there are too many, while a full listing is cheap and always right.
func (w *Watcher) watch() (stop func(), err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	reports := os.NewFile(uintptr(fd), "rtnetlink")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 64<<10)
		for {
			_, err := reports.Read(buf)
			if errors.Is(err, os.ErrClosed) {
				return
			}
			var again time.Time // never
			// After any other error, refresh too: reports were lost (ENOBUFS), or the deadline for a retry has passed.
			if w.refresh() != nil {
				again = time.Now().Add(time.Second)
			}
			_ = reports.SetReadDeadline(again)
		}
	}()
	return func() {
		_ = reports.Close()
		<-ended
	}, nil
}

// listInterfaces asks the kernel for links and addresses. Package net does not return broadcast addresses, and lists all
// addresses again for each interface.
func listInterfaces() ([]Interface, error) {
	var list []Interface
	at := map[int]int{} // index of an interface to its place in list
	err := dump(unix.RTM_GETLINK, unix.RTM_NEWLINK, unix.SizeofIfInfomsg, func(head []byte, attrs []syscall.NetlinkRouteAttr) {
		link := (*unix.IfInfomsg)(unsafe.Pointer(&head[0]))
		i := Interface{
			Index:     int(link.Index),
			Up:        link.Flags&unix.IFF_UP != 0,
			Loopback:  link.Flags&unix.IFF_LOOPBACK != 0,
			Broadcast: link.Flags&unix.IFF_BROADCAST != 0,
			Multicast: link.Flags&unix.IFF_MULTICAST != 0,
		}
		for _, a := range attrs {
			if a.Attr.Type == unix.IFLA_IFNAME {
				i.Name = unix.ByteSliceToString(a.Value)
			}
		}
		at[i.Index] = len(list)
		list = append(list, i)
	})
	if err != nil {
		return nil, err
	}
	err = dump(unix.RTM_GETADDR, unix.RTM_NEWADDR, unix.SizeofIfAddrmsg, func(head []byte, attrs []syscall.NetlinkRouteAttr) {
		msg := (*unix.IfAddrmsg)(unsafe.Pointer(&head[0]))
		place, ok := at[int(msg.Index)]
		// A tentative IPv6 address can't be used until the system has checked that no other machine has it.
		if !ok || msg.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
			return
		}
		var local, address, broadcast netip.Addr
		for _, a := range attrs {
			ip, ok := netip.AddrFromSlice(a.Value)
			if !ok {
				continue
			}
			switch a.Attr.Type {
			case unix.IFA_LOCAL:
				local = ip
			case unix.IFA_ADDRESS:
				address = ip // on a point-to-point link, that of the other end
			case unix.IFA_BROADCAST:
				broadcast = ip
			}
		}
		if !local.IsValid() {
			local = address
		}
		if !local.IsValid() {
			return
		}
		found := Address{Prefix: netip.PrefixFrom(local, int(msg.Prefixlen)), Broadcast: broadcast}
		if !broadcast.IsValid() && local == address {
			found.Broadcast = DirectedBroadcast(found.Prefix)
		}
		list[place].Addresses = append(list[place].Addresses, found)
	})
	return list, err
}

// dump asks rtnetlink for all objects of one kind, and calls each with the header and the attributes of every answer.
func dump(request int, answer uint16, headLen int, each func(head []byte, attrs []syscall.NetlinkRouteAttr)) error {
	raw, err := syscall.NetlinkRIB(request, unix.AF_UNSPEC)
	if err != nil {
		return os.NewSyscallError("netlink", err)
	}
	messages, err := syscall.ParseNetlinkMessage(raw)
	if err != nil {
		return os.NewSyscallError("netlink", err)
	}
	for i := range messages {
		m := &messages[i]
		if m.Header.Type == unix.NLMSG_ERROR && len(m.Data) >= 4 {
			if errno := int32(binary.NativeEndian.Uint32(m.Data)); errno != 0 {
				return os.NewSyscallError("netlink", syscall.Errno(-errno))
			}
		}
		if m.Header.Type != answer || len(m.Data) < headLen {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(m)
		if err != nil {
			return os.NewSyscallError("netlink", err)
		}
		each(m.Data, attrs)
	}
	return nil
}
