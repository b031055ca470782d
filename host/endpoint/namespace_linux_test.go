package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Tests of interfaces that come and go have a network of their own. The test runs again in another process, in a new
// network namespace, where only its own interfaces are; the other machines on its cables are network namespaces as well.

const inNamespace = "FRAMEHOST_TEST_NAMESPACE"

// ownNetwork reports whether the test is in a network of its own; where it is not, it was run there and is done.
func ownNetwork(t *testing.T) bool {
	t.Helper()
	impossible := t.Skipf
	if os.Getenv("CI") == "true" {
		impossible = t.Fatalf
	}
	if os.Getenv(inNamespace) == t.Name() {
		// A system may allow the namespace and then nothing in it (AppArmor).
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			impossible("needs to be root, or user namespaces with their rights: ip link set lo up: %v %s", err, out)
		}
		return true
	}
	t.Parallel() // it mostly waits: Linux looks at new cables once a second
	if _, err := exec.LookPath("ip"); err != nil {
		impossible("needs iproute2: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=100s")
	cmd.Env = append(os.Environ(), inNamespace+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	runtime.LockOSThread() // Pdeathsig is about the thread
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) {
		impossible("needs to be root, or user namespaces: %v", err)
	}
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Errorf("in a namespace: %v\n%s", err, &out)
	} else if strings.Contains(out.String(), "--- SKIP") {
		t.Skip(out.String())
	}
	return false
}

// ip configures the network of the thread it is called in, and of the test where that is any.
func ip(t testing.TB, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// A neighbor is another machine: a network namespace with one interface, eth0, at the end of a cable.
type neighbor struct {
	t    testing.TB
	do   func(f func()) // run f over there; sockets that it makes stay there
	path string         // of the namespace
}

// newNeighbor lays a cable: here its end is called name. address is that of the other end, such as 10.0.0.2/24.
func newNeighbor(t testing.TB, name, address string) *neighbor {
	t.Helper()
	work, ready := make(chan func()), make(chan error)
	n := &neighbor{t: t}
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
	n.do(func() { ip(t, "link set lo up") })
	n.plug(name, address)
	return n
}

// plug lays the cable, also after its end here was deleted.
func (n *neighbor) plug(name, address string) {
	n.t.Helper()
	ip(n.t, "link add "+name+" type veth peer name eth0 netns "+n.path)
	n.do(func() {
		ip(n.t, "addr add "+address+" brd + dev eth0")
		ip(n.t, "link set eth0 up")
	})
}

// answers waits until what is sent to address, which is one of n's, arrives: a cable carries nothing at first.
func (n *neighbor) answers(address string) {
	n.t.Helper()
	const probe = 9
	there := n.listen(probe)
	defer there.Close()
	here, err := net.Dial("udp", net.JoinHostPort(address, fmt.Sprint(probe)))
	if err != nil {
		n.t.Fatal(err)
	}
	defer here.Close()
	b := make([]byte, 10)
	for late := time.Now().Add(patience); time.Now().Before(late); {
		_, _ = here.Write([]byte("hello?")) // it fails while the way is not known
		if err := there.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			n.t.Fatal(err)
		}
		if _, err := there.Read(b); err == nil {
			return
		}
	}
	n.t.Fatalf("%s can't be reached", address)
}

// A listener is a plain socket of a neighbor.
type listener struct {
	t testing.TB
	*net.UDPConn
}

// listen listens on port, and in groups.
func (n *neighbor) listen(port int, groups ...string) listener {
	n.t.Helper()
	var c *net.UDPConn
	n.do(func() {
		address := &net.UDPAddr{Port: port}
		if len(groups) == 0 {
			var err error
			if c, err = net.ListenUDP("udp4", address); err != nil {
				n.t.Fatal(err)
			}
			return
		}
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			n.t.Fatal(err)
		}
		address.IP = net.ParseIP(groups[0])
		if c, err = net.ListenMulticastUDP("udp", eth0, address); err != nil {
			n.t.Fatal(err)
		}
	})
	n.t.Cleanup(func() { _ = c.Close() })
	return listener{n.t, c}
}

// hear returns the next datagram and who sent it.
func (l listener) hear() (payload, sender string) {
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

// expect hears payloads from sender, and nothing between.
func (l listener) expect(sender string, payloads ...string) {
	l.t.Helper()
	for _, want := range payloads {
		if payload, from := l.hear(); payload != want || from != sender {
			l.t.Fatalf("got %q from %s, want %q from %s", payload, from, want, sender)
		}
	}
}

// send sends payload from a new socket of n to address, over eth0.
func (n *neighbor) send(address, payload string) {
	n.t.Helper()
	n.do(func() {
		c, err := net.Dial("udp", address)
		if err != nil {
			n.t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte(payload)); err != nil {
			n.t.Fatal(err)
		}
	})
}
