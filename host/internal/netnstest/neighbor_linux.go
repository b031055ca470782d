package netnstest

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Neighbor is another machine with one interface, eth0. It is a network namespace of a thread of the test, which has its sockets.
type Neighbor struct {
	t    testing.TB
	do   func(f func())
	path string // of the namespace
}

// NewNeighbor connects a cable to a new neighbor. name is the interface at the test's end; address is the neighbor's, such as 10.0.0.2/24.
// The neighbor ends with t.
func NewNeighbor(t testing.TB, name, address string) *Neighbor {
	t.Helper()
	work, ready := make(chan func()), make(chan error)
	n := &Neighbor{t: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		n.path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
		ready <- err
		for f := range work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	n.do = func(f func()) {
		done := make(chan struct{})
		work <- func() { defer close(done); f() }
		<-done
	}
	t.Cleanup(func() {
		close(work)
		<-ended
	})
	n.IP("link set lo up")
	n.Plug(name, address)
	return n
}

// Plug connects the cable again, after the interface at the test's end was deleted.
func (n *Neighbor) Plug(name, address string) {
	n.t.Helper()
	IP(n.t, "link add "+name+" type veth peer name eth0 netns "+n.path)
	n.IP("addr add " + address + " brd + dev eth0")
	n.IP("link set eth0 up")
}

// IP runs ip(8) in the neighbor's network.
func (n *Neighbor) IP(args string) {
	n.t.Helper()
	var err error
	n.do(func() { err = ip(args) })
	if err != nil {
		n.t.Fatal(err)
	}
}

// Reach waits until datagrams that the test sends to address, one of n's addresses, arrive.
func (n *Neighbor) Reach(address string) {
	n.t.Helper()
	const probe = 9
	there := n.Listen(probe)
	defer func() { _ = there.Close() }()
	here, err := net.Dial("udp", net.JoinHostPort(address, fmt.Sprint(probe)))
	if err != nil {
		n.t.Fatal(err)
	}
	defer here.Close()
	b := make([]byte, 10)
	for late := time.Now().Add(patience); time.Now().Before(late); {
		_, _ = here.Write([]byte("hello?")) // fails while there is no route
		if err := there.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			n.t.Fatal(err)
		}
		if _, err := there.Read(b); err == nil {
			return
		}
	}
	n.t.Fatalf("%s can't be reached", address)
}

// Listen listens on a UDP port of the neighbor.
func (n *Neighbor) Listen(port int) Listener {
	n.t.Helper()
	return n.listen(func() (*net.UDPConn, error) { return net.ListenUDP("udp4", &net.UDPAddr{Port: port}) })
}

// Join listens on a UDP port of the neighbor for datagrams to a multicast group.
func (n *Neighbor) Join(port int, group string) Listener {
	n.t.Helper()
	return n.listen(func() (*net.UDPConn, error) {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return nil, err
		}
		return net.ListenMulticastUDP("udp", eth0, &net.UDPAddr{IP: net.ParseIP(group), Port: port})
	})
}

func (n *Neighbor) listen(open func() (*net.UDPConn, error)) Listener {
	n.t.Helper()
	var c *net.UDPConn
	var err error
	n.do(func() { c, err = open() })
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = c.Close() })
	return Listener{n.t, c}
}

// Send sends payload from a new socket of n to address, a host and a port.
func (n *Neighbor) Send(address, payload string) {
	n.t.Helper()
	var err error
	n.do(func() { err = sendFromHere(address, payload) })
	if err != nil {
		n.t.Fatal(err)
	}
}

func sendFromHere(address, payload string) error {
	c, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(payload))
	return err
}

// A Listener is a plain socket of a neighbor.
type Listener struct {
	t testing.TB
	*net.UDPConn
}

// Hear returns the next datagram and its sender's address.
func (l Listener) Hear() (payload, sender string) {
	l.t.Helper()
	if err := l.SetReadDeadline(time.Now().Add(patience)); err != nil {
		l.t.Fatal(err)
	}
	b := make([]byte, 2048)
	n, from, err := l.ReadFromUDPAddrPort(b)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(b[:n]), from.Addr().Unmap().String()
}

// Expect receives exactly payloads, in order, from sender. Any other datagram fails the test.
func (l Listener) Expect(sender string, payloads ...string) {
	l.t.Helper()
	for _, want := range payloads {
		if payload, from := l.Hear(); payload != want || from != sender {
			l.t.Fatalf("got %q from %s, want %q from %s", payload, from, want, sender)
		}
	}
}
