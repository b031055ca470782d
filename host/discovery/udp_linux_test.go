package discovery

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// loopback returns UDP transports that share a free port on loopback.
func loopback(t *testing.T, n int) []*UDP {
	t.Helper()
	reserved, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	port := reserved.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	if err := reserved.Close(); err != nil {
		t.Fatal(err)
	}
	var all []*UDP
	for range n {
		u, err := ListenUDP(t.Context(), UDPOptions{Port: port, Interfaces: []string{"127.0.0.1"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { u.Close() })
		all = append(all, u)
	}
	return all
}

func TestUDPReachesAll(t *testing.T) {
	all := loopback(t, 3)
	if err := all[0].Send([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	want := Origin{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), all[0].port), "lo"}
	for i, u := range all {
		buf := make([]byte, 16)
		n, from, err := u.Receive(buf)
		if string(buf[:n]) != "hello" || from != want || err != nil {
			t.Errorf("%d: got %q from %v, %v, want hello from %v", i, buf[:n], from, err, want)
		}
	}
	if got := all[0].Addresses(); len(got) != 1 || got[0] != want.Address.Addr() {
		t.Errorf("got addresses %v, want %v", got, want.Address.Addr())
	}
}

func TestUDPCloses(t *testing.T) {
	u := loopback(t, 1)[0]
	received := make(chan error)
	go func() {
		_, _, err := u.Receive(make([]byte, 16))
		received <- err
	}()
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-received; !errors.Is(err, net.ErrClosed) {
		t.Errorf("receive: got %v, want net.ErrClosed", err)
	}
	if err := u.Send([]byte("hello")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("send: got %v, want net.ErrClosed", err)
	}
}

func TestUDPWithoutInterfaces(t *testing.T) {
	u, err := ListenUDP(t.Context(), UDPOptions{Port: loopback(t, 1)[0].port, Interfaces: []string{"no-such-interface"}})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if err := u.Send([]byte("hello")); !errors.Is(err, ErrNoInterface) || !strings.Contains(err.Error(), "no-such-interface") {
		t.Errorf("got %v, want %v and the name", err, ErrNoInterface)
	}
	for _, name := range []string{"", "fe80::1", "fe80::/64", "192.0.2.0/33", "eth 0"} {
		if _, err := ListenUDP(t.Context(), UDPOptions{Interfaces: []string{name}}); err == nil || !strings.Contains(err.Error(), "want the name") {
			t.Errorf("%q: got %v, want that it is no interface", name, err)
		}
	}
}

// Two transports act as two processes of one machine: a service is found, and says goodbye.
func TestUDPFindsService(t *testing.T) {
	sockets := loopback(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	var stations []*Station
	for _, u := range sockets {
		s, err := NewStation(u, signed())
		if err != nil {
			t.Fatal(err)
		}
		stations = append(stations, s)
		go func() { ended <- s.Run(ctx) }()
	}
	changes := make(chan Change, 10)
	b, err := NewBrowser(stations[1], BrowserOptions{Changed: func(c Change) { changes <- c }})
	if err != nil {
		t.Fatal(err)
	}
	go b.Run(ctx)
	a, err := NewAnnouncer(stations[0], AnnouncerOptions{Service: Service{Name: "scales", Port: 7001}, Addresses: sockets[0].Addresses})
	if err != nil {
		t.Fatal(err)
	}
	announcing, stop := context.WithCancel(ctx)
	go a.Run(announcing)
	if c := <-changes; c.Kind != Appeared || c.Found.ID != a.ID() || c.Found.Addresses[0].String() != "127.0.0.1:7001" {
		t.Errorf("got %+v, want that scales appeared at 127.0.0.1:7001", c)
	}
	stop()
	if c := <-changes; c.Kind != Left || c.Found.ID != a.ID() {
		t.Errorf("got %+v, want that scales left", c)
	}
	cancel()
	for range stations {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
