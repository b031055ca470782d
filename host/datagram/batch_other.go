//go:build !linux

package datagram

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const maxBatch = 64

// A batchReader receives one datagram at a time.
type batchReader struct {
	socket  *socket
	control []byte
}

func newBatchReader(s *socket) *batchReader {
	return &batchReader{socket: s, control: make([]byte, 128)}
}

// read waits for one datagram and fills it in.
func (r *batchReader) read(datagrams []Datagram, _ *view) (int, error) {
	d := &datagrams[0]
	d.Payload = d.Payload[:cap(d.Payload)]
	for {
		n, controls, flags, from, err := r.socket.conn.ReadMsgUDPAddrPort(d.Payload, r.control)
		truncated := isTruncated(flags, err)
		if err != nil && !truncated {
			if errors.Is(err, net.ErrClosed) {
				return 0, net.ErrClosed
			}
			if isSendError(err) {
				continue
			}
			return 0, inner(err)
		}
		d.Payload, d.size = d.Payload[:n], n
		if truncated {
			d.size = -1
		}
		d.Remote = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		d.Local, d.Interface = r.packetInfo(r.control[:controls])
		return 1, nil
	}
}

func (r *batchReader) packetInfo(control []byte) (local netip.Addr, index int) {
	if r.socket.p4 != nil {
		var m ipv4.ControlMessage
		if m.Parse(control) != nil {
			return netip.Addr{}, 0
		}
		local, _ = netip.AddrFromSlice(m.Dst)
		return local.Unmap(), m.IfIndex
	}
	var m ipv6.ControlMessage
	if m.Parse(control) != nil {
		return netip.Addr{}, 0
	}
	local, _ = netip.AddrFromSlice(m.Dst)
	return local.Unmap(), m.IfIndex
}

// A batchWriter sends one datagram at a time.
type batchWriter struct {
	socket *socket
	index  int // of the interface that multicast is sent from
}

func newBatchWriter(s *socket) *batchWriter { return &batchWriter{socket: s} }

// write sends all copies and sets the err of each. It waits while the socket's buffer is full. write returns an error only
// if the socket is closed.
func (w *batchWriter) write(copies []outgoing) error {
	for i := range copies {
		c := &copies[i]
		err := w.one(c)
		if errors.Is(err, net.ErrClosed) {
			return net.ErrClosed
		}
		c.err = inner(err)
	}
	return nil
}

func (w *batchWriter) one(c *outgoing) error {
	if c.to.Addr().IsMulticast() && c.index != 0 && c.index != w.index {
		// Not every system accepts this as a control message.
		if err := w.leaveBy(c.index); err != nil {
			return err
		}
		w.index = c.index
	}
	var control []byte
	if w.socket.p4 != nil {
		m := ipv4.ControlMessage{IfIndex: c.index, Src: c.from.AsSlice()}
		control = m.Marshal()
	} else if !c.to.Addr().Is4() {
		m := ipv6.ControlMessage{IfIndex: c.index, Src: c.from.AsSlice()}
		control = m.Marshal()
	}
	_, _, err := w.socket.conn.WriteMsgUDPAddrPort(c.payload, control, c.to)
	return err
}

func (w *batchWriter) leaveBy(index int) error {
	if w.socket.p4 != nil {
		return w.socket.p4.SetMulticastInterface(&net.Interface{Index: index})
	}
	return w.socket.p6.SetMulticastInterface(&net.Interface{Index: index})
}
