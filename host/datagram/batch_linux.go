package datagram

import (
	"encoding/binary"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxBatch is the maximum number of datagrams per system call. The kernel would accept 1024 (UIO_MAXIOV).
const maxBatch = 256

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	head unix.Msghdr
	n    uint32
}

// A control has room for one control message, which is all that a datagram can have, aligned as the kernel requires.
type control [8]uint64

func (c *control) bytes() []byte { return (*[unsafe.Sizeof(*c)]byte)(unsafe.Pointer(c))[:] }

// batch is the memory of a recvmmsg or sendmmsg call. It is reused for the next call.
type batch struct {
	heads    []mmsghdr
	iovecs   []unix.Iovec
	names    []unix.RawSockaddrInet6 // or Inet4, which is shorter
	controls []control

	from, to int // the call uses heads[from:to]
	n        int
	errno    syscall.Errno
}

func (b *batch) grow(n int) {
	if n <= len(b.heads) {
		return
	}
	b.heads = make([]mmsghdr, n)
	b.iovecs = make([]unix.Iovec, n)
	b.names = make([]unix.RawSockaddrInet6, n)
	b.controls = make([]control, n)
}

// fill prepares header i for payload, with room for an address and no control messages.
func (b *batch) fill(i int, payload []byte) *unix.Msghdr {
	b.iovecs[i] = unix.Iovec{Base: unsafe.SliceData(payload)}
	b.iovecs[i].SetLen(len(payload))
	b.heads[i] = mmsghdr{}
	h := &b.heads[i].head
	h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
	h.Namelen = unix.SizeofSockaddrInet6
	h.Iov = &b.iovecs[i]
	h.SetIovlen(1)
	return h
}

// call makes a system call for heads[from:to]. It returns false if the socket is not ready, so that the caller must wait.
func (b *batch) call(trap, fd, flags uintptr) (done bool) {
	for {
		n, _, errno := unix.Syscall6(trap, fd, uintptr(unsafe.Pointer(&b.heads[b.from])), uintptr(b.to-b.from), flags, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		b.n, b.errno = int(n), errno
		return errno != unix.EAGAIN
	}
}

// forget drops the references to the caller's memory.
func (b *batch) forget(n int) {
	for i := range b.iovecs[:n] {
		b.iovecs[i] = unix.Iovec{}
	}
}

// A batchReader receives with recvmmsg. The batch functions of golang.org/x/net allocate twice for each datagram.
type batchReader struct {
	socket *socket
	batch
	receive func(fd uintptr) bool // stored, so that read does not allocate
}

func newBatchReader(s *socket) *batchReader {
	r := &batchReader{socket: s}
	r.receive = func(fd uintptr) bool {
		// With MSG_TRUNC, the kernel returns the length of the whole datagram, not of the part that fitted.
		return r.call(unix.SYS_RECVMMSG, fd, unix.MSG_TRUNC)
	}
	return r
}

// read waits for datagrams, fills in at least one, and returns how many it filled in.
func (r *batchReader) read(datagrams []Datagram, view *view) (int, error) {
	datagrams = datagrams[:min(len(datagrams), maxBatch)]
	r.grow(len(datagrams))
	for i := range datagrams {
		h := r.fill(i, datagrams[i].Payload[:cap(datagrams[i].Payload)])
		h.Control = (*byte)(unsafe.Pointer(&r.controls[i]))
		h.SetControllen(int(unsafe.Sizeof(control{})))
	}
	defer r.forget(len(datagrams))
	r.from, r.to = 0, len(datagrams)
	if err := r.socket.raw.Read(r.receive); err != nil {
		return 0, err
	}
	if r.errno != 0 {
		return 0, os.NewSyscallError("recvmmsg", r.errno)
	}
	for i := range r.n {
		d, h := &datagrams[i], &r.heads[i]
		d.size = int(h.n)
		d.Payload = d.Payload[:min(d.size, cap(d.Payload))]
		d.Remote = addrPort(&r.names[i], view)
		d.Local, d.Interface = packetInfo(r.controls[i].bytes()[:h.head.Controllen])
	}
	return r.n, nil
}

func addrPort(name *unix.RawSockaddrInet6, view *view) netip.AddrPort {
	port := ntohs(name.Port)
	if name.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr), port)
	}
	ip := netip.AddrFrom16(name.Addr).Unmap()
	if name.Scope_id != 0 {
		zone, ok := view.names[int(name.Scope_id)]
		if !ok {
			zone = strconv.Itoa(int(name.Scope_id))
		}
		ip = ip.WithZone(zone)
	}
	return netip.AddrPortFrom(ip, port)
}

// packetInfo returns, from a datagram's control messages, the address that it was sent to and the interface it arrived on.
func packetInfo(controls []byte) (local netip.Addr, index int) {
	for len(controls) > 0 {
		head, data, rest, err := unix.ParseOneSocketControlMessage(controls)
		if err != nil {
			return local, index
		}
		controls = rest
		switch {
		case head.Level == unix.IPPROTO_IP && head.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
			local, index = netip.AddrFrom4(info.Addr), int(info.Ifindex)
		case head.Level == unix.IPPROTO_IPV6 && head.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
			local, index = netip.AddrFrom16(info.Addr).Unmap(), int(info.Ifindex)
		}
	}
	return local, index
}

// A batchWriter sends with sendmmsg.
type batchWriter struct {
	socket *socket
	batch
	transmit func(fd uintptr) bool
}

func newBatchWriter(s *socket) *batchWriter {
	w := &batchWriter{socket: s}
	w.transmit = func(fd uintptr) bool { return w.call(unix.SYS_SENDMMSG, fd, 0) }
	return w
}

// write sends all copies, at most maxBatch, and sets the err of each that fails. It waits while the socket's buffer is full.
// write returns an error only if the socket is closed.
func (w *batchWriter) write(copies []outgoing) error {
	w.grow(len(copies))
	for i := range copies {
		c := &copies[i]
		h := w.fill(i, c.payload)
		h.Namelen = w.name(i, c)
		if c.index != 0 || c.from.IsValid() {
			h.Control = (*byte)(unsafe.Pointer(&w.controls[i]))
			h.SetControllen(w.control(i, c))
		}
	}
	defer w.forget(len(copies))
	for w.from, w.to = 0, len(copies); w.from < w.to; {
		if err := w.socket.raw.Write(w.transmit); err != nil {
			return err
		}
		if w.errno == 0 {
			w.from += w.n
			continue
		}
		// No copy was sent, and errno applies to the first one.
		copies[w.from].err = os.NewSyscallError("sendmmsg", w.errno)
		w.from++
	}
	return nil
}

// name writes the address that copy i is sent to, and returns its length in bytes.
func (w *batchWriter) name(i int, c *outgoing) uint32 {
	w.names[i] = unix.RawSockaddrInet6{}
	if w.socket.p4 != nil {
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(&w.names[i])) = unix.RawSockaddrInet4{
			Family: unix.AF_INET, Port: htons(c.to.Port()), Addr: c.to.Addr().As4(),
		}
		return unix.SizeofSockaddrInet4
	}
	w.names[i] = unix.RawSockaddrInet6{
		Family: unix.AF_INET6, Port: htons(c.to.Port()), Addr: c.to.Addr().As16(), Scope_id: uint32(c.scope),
	}
	return unix.SizeofSockaddrInet6
}

// control writes the control message with the interface and address that copy i is sent from, and returns its length in
// bytes.
func (w *batchWriter) control(i int, c *outgoing) int {
	b := w.controls[i].bytes()
	head := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	data := unsafe.Pointer(&b[unix.CmsgLen(0)])
	if w.socket.p4 != nil {
		head.Level, head.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		head.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		info := unix.Inet4Pktinfo{Ifindex: int32(c.index)}
		if c.from.IsValid() {
			info.Spec_dst = c.from.As4()
		}
		*(*unix.Inet4Pktinfo)(data) = info
		return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
	}
	head.Level, head.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
	head.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
	info := unix.Inet6Pktinfo{Ifindex: uint32(c.index)}
	switch {
	case c.from.IsValid():
		info.Addr = c.from.As16()
	case c.to.Addr().Is4():
		info.Addr = netip.IPv4Unspecified().As16()
	}
	*(*unix.Inet6Pktinfo)(data) = info
	return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
}

func htons(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}

func ntohs(port uint16) uint16 { return htons(port) }
