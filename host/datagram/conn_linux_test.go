package datagram

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/framehost/framehost/host/netif"
)

func TestBroadcastOnLoopback(t *testing.T) {
	tests := []struct {
		name, host string
		interfaces []string
	}{
		{"directed", "127.255.255.255", nil},
		{"limited, by an interface's name", "255.255.255.255", []string{"lo"}},
		{"limited, by its address", "255.255.255.255", []string{"127.0.0.1"}},
		{"everywhere, by its network", "*", []string{"127.0.0.0/8"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first := listenUDP(t, "0.0.0.0:0", Options{})
			second := listenUDP(t, at("", first), Options{})                  // also IPv6
			directed := listenUDP(t, at("127.255.255.255", first), Options{}) // only for this address
			d := dialUDP(t, at(tt.host, first), Options{Interfaces: tt.interfaces})
			unicast := dialUDP(t, at("127.0.0.1", first), Options{})
			send(t, unicast, "to one")
			send(t, d, "to all")
			payloads := ""
			for _, l := range []*Conn{first, second, directed} {
				for {
					got := read(t, l, 1)[0]
					payloads += string(got.Payload) + ","
					if got.Cast == Unicast {
						continue
					}
					if got.Cast != Broadcast || !got.Own || got.Local.String() != "127.255.255.255" || got.Interface != 1 {
						t.Errorf("got %s to %s on %d, own %v; want a broadcast of ours to 127.255.255.255 on 1",
							got.Cast, got.Local, got.Interface, got.Own)
					}
					break
				}
			}
			if strings.Count(payloads, "to one") != 1 || strings.Count(payloads, "to all") != 3 {
				t.Errorf("got %s; want the unicast once and the broadcast by all three", payloads)
			}
			// Any machine may answer a broadcast.
			answer := []Datagram{{Payload: []byte("here"), Remote: netip.MustParseAddrPort(at("127.0.0.1", d))}}
			if err := first.WriteBatch(answer); err != nil || answer[0].Err != nil {
				t.Fatal(err, answer[0].Err)
			}
			if got := read(t, d, 1)[0]; string(got.Payload) != "here" {
				t.Errorf("got %q, want here", got.Payload)
			}
		})
	}
}

func TestMulticastOnLoopback(t *testing.T) {
	groups := []netip.Addr{netip.MustParseAddr("239.77.1.1"), netip.MustParseAddr("239.77.1.2")}
	lo := []string{"lo"}
	all := listenUDP(t, ":0", Options{Groups: groups, Interfaces: lo})
	one := listenUDP(t, at("239.77.1.2", all), Options{Interfaces: lo})
	none := listenUDP(t, at("0.0.0.0", all), Options{})
	for _, g := range groups {
		send(t, dialUDP(t, at(g.String(), all), Options{Interfaces: lo}), g.String())
	}
	send(t, dialUDP(t, at("127.255.255.255", all), Options{}), "the end")
	send(t, dialUDP(t, at("239.77.1.2", all), Options{Interfaces: lo}), "the end of the group")
	expect := func(name string, c *Conn, want ...string) {
		t.Helper()
		for i, got := range read(t, c, len(want)) {
			if string(got.Payload) != want[i] {
				t.Errorf("%s: got %q, want %q", name, got.Payload, want[i])
			}
			if got.Local.IsMulticast() != (got.Cast == Multicast) {
				t.Errorf("%s: got %s to %s", name, got.Cast, got.Local)
			}
		}
	}
	expect("all groups", all, "239.77.1.1", "239.77.1.2", "the end")
	expect("one group", one, "239.77.1.2", "the end of the group")
	expect("no group", none, "the end")
	if s := one.Stats(); s.Elsewhere != 1 {
		t.Errorf("got %d for elsewhere, want the broadcast alone", s.Elsewhere)
	}
	if got, want := fmt.Sprint(all.Uses()), "[has joined 239.77.1.1 on lo has joined 239.77.1.2 on lo receives on lo]"; got != want {
		t.Errorf("got uses %s, want %s", got, want)
	}
}

func TestNoInterfaceToSendFrom(t *testing.T) {
	var calls []string
	d := dialUDP(t, "*:9", Options{Interfaces: []string{"nosuch0"}, SendFailed: func(to netip.AddrPort, err error) {
		calls = append(calls, fmt.Sprint(to, err))
	}})
	batch := make([]Datagram, 2)
	if err := d.WriteBatch(batch); err != nil || batch[0].Err != ErrNoInterface || batch[1].Err != ErrNoInterface {
		t.Errorf("got %v, %v; want ErrNoInterface", err, batch)
	}
	if want := fmt.Sprint([]string{fmt.Sprint(netip.AddrPort{}, ErrNoInterface)}); fmt.Sprint(calls) != want || d.Stats().Unsent != 2 {
		t.Errorf("got calls %q, %d unsent; want %s, 2", calls, d.Stats().Unsent, want)
	}
}

// The kernel drops datagrams that are not read in time, and counts all of them: received plus dropped equals sent.
func TestDroppedDatagramsAreCounted(t *testing.T) {
	l := listenUDP(t, "127.0.0.1:0", Options{ReceiveBuffer: 16 << 10})
	d := dialUDP(t, at("127.0.0.1", l), Options{})
	const sent = 500
	for range sent / 50 {
		send(t, d, strings.Split(strings.Repeat("x", 50), "")...)
	}
	batch := memory(64, 10)
	for late := time.Now().Add(patience); l.Stats().Received+l.Stats().Dropped < sent; {
		// Some datagrams may not have arrived yet, and the last may have been dropped, so there may be nothing to read.
		if err := l.socket.conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.ReadBatch(batch); err != nil && (!errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(late)) {
			t.Fatalf("got %+v of %d sent: %v", l.Stats(), sent, err)
		}
	}
	send(t, d, "the end")
	if got := read(t, l, 1)[0]; string(got.Payload) != "the end" {
		t.Errorf("got %q after those, want the end", got.Payload)
	}
	s := l.Stats()
	if s.Dropped == 0 || s.Received+s.Dropped != sent+1 {
		t.Errorf("got %d received, %d dropped; want %d, and some dropped", s.Received, s.Dropped, sent+1)
	}
	_ = l.Close()
	if got := l.Stats().Dropped; got != s.Dropped {
		t.Errorf("got %d dropped after Close, want %d", got, s.Dropped)
	}
}

func TestReceiveBufferGranted(t *testing.T) {
	if got := listenUDP(t, "127.0.0.1:0", Options{ReceiveBuffer: 64 << 10}).ReceiveBuffer(); got != 64<<10 {
		t.Errorf("got %d bytes, want 64 KiB", got)
	}
	if got := listenUDP(t, "127.0.0.1:0", Options{}).ReceiveBuffer(); got <= 0 {
		t.Errorf("got %d bytes by default, want some", got)
	}
}

func TestInterfacesAreListed(t *testing.T) {
	w, err := netif.Watch()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	want, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range want {
		for _, got := range w.List() {
			if got.Index != n.Index {
				continue
			}
			if got.Name != n.Name || got.Up != (n.Flags&net.FlagUp != 0) || got.Loopback != (n.Flags&net.FlagLoopback != 0) {
				t.Errorf("got %+v, want %+v", got, n)
			}
			if got.Loopback && got.Addresses[0].Broadcast.String() != "127.255.255.255" {
				t.Errorf("got %+v, want the broadcast address of loopback", got)
			}
		}
	}
	if len(w.List()) != len(want) {
		t.Errorf("got %d interfaces, want %d", len(w.List()), len(want))
	}
	w.Close()
}
