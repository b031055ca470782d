package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/mdns"
	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/internal/netnstest"
)

const nmeaType = "_nmea-0183._tcp"

// feed returns a configuration with a route that announces nmea on a port. more is appended to its announce settings, such as
// those for DNS-SD.
func feed(port int, more string) string {
	return fmt.Sprintf(`routes:
  - name: feed
    from: {listen: "tcp://0.0.0.0:%d", codec: line, announce: {service: nmea, %s}}
    to:   {dial: "tcp://127.0.0.1:1", codec: line}
`, port, more)
}

// TestDNSSDMachine is not a test: it is the process of a machine with its own host name.
func TestDNSSDMachine(t *testing.T) {
	var h *Host
	netnstest.Serve(t, map[string]func(string){
		"name": func(name string) {
			runtime.LockOSThread() // the thread gets its own host name, and ends with the test
			if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
				t.Fatal(err)
			}
			if err := unix.Sethostname([]byte(name)); err != nil {
				t.Fatal(err)
			}
		},
		"run": func(quoted string) {
			yaml, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatal(err)
			}
			h = start(t, yaml)
		},
		"stop": func(string) { _ = h.Shutdown(t.Context()) },
	})
}

// A dnssdClient is an independent mDNS client on the network of the test.
type dnssdClient struct {
	t    *testing.T
	lan  *net.Interface
	said *net.UDPConn // receives what is sent to the group
	asks *net.UDPConn
	id   uint16
}

var mdnsGroup = &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}

func newDNSSDClient(t *testing.T, name string) *dnssdClient {
	t.Helper()
	lan, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	c := &dnssdClient{t: t, lan: lan}
	// Until it executes its program, a process that is being started has a copy of each of our sockets, even of closed ones.
	late := time.Now().Add(patience)
	for {
		c.said, err = net.ListenMulticastUDP("udp4", lan, mdnsGroup)
		if !errors.Is(err, unix.EADDRINUSE) || time.Now().After(late) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if c.asks, err = net.ListenUDP("udp4", nil); err != nil {
		t.Fatal(err)
	}
	if err := ipv4.NewPacketConn(c.asks).SetMulticastInterface(lan); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.said.Close()
		c.asks.Close()
	})
	return c
}

// lookup queries with the client of hashicorp/mdns until want instances of nmeaType have answered, and returns all that did.
func (c *dnssdClient) lookup(want int) (found []*mdns.ServiceEntry) {
	c.t.Helper()
	for range 60 {
		entries := make(chan *mdns.ServiceEntry, 16)
		err := mdns.QueryContext(c.t.Context(), &mdns.QueryParam{
			Service: nmeaType, Timeout: 300 * time.Millisecond, Interface: c.lan, Entries: entries, DisableIPv6: true,
			Logger: log.New(io.Discard, "", 0),
		})
		if err != nil {
			c.t.Fatal(err)
		}
		close(entries)
		found = nil
		for e := range entries {
			found = append(found, e)
		}
		if len(found) >= want {
			break
		}
	}
	slices.SortFunc(found, func(a, b *mdns.ServiceEntry) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// ask sends queries for the instances of nmeaType until an answer comes, and returns the answer.
func (c *dnssdClient) ask() *dns.Msg {
	c.t.Helper()
	for range 100 {
		c.id++
		q := new(dns.Msg)
		q.SetQuestion(nmeaType+".local.", dns.TypePTR)
		q.Id, q.Question[0].Qclass = c.id, dns.ClassINET|1<<15 // asks for a unicast answer
		packet, err := q.Pack()
		if err != nil {
			c.t.Fatal(err)
		}
		if _, err := c.asks.WriteToUDP(packet, mdnsGroup); err != nil {
			c.t.Fatal(err)
		}
		_ = c.asks.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if m := c.read(c.asks); m != nil {
			if m.Id != c.id {
				c.t.Fatalf("got an answer to question %d, want to %d: another one was answered twice", m.Id, c.id)
			}
			return m
		}
	}
	c.t.Fatal("got no answer")
	return nil
}

// hear waits for an unsolicited announcement of instance with a certain time to live, and returns it.
func (c *dnssdClient) hear(instance string, ttl uint32) *dns.Msg {
	c.t.Helper()
	_ = c.said.SetReadDeadline(time.Now().Add(patience))
	for {
		m := c.read(c.said)
		if m == nil {
			c.t.Fatalf("did not hear of %s with a time to live of %d", instance, ttl)
		}
		for _, one := range m.Answer {
			if ptr, ok := one.(*dns.PTR); ok && ptr.Ptr == instance && ptr.Hdr.Ttl == ttl {
				return m
			}
		}
	}
}

func (c *dnssdClient) read(from *net.UDPConn) *dns.Msg {
	c.t.Helper()
	b := make([]byte, 9000)
	n, err := from.Read(b)
	if err != nil {
		return nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(b[:n]); err != nil {
		c.t.Fatal(err)
	}
	return m
}

// textsIn returns the texts in the TXT records of m.
func textsIn(m *dns.Msg) (all []string) {
	for _, one := range slices.Concat(m.Answer, m.Extra) {
		if txt, ok := one.(*dns.TXT); ok {
			all = append(all, txt.Txt...)
		}
	}
	return all
}

// addressesIn returns the addresses in the A records of m.
func addressesIn(m *dns.Msg) (all []string) {
	for _, one := range m.Answer {
		if a, ok := one.(*dns.A); ok {
			all = append(all, a.A.String())
		}
	}
	return all
}

// Two machines announce one service. Another program finds both, and after one has left, the other one.
func TestNetworkDNSSD(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	netnstest.NewBridge(t, "lan", "10.1.0.1/24")
	netnstest.IP(t, "route add 224.0.0.0/4 dev lan") // the client needs a route for multicast
	client := newDNSSDClient(t, "lan")
	machines := map[string]*netnstest.Machine{}
	for i, name := range []string{"port", "starboard"} {
		m := netnstest.NewMachine(t, "TestDNSSDMachine")
		m.Plug("lan", "m"+name, "eth0", fmt.Sprintf("10.1.0.%d/24", i+2))
		m.Tell("name " + name)
		m.Tell("run " + strconv.Quote(feed(7001, `dns_sd: _nmea-0183._tcp, labels: {ship: 'Zoë \1', side: `+name+`}`)))
		machines[name] = m
	}
	type entry struct {
		Name, Host, Address string
		Port                int
		TXT                 []string
	}
	var got []entry
	for _, e := range client.lookup(2) {
		got = append(got, entry{e.Name, e.Host, e.AddrV4.String(), e.Port, e.InfoFields})
	}
	want := []entry{
		{"nmea-port-7001._nmea-0183._tcp.local.", "nmea-port-7001.local.", "10.1.0.2", 7001,
			[]string{"codec=line", `ship=Zo\195\171 \\1`, "side=port"}}, // as miekg/dns writes bytes
		{"nmea-starboard-7001._nmea-0183._tcp.local.", "nmea-starboard-7001.local.", "10.1.0.3", 7001,
			[]string{"codec=line", `ship=Zo\195\171 \\1`, "side=starboard"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("services (-want +got):\n%s", diff)
	}
	machines["port"].Tell("stop")
	client.hear(want[0].Name, 0)
	if left := client.lookup(1); len(left) != 1 || left[0].Name != want[1].Name {
		t.Errorf("got %v, want %s alone", left, want[1].Name)
	}
}

// Reloads change the announcements as they change the configuration.
func TestNetworkDNSSDFollowsReloads(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	netnstest.NewBridge(t, "lan", "10.1.0.1/24")
	client := newDNSSDClient(t, "lan")
	h := start(t, feed(0, "interval: 1s"))
	reload := func(yaml string) string {
		t.Helper()
		if err := h.Reload(t.Context(), parse(t, yaml)); err != nil {
			t.Fatal(err)
		}
		return h.Status().Routes[0].Announced[0].DNSSD
	}
	if got := h.Status().Routes[0].Announced[0].DNSSD; got != "" {
		t.Errorf("got %s, want none yet", got)
	}
	first := reload(feed(0, "dns_sd: _nmea-0183._tcp"))
	client.hear(first, 120)
	second := reload(feed(0, "dns_sd: _nmea-0183._tcp, labels: {site: north}"))
	if second != first { // the listener keeps its socket and its port, and the port is part of the instance name
		t.Errorf("got %s, want %s as before", second, first)
	}
	for !slices.Contains(textsIn(client.hear(second, 120)), "site=north") { // heard an announcement from before the reload
	}
	for _, one := range client.ask().Answer {
		if ptr, ok := one.(*dns.PTR); ok && ptr.Ptr != second {
			t.Errorf("got an answer for %s, want %s alone", ptr.Ptr, second)
		}
		if txt, ok := one.(*dns.TXT); ok && !slices.Equal(txt.Txt, []string{"codec=line", "site=north"}) {
			t.Errorf("got %q", txt.Txt)
		}
	}
	if got := reload(feed(0, "interval: 1s")); got != "" {
		t.Errorf("got %s, want none any more", got)
	}
	client.hear(second, 0)
	onlyListener(t, mdnsGroup.Port)
	third := reload(feed(0, "dns_sd: _nmea-0183._tcp"))
	client.hear(third, 120)
	if err := h.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	client.hear(third, 0)
}

// onlyListener waits until only one socket, that of the client, is left on a UDP port.
func onlyListener(t *testing.T, port int) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for late := time.After(patience); ; {
		sockets := 0
		for _, file := range []string{"/proc/self/net/udp", "/proc/self/net/udp6"} {
			all, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sockets += strings.Count(string(all), fmt.Sprintf(":%04X ", port))
		}
		if sockets == 1 {
			return
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("got %d sockets on port %d, want that of the client alone", sockets, port)
		}
	}
}

// One of several networks goes away, comes back, and gets another address.
func TestNetworkDNSSDFollowsInterfaces(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	netnstest.NewBridge(t, "left", "10.1.0.1/24")
	netnstest.NewBridge(t, "right", "10.2.0.1/24")
	left, right := newDNSSDClient(t, "left"), newDNSSDClient(t, "right")
	h := start(t, feed(0, "dns_sd: _nmea-0183._tcp"))
	instance := h.Status().Routes[0].Announced[0].DNSSD
	expect := func(c *dnssdClient, want ...string) {
		t.Helper()
		for !slices.Equal(addressesIn(c.hear(instance, 120)), want) { // earlier announcements may still arrive
		}
		for range 3 { // each query is answered once, although the host is in two networks
			if got := addressesIn(c.ask()); !slices.Equal(got, want) {
				t.Errorf("got the addresses %v as an answer, want %v", got, want)
			}
		}
	}
	// Each change is expected on a network where the new addresses have not been announced before.
	expect(left, "10.1.0.1", "10.2.0.1")
	expect(right, "10.1.0.1", "10.2.0.1")
	netnstest.IP(t, "link set left down")
	expect(right, "10.2.0.1")
	netnstest.IP(t, "link set left up")
	expect(right, "10.1.0.1", "10.2.0.1")
	netnstest.IP(t, "link del right")
	expect(left, "10.1.0.1")
	netnstest.NewBridge(t, "right", "10.2.0.9/24")
	expect(left, "10.1.0.1", "10.2.0.9")
	if got := addressesIn(newDNSSDClient(t, "right").ask()); !slices.Equal(got, []string{"10.1.0.1", "10.2.0.9"}) {
		t.Errorf("got the addresses %v as an answer", got)
	}
}

// Another program holds the port of multicast DNS exclusively. This is logged, and the route runs.
func TestNetworkDNSSDWithoutItsPort(t *testing.T) {
	if !netnstest.Own(t) {
		return
	}
	netnstest.NewBridge(t, "lan", "10.1.0.1/24")
	var all net.ListenConfig
	taken, err := all.ListenPacket(context.Background(), "udp", ":5353")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var book logBook
	up := listenUpstream(t)
	yaml := strings.ReplaceAll(feed(0, "dns_sd: _nmea-0183._tcp"), "127.0.0.1:1", up.Addr().String())
	h, err := Start(t.Context(), parse(t, yaml), Options{Logger: book.logger(hclog.Info)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Shutdown(context.Background()) })
	const message = "DNS-SD is not working everywhere; it is tried again"
	waitFor(t, h, func(*control.Status) bool { return len(book.find(t, message)) > 0 })
	if why := fmt.Sprint(book.find(t, message)[0]["error"]); !strings.Contains(why, "address already in use") {
		t.Errorf("got %q, want that the address is in use", why)
	}
	send(t, dialRoute(t, h, "feed"), "hi\n")
	expect(t, up.accept(), "hi\n")

	taken.Close()
	client := newDNSSDClient(t, "lan")
	netnstest.IP(t, "addr add 10.1.0.9/24 dev lan")
	client.hear(h.Status().Routes[0].Announced[0].DNSSD, 120)
	client.ask()
}
