package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/datagram"
	"github.com/framehost/framehost/host/internal/netnstest"
)

// A machine is a process in its own network namespace that runs a Host.
type machine struct{ *netnstest.Machine }

func newMachine(t *testing.T) machine {
	t.Helper()
	return machine{netnstest.NewMachine(t, "TestMachine")}
}

// run starts a Host with a configuration that has only route.
func (m machine) run(route string) { m.runWith("routes: [" + route + "]") }

// runWith starts a Host with a configuration.
func (m machine) runWith(yaml string) { m.Tell("run " + strconv.Quote(yaml)) }

// TestMachine is not a test: it is the process of a machine.
func TestMachine(t *testing.T) {
	var h *Host
	var book logBook
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	netnstest.Serve(t, map[string]func(string){
		"run": func(quoted string) {
			yaml, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatal(err)
			}
			h = startWith(t, yaml, Options{Logger: book.logger(hclog.Info)})
		},
		"stop":    func(string) { _ = h.Shutdown(t.Context()) },
		"members": func(n string) { members(t, h, number(n)) },
		"knows":   func(n string) { waitFor(t, h, knows(number(n))) },
		"ignores": func(string) {
			waitFor(t, h, func(s *control.Status) bool { return s.Discovery.Unsigned > 0 && s.Discovery.Forged > 0 })
		},
		// logged N MESSAGE waits until MESSAGE was logged N times, and fails if it was logged more often.
		"logged": func(what string) {
			n, message, _ := strings.Cut(what, " ")
			waitFor(t, h, func(*control.Status) bool { return len(book.find(t, message)) >= number(n) })
			if got := len(book.find(t, message)); got != number(n) {
				t.Fatalf("%q was logged %d times, want %s", message, got, n)
			}
		},
	})
	fmt.Print(book.text()) // a failed test shows this
}

const lanPort = 10110

// listenOn returns a talker that receives broadcasts on one interface.
func listenOn(t *testing.T, name string) talker {
	t.Helper()
	c, err := datagram.Listen(t.Context(), fmt.Sprintf("0.0.0.0:%d", lanPort),
		datagram.Options{Interfaces: []string{name}, Origins: new(datagram.Origins)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return talker{t, c, netip.AddrPort{}}
}

// broadcastTo returns a talker that sends broadcasts to one network.
func broadcastTo(t *testing.T, network string) talker {
	t.Helper()
	return talkTo(t, netip.AddrPortFrom(netip.MustParseAddr(network), lanPort))
}

// dialMachine connects to a machine. It tries again, because a new virtual cable carries nothing at first.
func dialMachine(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for late := time.After(patience); ; {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			t.Cleanup(func() { c.Close() })
			_ = c.SetDeadline(time.Now().Add(patience))
			return c.(*net.TCPConn)
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatal(err)
		}
	}
}

// heardFrom counts datagrams by payload, and then by source address.
type heardFrom map[string]map[string]int

// total returns how often payload was received from all sources together.
func (h heardFrom) total(payload string) (n int) {
	for _, one := range h[payload] {
		n += one
	}
	return n
}

// collect adds the datagrams that k receives, until each payload in last has been received.
func (h heardFrom) collect(k talker, last ...string) {
	k.t.Helper()
	watchdog := time.AfterFunc(20*time.Second, func() { k.Close() })
	defer watchdog.Stop()
	one := []datagram.Datagram{{Payload: make([]byte, 0, 2000)}}
	for _, l := range last {
		for h[l] == nil {
			if _, err := k.ReadBatch(one); err != nil {
				k.t.Fatalf("got %v and %v, want %q", err, h, l)
			}
			payload := string(one[0].Payload)
			if h[payload] == nil {
				h[payload] = map[string]int{}
			}
			h[payload][one[0].Remote.Addr().String()]++
		}
	}
}

// frame returns a payload that is sent to one network only. If it were sent to two networks, a machine would take it for a
// frame that the machine itself has just relayed.
func frame(i int, network string) string { return fmt.Sprintf("frame %d to %s", i, network) }

const frames = 50

// exchange broadcasts to network until a datagram arrives at there, then broadcasts frames, and adds to heard what arrives.
func exchange(t *testing.T, network string, there talker, heard heardFrom) {
	t.Helper()
	speaker := broadcastTo(t, network)
	ready := make(chan struct{})
	go func() { // a new virtual cable carries nothing at first
		defer close(ready)
		heard.collect(there, "ready "+network)
	}()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for waiting := true; waiting; {
		speaker.say("ready " + network)
		select {
		case <-ready:
			waiting = false
		case <-again.C:
		}
	}
	for i := range frames {
		speaker.say(frame(i, network))
	}
	speaker.say("end " + network)
	heard.collect(there, "end "+network)
}

// All machines of a LAN receive a broadcast, whether one of them sent it or another program, and no machine repeats it.
func TestNetworkHeardByAllRepeatedByNone(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	netnstest.NewBridge(t, "lan", "10.1.0.1/24")
	var clients []*net.TCPConn
	for i := range 3 {
		m := newMachine(t)
		m.Plug("lan", fmt.Sprintf("c%d", i), "eth0", fmt.Sprintf("10.1.0.%d/24", i+2))
		m.run(`{name: feed, from: {listen: "udp://:10110", codec: none, udp: {interfaces: [eth0]}}, to: [
			{dial: "udp://*:10110", codec: none, udp: {interfaces: [eth0]}}, {listen: "tcp://0.0.0.0:7000", codec: long}]}`)
		clients = append(clients, dialMachine(t, fmt.Sprintf("10.1.0.%d:7000", i+2)))
		m.Tell("members 2")
	}
	ear, speaker := listenOn(t, "lan"), broadcastTo(t, "10.1.0.255")
	want := heardFrom{}
	for i := range frames {
		speaker.say(frame(i, "all"))
		want[frame(i, "all")] = map[string]int{"10.1.0.1": 1}
	}
	for i := range frames {
		for _, c := range clients {
			expect(t, c, long(frame(i, "all")))
		}
	}
	// A machine sends its client's frame after all frames that it might wrongly repeat.
	var last []string
	for _, round := range []string{"from", "end"} {
		for i, c := range clients {
			payload := fmt.Sprintf("%s %d", round, i)
			send(t, c, long(payload))
			want[payload] = map[string]int{fmt.Sprintf("10.1.0.%d", i+2): 1}
			for other := range clients {
				if other != i {
					expect(t, clients[other], long(payload))
				}
			}
			last = append(last, payload)
		}
	}
	heard := heardFrom{}
	heard.collect(ear, last...)
	if fmt.Sprint(heard) != fmt.Sprint(want) {
		t.Errorf("got\n%v\nwant\n%v", heard, want)
	}
}

// Two machines stand between two networks, and each relays all broadcasts both ways.
func TestNetworkTwoBridges(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	netnstest.NewBridge(t, "left", "10.1.0.1/24")
	netnstest.NewBridge(t, "right", "10.2.0.1/24")
	for i := range 2 {
		m := newMachine(t)
		m.Plug("left", fmt.Sprintf("l%d", i), "eth0", fmt.Sprintf("10.1.0.%d/24", i+2))
		m.Plug("right", fmt.Sprintf("r%d", i), "eth1", fmt.Sprintf("10.2.0.%d/24", i+2))
		m.run(`{name: bridge, from: {listen: "udp://:10110", codec: none, udp: {interfaces: [eth0]}}, to: [
			{dial: "udp://*:10110", codec: none, udp: {interfaces: [eth0]}},
			{listen: "udp://:10110", codec: none, udp: {interfaces: [eth1]}},
			{dial: "udp://*:10110", codec: none, udp: {interfaces: [eth1]}}]}`)
	}
	left, right := listenOn(t, "left"), listenOn(t, "right")
	for _, way := range []struct {
		network string
		there   talker
	}{{"10.1.0.255", right}, {"10.2.0.255", left}} {
		heard := heardFrom{}
		exchange(t, way.network, way.there, heard)
		// One frame at a time, which gives a frame that circulates the time to come by many times.
		speaker := broadcastTo(t, way.network)
		for i := range frames {
			speaker.say(frame(frames+i, way.network))
			heard.collect(way.there, frame(frames+i, way.network))
		}
		for i := range 2 * frames {
			if from := heard[frame(i, way.network)]; !onceFromEach(from) {
				t.Errorf("%q was heard from %v, want once from either machine", frame(i, way.network), from)
			}
		}
	}
}

// onceFromEach reports whether the frame came from one machine or from both, once from each. A machine that receives the frame
// from the other one first does not send it.
func onceFromEach(from map[string]int) bool {
	for _, n := range from {
		if n != 1 {
			return false
		}
	}
	return len(from) >= 1 && len(from) <= 2
}

// Two machines on one LAN, which both receive broadcasts and send them there, are also joined over TCP in another network.
func TestNetworkTwoOnOneLANJoinedBehindIt(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	netnstest.NewBridge(t, "lan", "10.1.0.1/24")
	netnstest.NewBridge(t, "wan", "10.3.0.1/24")
	const route = `{name: lan, from: {listen: "udp://:10110", codec: none, udp: {interfaces: [eth0]}}, to: [
			{dial: "udp://*:10110", codec: none, udp: {interfaces: [eth0]}}, %s]}`
	one, other := newMachine(t), newMachine(t)
	for i, m := range []machine{one, other} {
		m.Plug("lan", fmt.Sprintf("l%d", i), "eth0", fmt.Sprintf("10.1.0.%d/24", i+2))
		m.Plug("wan", fmt.Sprintf("w%d", i), "eth1", fmt.Sprintf("10.3.0.%d/24", i+2))
	}
	one.run(fmt.Sprintf(route, `{listen: "tcp://10.3.0.2:7000", codec: long}`))
	other.run(fmt.Sprintf(route, `{dial: "tcp://10.3.0.2:7000", codec: long, reconnect: {min: 10ms, max: 50ms}}`))
	one.Tell("members 2")
	other.Tell("members 2")
	ear, speaker, heard := listenOn(t, "lan"), broadcastTo(t, "10.1.0.255"), heardFrom{}
	for i := range 2 * frames {
		speaker.say(frame(i, "all"))
		heard.collect(ear, frame(i, "all"))
	}
	for i := range 2 * frames {
		from := heard[frame(i, "all")]
		said := from["10.1.0.1"]
		delete(from, "10.1.0.1")
		if said != 1 || len(from) > 0 && !onceFromEach(from) {
			t.Errorf("%q was heard %d times from who said it and from %v, want once, and at most once from either machine",
				frame(i, "all"), said, from)
		}
	}
}

// Two machines join two separate networks over TCP.
func TestNetworkTwoLANsOverTCP(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	netnstest.NewBridge(t, "left", "10.1.0.1/24")
	netnstest.NewBridge(t, "right", "10.2.0.1/24")
	netnstest.NewBridge(t, "wan", "10.3.0.1/24")
	const lan = `{name: lan, from: {listen: "udp://:10110", codec: none, udp: {interfaces: [eth0]}}, to: [
			{dial: "udp://*:10110", codec: none, udp: {interfaces: [eth0]}}, %s]}`
	one, other := newMachine(t), newMachine(t)
	one.Plug("left", "l0", "eth0", "10.1.0.2/24")
	one.Plug("wan", "w0", "eth1", "10.3.0.2/24")
	other.Plug("right", "r0", "eth0", "10.2.0.2/24")
	other.Plug("wan", "w1", "eth1", "10.3.0.3/24")
	one.run(fmt.Sprintf(lan, `{listen: "tcp://10.3.0.2:7000", codec: long}`))
	other.run(fmt.Sprintf(lan, `{dial: "tcp://10.3.0.2:7000", codec: long, reconnect: {min: 10ms, max: 50ms}}`))
	left, right := listenOn(t, "left"), listenOn(t, "right")
	atLeft, atRight := heardFrom{}, heardFrom{}
	exchange(t, "10.1.0.255", right, atRight)
	exchange(t, "10.2.0.255", left, atLeft)
	// The last datagram to arrive on the right comes after all that its machine might wrongly repeat.
	broadcastTo(t, "10.1.0.255").say("goodbye")
	atRight.collect(right, "goodbye")
	for _, network := range []struct{ name, from, machine, other string }{
		{"10.1.0.255", "10.1.0.1", "10.1.0.2", "10.2.0.255"}, {"10.2.0.255", "10.2.0.1", "10.2.0.2", "10.1.0.255"},
	} {
		heard := atLeft
		if network.name == "10.2.0.255" {
			heard = atRight
		}
		for i := range frames {
			here, far := frame(i, network.name), frame(i, network.other)
			if heard.total(here) != 1 || heard[here][network.from] != 1 {
				t.Errorf("%q was heard from %v there, want once, from who said it", here, heard[here])
			}
			if heard.total(far) != 1 || heard[far][network.machine] != 1 {
				t.Errorf("%q was heard from %v in %s, want once, from its machine", far, heard[far], network.name)
			}
		}
	}
}

// numbered broadcasts numbered frames, one after the other, and checks that a TCP client of the machine gets every one, whatever
// happens to other receivers.
type numbered struct {
	t      *testing.T
	served atomic.Int64 // number of the last frame that the client got
	stop   chan struct{}
	ended  sync.WaitGroup
}

func (tr *numbered) begin(speaker talker, client net.Conn) {
	const window = 16 // most frames under way, so that they fit into every buffer
	tokens := make(chan struct{}, window)
	tr.stop = make(chan struct{})
	tr.ended.Go(func() {
		for n := 0; ; n++ {
			select {
			case tokens <- struct{}{}:
				speaker.say(strconv.Itoa(n))
			case <-tr.stop:
				client.Close()
				return
			}
		}
	})
	tr.ended.Go(func() {
		for n := 0; ; n++ {
			payload, err := nextLong(client)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil || payload != strconv.Itoa(n) {
				tr.t.Errorf("client: got %q (%v), want %d", payload, err, n)
				return
			}
			tr.served.Store(int64(n))
			<-tokens
		}
	})
}

// nextLong reads a frame of the codec long.
func nextLong(from io.Reader) (string, error) {
	var head [4]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return "", err
	}
	payload := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(from, payload)
	return string(payload), err
}

func (tr *numbered) end() {
	close(tr.stop)
	tr.ended.Wait()
}

// flows waits until more further frames were served.
func (tr *numbered) flows(more int64) {
	tr.t.Helper()
	until := tr.served.Load() + more
	eventually(tr.t, func() bool { return tr.served.Load() >= until })
}

// eventually waits until ok returns true.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for late := time.After(patience); !ok(); {
		select {
		case <-look.C:
		case <-late:
			t.Fatal("it did not happen")
		}
	}
}

// An interface goes and comes back under traffic. Only the frames sent to it while it is gone are lost.
func TestNetworkInterfaceDownAndUp(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	netnstest.NewBridge(t, "left", "10.1.0.1/24")
	netnstest.NewBridge(t, "right", "10.2.0.1/24")
	m := newMachine(t)
	m.Plug("left", "l0", "eth0", "10.1.0.2/24")
	m.Plug("right", "r0", "eth1", "10.2.0.2/24")
	m.run(`{name: lan, from: {listen: "udp://:10110", codec: none, udp: {interfaces: [eth0]}}, to: [
		{dial: "udp://*:10110", codec: none, udp: {interfaces: [eth1]}}, {listen: "tcp://10.1.0.2:7000", codec: long}]}`)
	right := listenOn(t, "right")
	client := dialMachine(t, "10.1.0.2:7000")
	m.Tell("members 3")

	var latest atomic.Int64 // number of the last frame received on the right; it must grow with each frame
	latest.Store(-1)
	var mu sync.Mutex
	heard := map[int64]bool{}
	var listening sync.WaitGroup
	listening.Go(func() {
		one := []datagram.Datagram{{Payload: make([]byte, 0, 2000)}}
		for {
			if _, err := right.ReadBatch(one); err != nil {
				return
			}
			n, err := strconv.ParseInt(string(one[0].Payload), 10, 64)
			if before := latest.Load(); err != nil || n <= before {
				t.Errorf("heard %q after %d", one[0].Payload, before)
			}
			mu.Lock()
			heard[n] = true
			mu.Unlock()
			latest.Store(n)
		}
	})
	heardAfter := func(n int64) { t.Helper(); eventually(t, func() bool { return latest.Load() > n }) }
	tr := numbered{t: t}
	tr.begin(broadcastTo(t, "10.1.0.255"), client)
	defer listening.Wait()
	defer right.Close()
	defer tr.end()
	heardAfter(-1)

	changes := 0
	goAndComeBack := func(goes string, comesBack func()) {
		t.Helper()
		changes++
		m.Tell(goes)
		m.Tell(fmt.Sprintf("logged %d interface is gone, or its address", changes))
		tr.flows(100) // after these, no frame from before is under way
		from := tr.served.Load()
		tr.flows(300)
		to := tr.served.Load()
		comesBack()
		heardAfter(to)
		m.Tell(fmt.Sprintf("logged %d interface is there", changes))
		tr.flows(100)
		heardAfter(tr.served.Load())
		mu.Lock()
		defer mu.Unlock()
		for n := from; n <= to; n++ {
			if heard[n] {
				t.Errorf("after %s: frame %d was heard, of %d to %d", goes, n, from, to)
			}
		}
	}
	for range 3 {
		goAndComeBack("ip link set eth1 down", func() { m.Tell("ip link set eth1 up") })
	}
	// The same with a new interface of that name, with another address.
	goAndComeBack("ip link del eth1", func() { m.Plug("right", "r1", "eth1", "10.2.0.3/24") })
}
