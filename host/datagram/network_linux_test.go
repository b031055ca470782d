package datagram

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/framehost/framehost/host/internal/netnstest"
)

// journal collects the calls of hooks, one line each.
type journal struct {
	t     testing.TB
	lines chan string
}

func newJournal(t testing.TB) *journal { return &journal{t, make(chan string, 1000)} }

func (j *journal) changed(use Use, gone bool, err error) {
	line := use.String()
	if gone {
		line = "no more: " + line
	}
	if err != nil {
		line += ": " + err.Error()
	}
	j.lines <- line
}

func (j *journal) sendFailed(to netip.AddrPort, err error) {
	j.lines <- fmt.Sprintf("send to %s: %v", to, err)
}

// expect waits for lines, in any order. Any other line before the last of them fails the test.
func (j *journal) expect(lines ...string) {
	j.t.Helper()
	missing := map[string]bool{}
	for _, l := range lines {
		missing[l] = true
	}
	late := time.After(patience)
	for len(missing) > 0 {
		select {
		case got := <-j.lines:
			if !missing[got] {
				j.t.Fatalf("got %q, want one of %q", got, lines)
			}
			delete(missing, got)
		case <-late:
			j.t.Fatalf("got no call for %v", missing)
		}
	}
}

// await waits for lines, in any order, and ignores other lines.
func (j *journal) await(lines ...string) {
	j.t.Helper()
	missing := map[string]bool{}
	for _, l := range lines {
		missing[l] = true
	}
	late := time.After(patience)
	for len(missing) > 0 {
		select {
		case got := <-j.lines:
			delete(missing, got)
		case <-late:
			j.t.Fatalf("got no call for %v", missing)
		}
	}
}

const port = 10110

// lan makes two networks: a bridge br0 (10.3.0.1/24) with two neighbors, and a cable eth1 (10.1.0.1/24) with one.
func lan(t *testing.T) (left, right, far *netnstest.Neighbor) {
	left = netnstest.NewNeighbor(t, "port0", "10.3.0.2/24")
	right = netnstest.NewNeighbor(t, "port1", "10.3.0.3/24")
	far = netnstest.NewNeighbor(t, "eth1", "10.1.0.2/24")
	netnstest.IP(t, "link add br0 type bridge")
	for _, p := range []string{"port0", "port1"} {
		netnstest.IP(t, "link set "+p+" master br0")
		netnstest.IP(t, "link set "+p+" up")
	}
	netnstest.IP(t, "addr add 10.3.0.1/24 brd + dev br0")
	netnstest.IP(t, "link set br0 up")
	netnstest.IP(t, "addr add 10.1.0.1/24 brd + dev eth1")
	netnstest.IP(t, "link set eth1 up")
	left.Reach("10.3.0.2")
	right.Reach("10.3.0.3")
	far.Reach("10.1.0.2")
	return left, right, far
}

func TestNetworkBroadcastIsHeardByAll(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	left, right, far := lan(t)
	atLeft, atRight, atFar := left.Listen(port), right.Listen(port), far.Listen(port)
	l := listenUDP(t, fmt.Sprintf(":%d", port), Options{})

	everywhere := dialUDP(t, fmt.Sprintf("*:%d", port), Options{})
	send(t, everywhere, "to all")
	atLeft.Expect("10.3.0.1", "to all")
	atRight.Expect("10.3.0.1", "to all")
	atFar.Expect("10.1.0.1", "to all")
	interfaces := map[int]bool{}
	for _, got := range read(t, l, 2) {
		if string(got.Payload) != "to all" || !got.Own || got.Cast != Broadcast {
			t.Errorf("got %q, own %v, %s; want our broadcast", got.Payload, got.Own, got.Cast)
		}
		interfaces[got.Interface] = true
	}
	if len(interfaces) != 2 {
		t.Errorf("heard ourselves on %v, want two interfaces", interfaces)
	}

	// A datagram sent to one network is not received in the other: there, the next datagram is "the end".
	send(t, dialUDP(t, fmt.Sprintf("255.255.255.255:%d", port), Options{Interfaces: []string{"br0"}}), "by name")
	send(t, dialUDP(t, fmt.Sprintf("*:%d", port), Options{Interfaces: []string{"10.1.0.1"}}), "by address")
	send(t, dialUDP(t, fmt.Sprintf("10.3.0.255:%d", port), Options{}), "directed")
	send(t, everywhere, "the end")
	atLeft.Expect("10.3.0.1", "by name", "directed", "the end")
	atRight.Expect("10.3.0.1", "by name", "directed", "the end")
	atFar.Expect("10.1.0.1", "by address", "the end")
	_ = read(t, l, 5)

	// Broadcasts of other machines are not Own, and are received on chosen interfaces only.
	bridge := listenUDP(t, fmt.Sprintf(":%d", port), Options{Interfaces: []string{"br0"}})
	left.Send(fmt.Sprintf("10.3.0.255:%d", port), "from the left")
	atRight.Expect("10.3.0.2", "from the left")
	left.IP("route add 255.255.255.255 dev eth0")
	left.Send(fmt.Sprintf("255.255.255.255:%d", port), "limited")
	atRight.Expect("10.3.0.2", "limited")
	far.Send(fmt.Sprintf("10.1.0.255:%d", port), "from far")
	hear := func(c *Conn, n int, want ...string) {
		t.Helper()
		var heard []string
		for _, d := range read(t, c, n) {
			heard = append(heard, fmt.Sprint(string(d.Payload), ", ", d.Cast, " from ", d.Remote.Addr(), ", own ", d.Own))
		}
		slices.Sort(heard)
		if !slices.Equal(heard, want) {
			t.Errorf("heard %q, want %q", heard, want)
		}
	}
	hear(l, 3, "from far, broadcast from 10.1.0.2, own false", "from the left, broadcast from 10.3.0.2, own false",
		"limited, broadcast from 10.3.0.2, own false")
	left.Send(fmt.Sprintf("10.3.0.255:%d", port), "the end")
	hear(bridge, 3, "from the left, broadcast from 10.3.0.2, own false", "limited, broadcast from 10.3.0.2, own false",
		"the end, broadcast from 10.3.0.2, own false")
	if s := bridge.Stats(); s.Elsewhere != 1 {
		t.Errorf("got %d from elsewhere, want that of the far one", s.Elsewhere)
	}
}

func TestNetworkMulticast(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	left, _, far := lan(t)
	left.IP("route add 224.0.0.0/4 dev eth0")
	far.IP("route add 224.0.0.0/4 dev eth0")
	atLeft, atFar := left.Join(port, "239.7.7.7"), far.Join(port, "239.7.7.7")
	p := ipv4.NewPacketConn(atLeft.UDPConn)
	if err := p.SetControlMessage(ipv4.FlagTTL, true); err != nil {
		t.Fatal(err)
	}
	group := fmt.Sprintf("239.7.7.7:%d", port)

	send(t, dialUDP(t, group, Options{Interfaces: []string{"br0"}, TTL: 7}), "far away")
	if err := p.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, with, _, err := p.ReadFrom(b); err != nil || string(b[:n]) != "far away" || with.TTL != 7 {
		t.Fatalf("got %q with %v, %v; want ttl 7", b[:n], with, err)
	}
	all := dialUDP(t, group, Options{})
	send(t, all, "everywhere")
	if n, with, _, err := p.ReadFrom(b); err != nil || string(b[:n]) != "everywhere" || with.TTL != 1 {
		t.Fatalf("got %q with %v, %v; want ttl 1", b[:n], with, err)
	}
	atFar.Expect("10.1.0.1", "everywhere")

	here := listenUDP(t, group, Options{Interfaces: []string{"eth1"}})
	far.Send(group, "from far")
	if got := read(t, here, 1)[0]; string(got.Payload) != "from far" || got.Cast != Multicast || got.Own {
		t.Errorf("got %q, %s, own %v; want the far one's multicast", got.Payload, got.Cast, got.Own)
	}
	send(t, all, "ours")
	if got := read(t, here, 1)[0]; string(got.Payload) != "ours" || !got.Own {
		t.Errorf("got %q, own %v; want ours", got.Payload, got.Own)
	}
}

func TestNetworkMulticastIPv6(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	left, _, far := lan(t)
	left.IP("addr add fd03::2/64 dev eth0 nodad")
	far.IP("addr add fd01::2/64 dev eth0 nodad")
	atLeft, atFar := left.Join(port, "ff05::77"), far.Join(port, "ff05::77")
	j := newJournal(t)
	// The ports of the bridge get addresses of their own at some moment, which must not count as uses.
	options := Options{Interfaces: []string{"br0", "eth1"}, Changed: j.changed, TTL: 3}
	all := dialUDP(t, fmt.Sprintf("[ff05::77]:%d", port), options)
	netnstest.IP(t, "addr add fd03::1/64 dev br0 nodad")
	netnstest.IP(t, "addr add fd01::1/64 dev eth1 nodad")
	// Link-local addresses that the system assigns may be in use already, or appear meanwhile.
	for late := time.After(patience); len(all.Uses()) < 2; {
		select {
		case <-j.lines:
		case <-late:
			t.Fatalf("got uses %v, want br0 and eth1", all.Uses())
		}
	}
	here := listenUDP(t, fmt.Sprintf("[ff05::77%%eth1]:%d", port), Options{})
	d := []Datagram{{Payload: []byte("everywhere")}}
	if err := all.WriteBatch(d); err != nil || d[0].Err != nil {
		t.Fatal(err, d[0].Err)
	}
	for _, l := range []netnstest.Listener{atLeft, atFar} {
		if payload, _ := l.Hear(); payload != "everywhere" {
			t.Errorf("got %q, want everywhere", payload)
		}
	}
	if got := read(t, here, 1)[0]; string(got.Payload) != "everywhere" || !got.Own || got.Cast != Multicast {
		t.Errorf("got %q, own %v, %s; want our own multicast", got.Payload, got.Own, got.Cast)
	}
}

// Sending and receiving go on while the interface is taken down, brought up, removed and created again.
func TestNetworkInterfaceComesAndGoes(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	n := netnstest.NewNeighbor(t, "eth1", "10.1.0.2/24")
	n.IP("route add 224.0.0.0/4 dev eth0")
	begin := func() {
		netnstest.IP(t, "addr add 10.1.0.1/24 brd + dev eth1")
		netnstest.IP(t, "link set eth1 up")
		n.Reach("10.1.0.2")
	}
	begin()
	sends, hears := newJournal(t), newJournal(t)
	group := netip.MustParseAddr("239.7.7.7")
	l := listenUDP(t, fmt.Sprintf(":%d", port), Options{Groups: []netip.Addr{group}, Interfaces: []string{"eth1"}, Changed: hears.changed})
	d := dialUDP(t, fmt.Sprintf("*:%d", port+1), Options{Changed: sends.changed, SendFailed: sends.sendFailed})
	received, sent := make(chan string), make(chan struct{})
	stop := make(chan struct{})
	go func() { // sends all the time; it does not matter how many datagrams arrive
		defer close(sent)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := d.WriteBatch([]Datagram{{Payload: fmt.Append(nil, i)}}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	go func() {
		defer close(received)
		batch := []Datagram{{Payload: make([]byte, 2048)}}
		for {
			if _, err := l.ReadBatch(batch); err != nil {
				return
			}
			received <- string(batch[0].Payload)
		}
	}()
	defer func() {
		close(stop)
		<-sent
		_ = l.Close()
		for range received {
		}
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-received:
			if got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("did not hear %q", want)
		}
	}
	heardThere := func() {
		t.Helper()
		there := n.Listen(port + 1) // a new listener receives only datagrams sent from now on
		defer there.Close()
		if _, from := there.Hear(); from != "10.1.0.1" {
			t.Fatalf("heard from %s, want 10.1.0.1", from)
		}
	}
	working := func(when string) {
		t.Helper()
		heardThere()
		for _, to := range []string{"10.1.0.1", "10.1.0.255", group.String()} {
			n.Send(fmt.Sprintf("%s:%d", to, port), to+" "+when)
			expect(to + " " + when)
		}
	}
	use := fmt.Sprintf("sends to 10.1.0.255:%d from 10.1.0.1 on eth1", port+1)
	unreachable := fmt.Sprintf("send to %s: %v", netip.AddrPort{}, ErrNoInterface)
	reachable := fmt.Sprintf("send to %s: <nil>", netip.AddrPort{})
	working("at first")

	for range 3 {
		netnstest.IP(t, "link set eth1 down")
		hears.expect("no more: receives on eth1", "no more: has joined 239.7.7.7 on eth1")
		sends.await("no more: "+use, unreachable)
		netnstest.IP(t, "link set eth1 up")
		hears.expect("receives on eth1", "has joined 239.7.7.7 on eth1")
		sends.await(reachable)
		working("brought back")
	}

	netnstest.IP(t, "link del eth1")
	hears.expect("no more: receives on eth1", "no more: has joined 239.7.7.7 on eth1")
	sends.await(unreachable)
	n.Plug("eth1", "10.1.0.2/24")
	n.IP("route add 224.0.0.0/4 dev eth0")
	begin()
	hears.expect("receives on eth1", "has joined 239.7.7.7 on eth1")
	sends.await(reachable)
	working("put back")
	if got := fmt.Sprint(d.Uses()); got != "["+use+"]" {
		t.Errorf("got uses %s, want %s", got, use)
	}
}

func TestNetworkAddressChanges(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	n := netnstest.NewNeighbor(t, "eth1", "10.1.0.2/24")
	n.IP("addr add 10.9.0.2/16 brd + dev eth0")
	there := n.Listen(port)
	netnstest.IP(t, "addr add 10.1.0.1/24 brd + dev eth1")
	netnstest.IP(t, "link set eth1 up")
	n.Reach("10.1.0.2")
	j, chosen := newJournal(t), newJournal(t)
	l := listenUDP(t, fmt.Sprintf("0.0.0.0:%d", port), Options{})
	d := dialUDP(t, fmt.Sprintf("255.255.255.255:%d", port), Options{Changed: j.changed, SendFailed: j.sendFailed})
	network := dialUDP(t, fmt.Sprintf("*:%d", port), Options{Interfaces: []string{"10.9.0.0/16"}, Changed: chosen.changed})
	if got := network.Uses(); len(got) != 0 {
		t.Errorf("got uses %v before there is such an address", got)
	}
	heard := func(payload, sender string) {
		t.Helper()
		there.Expect(sender, payload)
		got := read(t, l, 1)[0]
		if string(got.Payload) != payload || !got.Own || got.Remote.Addr().String() != sender {
			t.Errorf("got %q from %s, own %v; want our own %q from %s", got.Payload, got.Remote, got.Own, payload, sender)
		}
	}
	send(t, d, "one")
	heard("one", "10.1.0.1")
	netnstest.IP(t, "addr add 10.9.0.1/16 brd + dev eth1")
	second := fmt.Sprintf("sends to 10.9.255.255:%d from 10.9.0.1 on eth1", port)
	j.expect(second)
	chosen.expect(second)
	send(t, network, "the other network")
	heard("the other network", "10.9.0.1")
	netnstest.IP(t, "addr del 10.1.0.1/24 dev eth1")
	j.expect(fmt.Sprintf("no more: sends to 10.1.0.255:%d from 10.1.0.1 on eth1", port))
	send(t, d, "two")
	heard("two", "10.9.0.1")
	if d.Stats().Unsent != 0 {
		t.Errorf("got %d unsent, want none", d.Stats().Unsent)
	}
	// A datagram that was sent before the address was lost, and is read only now, is still Own.
	send(t, d, "three")
	netnstest.IP(t, "addr del 10.9.0.1/16 dev eth1")
	j.await("no more: " + second)
	heard("three", "10.9.0.1")
}
