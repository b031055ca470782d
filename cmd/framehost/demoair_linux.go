package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// broadcasts sends an instrument's datagrams to the broadcast address of loopback, and receives those that others send there.
type broadcasts struct {
	hears *net.UDPConn
	sends *net.UDPConn
	last  []byte // the last datagram sent
}

// openBroadcasts opens a free port of loopback's broadcast address. Others can listen on the same port.
func openBroadcasts(ctx context.Context) (*broadcasts, error) {
	share := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		}), err)
	}}
	hears, err := share.ListenPacket(ctx, "udp4", "127.255.255.255:0")
	if err != nil {
		return nil, err
	}
	sends, err := new(net.ListenConfig).ListenPacket(ctx, "udp4", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, hears.Close())
	}
	return &broadcasts{hears: hears.(*net.UDPConn), sends: sends.(*net.UDPConn)}, nil
}

func (b *broadcasts) close() error { return errors.Join(b.hears.Close(), b.sends.Close()) }

// address returns the broadcast address, as HOST:PORT.
func (b *broadcasts) address() string { return b.hears.LocalAddr().String() }

// Write broadcasts p.
func (b *broadcasts) Write(p []byte) (int, error) {
	b.last = slices.Clone(p)
	return b.sends.WriteTo(p, b.hears.LocalAddr())
}

// receive waits for a datagram that another socket has sent.
func (b *broadcasts) receive(ctx context.Context) ([]byte, error) {
	defer context.AfterFunc(ctx, func() { _ = b.hears.SetReadDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, 1<<16)
	for {
		n, from, err := b.hears.ReadFrom(buf)
		if err != nil {
			return nil, errors.Join(context.Cause(ctx), err)
		}
		if from.String() != b.sends.LocalAddr().String() {
			return slices.Clone(buf[:n]), nil
		}
	}
}
