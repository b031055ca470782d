package host

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/framehost/framehost/host/discovery"
	"github.com/framehost/framehost/host/internal/netnstest"
)

// An offering is a machine of the LAN that announces scales, with the upstream of its route.
type offering struct {
	machine
	address string // of the machine
	up      upstream
	head    string // first line of its configuration
}

// newOffering makes the machine 10.1.0.n, on which no Host runs yet. discovery is appended to its discovery settings.
func newOffering(t *testing.T, n int, discovery string) *offering {
	t.Helper()
	l, err := net.Listen("tcp", "10.1.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	o := &offering{machine: newMachine(t), address: fmt.Sprintf("10.1.0.%d", n), up: upstream{t, l}}
	o.head = "discovery: {interfaces: [eth0]" + discovery + "}\n"
	o.Plug("lan", fmt.Sprintf("c%d", n), "eth0", o.address+"/24")
	return o
}

// announce starts a Host that announces scales.
func (o *offering) announce() {
	o.runWith(o.head + fmt.Sprintf(`routes: [{name: scales,
		from: {listen: "tcp://0.0.0.0:7002", codec: long, announce: {service: scales, interval: 200ms, ttl: 1s}},
		to: {dial: "tcp://%s", codec: line}}]`, o.up.Addr()))
}

// newLooker makes the machine 10.1.0.9, whose route listens on port 7001 and dials the service scales.
func newLooker(t *testing.T, discovery string) machine {
	t.Helper()
	m := newMachine(t)
	m.Plug("lan", "c9", "eth0", "10.1.0.9/24")
	m.runWith("discovery: {interfaces: [eth0]" + discovery + `}
routes: [{name: looks, from: {listen: "tcp://0.0.0.0:7001", codec: line}, to: {dial: "discover://scales", codec: long}}]`)
	return m
}

// relays makes connections to the looker, and expects that every offering gets as many of them as each says, and that
// all work both ways.
func relays(t *testing.T, each int, offerings ...*offering) {
	t.Helper()
	var down []net.Conn
	for range each * len(offerings) {
		c := dialMachine(t, "10.1.0.9:7001")
		send(t, c, "hi\n")
		down = append(down, c)
	}
	for _, o := range offerings {
		for range each {
			peer := o.up.accept()
			expect(t, peer, "hi\n")
			send(t, peer, o.address+"\n")
			defer peer.Close()
		}
	}
	got := map[string]int{}
	for _, c := range down {
		answer := make([]byte, len("10.1.0.2\n"))
		if _, err := c.Read(answer); err != nil {
			t.Fatal(err)
		}
		got[string(answer)]++
		c.Close()
	}
	for _, o := range offerings {
		if got[o.address+"\n"] != each {
			t.Errorf("got answers %v, want %d from %s", got, each, o.address)
		}
	}
}

// A watch is a Browser in the network of the test.
type watch struct {
	t       *testing.T
	station *discovery.Station
	browser *discovery.Browser
	changes chan discovery.Change
}

func newWatch(t *testing.T, key []byte) watch {
	t.Helper()
	socket, err := discovery.ListenUDP(t.Context(), discovery.UDPOptions{Interfaces: []string{"lan"}})
	if err != nil {
		t.Fatal(err)
	}
	w := watch{t: t, changes: make(chan discovery.Change, 100)}
	if w.station, err = discovery.NewStation(socket, discovery.StationOptions{Key: key}); err != nil {
		t.Fatal(err)
	}
	w.browser, err = discovery.NewBrowser(w.station, discovery.BrowserOptions{
		Service: "scales", Changed: func(c discovery.Change) { w.changes <- c },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.browser.Run(ctx) })
	running.Go(func() { _ = w.station.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return w
}

// expect waits for the next change, and expects kind and the address of the machine at. It returns the ID of the service.
func (w watch) expect(kind discovery.ChangeKind, at *offering) discovery.ID {
	w.t.Helper()
	want := netip.AddrPortFrom(netip.MustParseAddr(at.address), 7002)
	select {
	case c := <-w.changes:
		if c.Kind != kind || c.Found.Addresses[0] != want || c.Found.Origin.Interface != "lan" {
			w.t.Fatalf("%s %s at %v on %s, want %s at %v on lan", c.Found.Name, c.Kind, c.Found.Addresses, c.Found.Origin.Interface, kind, want)
		}
		return c.Found.ID
	case <-time.After(patience):
		w.t.Fatalf("nothing changed, want %s at %v", kind, want)
		panic("not reached")
	}
}

// Three machines announce a service. One sends a goodbye, one is cut off, one loses its power; two come back.
func TestNetworkDiscovery(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	netnstest.NewBridge(t, "lan", "10.1.0.1/24")
	all, looker, seen := newWatch(t, nil), newLooker(t, ""), map[discovery.ID]bool{}
	var offerings []*offering
	for i := range 3 {
		offerings = append(offerings, newOffering(t, i+2, ""))
	}
	for _, o := range offerings {
		o.announce()
		seen[all.expect(discovery.Appeared, o)] = true
	}
	leaves, cut, dies := offerings[0], offerings[1], offerings[2]
	looker.Tell("knows 3")
	relays(t, 2, leaves, cut, dies)

	leaves.Tell("stop")
	all.expect(discovery.Left, leaves) // the goodbye arrived; otherwise the kind would be Expired
	looker.Tell("knows 2")
	relays(t, 2, cut, dies)

	cut.Tell("ip link set eth0 down")
	cut.Tell("logged 1 interface is gone, or its address")
	was := all.expect(discovery.Expired, cut)
	looker.Tell("knows 1")
	relays(t, 3, dies)

	cut.Tell("ip link set eth0 up")
	cut.Tell("logged 1 interface is there")
	if is := all.expect(discovery.Appeared, cut); is != was {
		t.Errorf("got identity %s after the interface came back, want %s as before", is, was)
	}
	looker.Tell("knows 2")
	relays(t, 2, cut, dies)

	dies.Kill()
	all.expect(discovery.Expired, dies)
	looker.Tell("knows 1")
	relays(t, 3, cut)

	leaves.announce()
	if is := all.expect(discovery.Appeared, leaves); seen[is] {
		t.Errorf("got identity %s after a new start, want another one", is)
	}
	looker.Tell("knows 2")
	relays(t, 2, leaves, cut)

	// A machine that gets another address is found there.
	cut.Tell("ip addr del 10.1.0.3/24 dev eth0")
	cut.Tell("logged 2 interface is gone, or its address")
	cut.Tell("ip addr add 10.1.0.7/24 brd + dev eth0")
	cut.Tell("logged 2 interface is there")
	cut.address = "10.1.0.7"
	moved := <-all.changes // Expired may come first
	if moved.Kind == discovery.Expired {
		moved = <-all.changes
	}
	if moved.Found.ID != was || moved.Found.Addresses[0].String() != "10.1.0.7:7002" {
		t.Errorf("got %+v, want the machine at its new address", moved)
	}
}

// With a key, announcements that are not signed with the same key are ignored.
func TestNetworkDiscoveryWithKey(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	netnstest.NewBridge(t, "lan", "10.1.0.1/24")
	dir, ours := t.TempDir(), []byte("sixteen bytes or more")
	keyFile := func(name string, key []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, key, 0o600); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(", key_file: %q", path)
	}
	with := keyFile("ours", ours)
	believes, looker := newWatch(t, ours), newLooker(t, with)
	anybody := newWatch(t, nil)
	stranger, forger := newOffering(t, 2, ""), newOffering(t, 3, keyFile("theirs", []byte("other bytes, no fewer")))
	one, other := newOffering(t, 4, with), newOffering(t, 5, with)
	stranger.announce()
	anybody.expect(discovery.Appeared, stranger)
	forger.announce()
	anybody.expect(discovery.Appeared, forger)
	looker.Tell("ignores")

	one.announce()
	believes.expect(discovery.Appeared, one) // its first change: the others were ignored
	other.announce()
	believes.expect(discovery.Appeared, other)
	looker.Tell("knows 2")
	relays(t, 2, one, other)
	one.Tell("stop")
	believes.expect(discovery.Left, one)
	looker.Tell("knows 1")
	relays(t, 3, other)
	stats := believes.station.Stats()
	if stats.Unsigned == 0 || stats.Forged == 0 || len(believes.browser.Services()) != 1 {
		t.Errorf("got %+v and %v, want that one is believed, and unsigned and forged packets are ignored", stats, believes.browser.Services())
	}
}
