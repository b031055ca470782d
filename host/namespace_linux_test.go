package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/framehost/framehost/host/endpoint"
)

// Tests of whole machines have a network of their own. The test runs again in another process, in a new network
// namespace, which is a LAN with its bridge; each machine on it is a process in a namespace as well, that runs a Host.

const (
	inNamespace = "FRAMEHOST_TEST_NAMESPACE"
	asMachine   = "FRAMEHOST_TEST_MACHINE"
)

// ownNetwork reports whether the test is in a network of its own; where it is not, it was run there and is done.
func ownNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) == t.Name() {
		ip(t, "link set lo up")
		return true
	}
	impossible := t.Skipf
	if os.Getenv("CI") == "true" {
		impossible = t.Fatalf
	}
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
	}
	return false
}

// ip configures the network of the process it is called in.
func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// A machine is a process in a network of its own, in which it runs a Host.
type machine struct {
	t       *testing.T
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
}

// newMachine makes a machine without any cable.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, cmd: exec.Command("/proc/self/exe", "-test.run=^TestMachine$", "-test.timeout=100s")}
	m.cmd.Env = append(os.Environ(), asMachine+"=1")
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	m.cmd.Stderr = os.Stderr
	var err error
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.answers = bufio.NewScanner(out)
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.in.Close() // that ends it
		for m.answers.Scan() {
			t.Log(m.answers.Text())
		}
		if err := m.cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	m.tell("ip link set lo up")
	return m
}

// plug lays a cable from the bridge to the machine, where its end is called name and has the address.
func (m *machine) plug(bridge, cable, name, address string) {
	m.t.Helper()
	ip(m.t, fmt.Sprintf("link add %s type veth peer name %s netns %d", cable, name, m.cmd.Process.Pid))
	ip(m.t, "link set "+cable+" master "+bridge)
	ip(m.t, "link set "+cable+" up")
	m.tell("ip addr add " + address + " brd + dev " + name)
	m.tell("ip link set " + name + " up")
}

// tell makes the machine do something and waits until it is done.
func (m *machine) tell(line string) {
	m.t.Helper()
	if _, err := io.WriteString(m.in, line+"\n"); err != nil {
		m.t.Fatal(err)
	}
	if !m.answers.Scan() || m.answers.Text() != "done" {
		m.t.Fatalf("%s: got %q, want done", line, m.answers.Text())
	}
}

// run starts a Host with the route of a configuration, which is JSON or YAML in one line.
func (m *machine) run(route string) {
	m.t.Helper()
	m.tell("run routes: [" + strings.Join(strings.Fields(route), " ") + "]")
}

// TestMachine is what a machine does; it is no test.
func TestMachine(t *testing.T) {
	if os.Getenv(asMachine) == "" {
		t.Skip("is for other tests")
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		verb, rest, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "ip":
			ip(t, rest)
		case "run":
			start(t, rest)
		}
		fmt.Println("done")
	}
}

// newBridge makes a bridge in the network of the test, where the test has the address.
func newBridge(t *testing.T, name, address string) {
	t.Helper()
	ip(t, "link add "+name+" type bridge forward_delay 0 mcast_snooping 0")
	ip(t, "addr add "+address+" brd + dev "+name)
	ip(t, "link set "+name+" up")
}

const lanPort = 10110

// listenOn hears broadcasts on one interface.
func listenOn(t *testing.T, name string) talker {
	t.Helper()
	c, err := endpoint.ListenDatagram(t.Context(), fmt.Sprintf("0.0.0.0:%d", lanPort),
		endpoint.DatagramOptions{Interfaces: []string{name}, Origins: new(endpoint.Origins)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return talker{t, c, netip.AddrPort{}}
}

// collect hears until a datagram is last, and returns how often each was heard.
func (k talker) collect(last string) map[string]int {
	k.t.Helper()
	watchdog := time.AfterFunc(20*time.Second, func() { k.Close() })
	defer watchdog.Stop()
	heard := map[string]int{}
	one := []endpoint.Datagram{{Payload: make([]byte, 0, 2000)}}
	for heard[last] == 0 {
		if _, err := k.ReadBatch(one); err != nil {
			k.t.Fatalf("got %v and %v, want %q", err, heard, last)
		}
		heard[string(one[0].Payload)]++
	}
	return heard
}

// Two machines stand between two networks, and each relays all broadcasts both ways.
func TestNetworkTwoBridges(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	newBridge(t, "left", "10.1.0.1/24")
	newBridge(t, "right", "10.2.0.1/24")
	for i := range 2 {
		m := newMachine(t)
		m.plug("left", fmt.Sprintf("l%d", i), "eth0", fmt.Sprintf("10.1.0.%d/24", i+2))
		m.plug("right", fmt.Sprintf("r%d", i), "eth1", fmt.Sprintf("10.2.0.%d/24", i+2))
		m.run(`{name: bridge, from: {listen: "udp://:10110", codec: none, udp: {interfaces: [eth0]}}, to: [
			{dial: "udp://*:10110", codec: none, udp: {interfaces: [eth0]}},
			{listen: "udp://:10110", codec: none, udp: {interfaces: [eth1]}},
			{dial: "udp://*:10110", codec: none, udp: {interfaces: [eth1]}}]}`)
	}
	left, right := listenOn(t, "left"), listenOn(t, "right")
	onlyTwice(t, exchange(t, "10.1.0.255", right), "10.1.0.255")
	onlyTwice(t, exchange(t, "10.2.0.255", left), "10.2.0.255")
}

// onlyTwice expects each frame from either machine; nothing is lost or comes round again. While a machine hears a frame
// on both sides at once it may send it to both, so that there can be two more.
func onlyTwice(t *testing.T, heard map[string]int, broadcast string) {
	t.Helper()
	for i := range 50 {
		if n := heard[frame(i, broadcast)]; n < 1 || n > 4 {
			t.Errorf("%q was heard %d times, want twice", frame(i, broadcast), n)
		}
	}
}

// frame is what is said to one network. In another it would be taken for what a machine has just sent there.
func frame(i int, broadcast string) string { return fmt.Sprintf("frame %d to %s", i, broadcast) }

// exchange broadcasts to one network until that is heard in another, and then 50 frames, and returns what was heard.
func exchange(t *testing.T, broadcast string, there talker) map[string]int {
	t.Helper()
	speaker := talkTo(t, netip.AddrPortFrom(netip.MustParseAddr(broadcast), lanPort))
	ready := make(chan struct{})
	go func() { // a cable carries nothing at first
		defer close(ready)
		there.collect("ready " + broadcast)
	}()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for waiting := true; waiting; {
		speaker.say("ready " + broadcast)
		select {
		case <-ready:
			waiting = false
		case <-again.C:
		}
	}
	for i := range 50 {
		speaker.say(frame(i, broadcast))
	}
	speaker.say("end " + broadcast)
	return there.collect("end " + broadcast)
}

// Two networks that know nothing of each other are joined by two machines, over TCP.
func TestNetworkTwoLANsOverTCP(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	newBridge(t, "left", "10.1.0.1/24")
	newBridge(t, "right", "10.2.0.1/24")
	newBridge(t, "wan", "10.3.0.1/24")
	const lan = `{name: lan, from: {listen: "udp://:10110", codec: none, udp: {interfaces: [eth0]}}, to: [
			{dial: "udp://*:10110", codec: none, udp: {interfaces: [eth0]}}, %s]}`
	one, other := newMachine(t), newMachine(t)
	one.plug("left", "l0", "eth0", "10.1.0.2/24")
	one.plug("wan", "w0", "eth1", "10.3.0.2/24")
	other.plug("right", "r0", "eth0", "10.2.0.2/24")
	other.plug("wan", "w1", "eth1", "10.3.0.3/24")
	one.run(fmt.Sprintf(lan, `{listen: "tcp://10.3.0.2:7000", codec: long}`))
	other.run(fmt.Sprintf(lan, `{dial: "tcp://10.3.0.2:7000", codec: long, reconnect: {min: 10ms, max: 50ms}}`))
	left, right := listenOn(t, "left"), listenOn(t, "right")
	for _, way := range []struct {
		broadcast string
		there     talker
	}{{"10.1.0.255", right}, {"10.2.0.255", left}} {
		heard := exchange(t, way.broadcast, way.there)
		for i := range 50 {
			if n := heard[frame(i, way.broadcast)]; n != 1 {
				t.Errorf("%q was heard %d times, want once", frame(i, way.broadcast), n)
			}
		}
	}
}

// An interface goes and comes back while the route runs.
func TestNetworkInterfaceDownAndUp(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	newBridge(t, "left", "10.1.0.1/24")
	newBridge(t, "right", "10.2.0.1/24")
	m := newMachine(t)
	m.plug("left", "l0", "eth0", "10.1.0.2/24")
	m.plug("right", "r0", "eth1", "10.2.0.2/24")
	m.run(`{name: lan, from: {listen: "udp://:10110", codec: none, udp: {interfaces: [eth0]}},
		to: {dial: "udp://*:10110", codec: none, udp: {interfaces: [eth1]}}}`)
	right := listenOn(t, "right")
	exchange(t, "10.1.0.255", right)
	m.tell("ip link set eth1 down")
	talkTo(t, netip.MustParseAddrPort("10.1.0.255:10110")).say("lost")
	m.tell("ip link set eth1 up")
	if heard := exchange(t, "10.1.0.255", right); heard[frame(49, "10.1.0.255")] == 0 {
		t.Errorf("got %v, want frames as before", heard)
	}
	// Also when it is another interface of that name.
	m.tell("ip link del eth1")
	m.plug("right", "r1", "eth1", "10.2.0.3/24")
	if heard := exchange(t, "10.1.0.255", right); heard[frame(49, "10.1.0.255")] == 0 {
		t.Errorf("got %v, want frames as before", heard)
	}
}
