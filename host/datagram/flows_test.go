package datagram

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// from returns a datagram that a peer sent to 10.0.0.1.
func from(peer, payload string) Datagram {
	return Datagram{Payload: []byte(payload), Remote: netip.MustParseAddrPort(peer),
		Local: netip.MustParseAddr("10.0.0.1"), Cast: Unicast}
}

func accept(t testing.TB, flows *Flows) *Flow {
	t.Helper()
	flow, err := flows.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return flow
}

func next(t testing.TB, flow *Flow, want string) {
	t.Helper()
	if got, err := flow.Next(); err != nil || string(got) != want {
		t.Fatalf("from %s: got %q, %v; want %q", flow.Peer(), got, err, want)
	}
}

const peerA, peerB, peerC = "10.0.0.2:1000", "10.0.0.2:1001", "10.0.0.3:1000"

func TestFlowForEachPeer(t *testing.T) {
	var sent []string
	flows := NewFlows(func(d []Datagram) error {
		for i := range d {
			sent = append(sent, fmt.Sprintf("%s %s %s", d[i].Payload, d[i].Remote, d[i].Local))
		}
		return nil
	}, FlowOptions{})
	defer flows.Close()
	flows.Deliver([]Datagram{from(peerA, "a1"), from(peerB, "b1"), from(peerA, ""), from(peerC, "c1"), from(peerA, "a3")})
	a, b, c := accept(t, flows), accept(t, flows), accept(t, flows)
	defer a.Close()
	defer b.Close()
	defer c.Close()
	next(t, a, "a1")
	next(t, c, "c1")
	flows.Deliver([]Datagram{from(peerA, "a4")})
	next(t, a, "")
	next(t, a, "a3")
	next(t, a, "a4")
	next(t, b, "b1")
	for _, flow := range []*Flow{a, b} {
		if n, err := flow.Write([]byte("hi")); n != 2 || err != nil {
			t.Fatal(n, err)
		}
	}
	if got, want := fmt.Sprint(sent), "[hi 10.0.0.2:1000 10.0.0.1 hi 10.0.0.2:1001 10.0.0.1]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAnswerToABroadcastHasTheSystemsAddress(t *testing.T) {
	var local netip.Addr
	flows := NewFlows(func(d []Datagram) error { local = d[0].Local; return nil }, FlowOptions{})
	defer flows.Close()
	d := from(peerA, "is anybody there?")
	d.Local, d.Cast = netip.MustParseAddr("10.0.0.255"), Broadcast
	flows.Deliver([]Datagram{d})
	a := accept(t, flows)
	defer a.Close()
	if _, err := a.Write([]byte("yes")); err != nil || local.IsValid() {
		t.Errorf("got source %s, %v; want none", local, err)
	}
}

func TestFlowThatIsNotReadLosesDatagrams(t *testing.T) {
	tests := []struct {
		name    string
		options FlowOptions
		deliver []string
		want    []string
	}{
		{"in datagrams", FlowOptions{Queue: 2}, []string{"", "2", "3"}, []string{"", "2"}},
		{"in bytes", FlowOptions{QueueBytes: 4}, []string{"12", "34", "5", ""}, []string{"12", "34", ""}},
		{"but one, however long", FlowOptions{QueueBytes: 4}, []string{strings.Repeat("x", 65507), ""}, []string{strings.Repeat("x", 65507)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			flows := NewFlows(nil, tt.options)
			defer flows.Close()
			for range 3 { // reading makes room again
				for _, p := range tt.deliver {
					flows.Deliver([]Datagram{from(peerA, p), from(peerB, "hi")})
				}
				if flows.Stats().Live != 2 {
					t.Fatalf("got %d flows, want 2", flows.Stats().Live)
				}
				a, b := accept(t, flows), accept(t, flows)
				for _, p := range tt.want {
					next(t, a, p)
				}
				next(t, b, "hi")
				_, _ = a.Close(), b.Close()
			}
			dropped := 3 * (len(tt.deliver) - len(tt.want))
			if s := flows.Stats(); s.Live != 0 || s.Dropped < uint64(dropped) {
				t.Errorf("got %+v, want %d dropped of A", s, dropped)
			}
		})
	}
}

func TestFlowsAreBounded(t *testing.T) {
	var refusals []netip.AddrPort
	flows := NewFlows(nil, FlowOptions{Max: 2, Refused: func(peer netip.AddrPort) { refusals = append(refusals, peer) }})
	defer flows.Close()
	flows.Deliver([]Datagram{from(peerA, "a1"), from(peerB, "b1"), from(peerC, "c1"), from(peerC, "c2"), from(peerA, "a2")})
	a, b := accept(t, flows), accept(t, flows)
	next(t, a, "a1")
	next(t, a, "a2")
	if s := flows.Stats(); s.Live != 2 || s.Refused != 2 || len(refusals) != 1 {
		t.Errorf("got %+v, refusals %v; want 2 live, 2 refused, Refused called once", s, refusals)
	}
	_ = a.Close()
	flows.Deliver([]Datagram{from(peerC, "c3"), from(peerA, "a3")})
	c := accept(t, flows)
	next(t, c, "c3")
	if s := flows.Stats(); s.Live != 2 || s.Refused != 3 || len(refusals) != 2 {
		t.Errorf("got %+v, refusals %v; want 2 live, 3 refused, Refused called twice", s, refusals)
	}
	_, _ = b.Close(), c.Close()
	_ = c.Close()
	if s := flows.Stats(); s.Live != 0 {
		t.Errorf("got %d live, want none", s.Live)
	}
}

func TestFlowEndsWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flows := NewFlows(func([]Datagram) error { return nil }, FlowOptions{Idle: time.Minute})
		defer flows.Close()
		began := time.Now()
		flows.Deliver([]Datagram{from(peerA, "a1"), from(peerB, "b1")})
		a, b := accept(t, flows), accept(t, flows)
		<-time.After(40 * time.Second)
		flows.Deliver([]Datagram{from(peerA, "a2")})
		<-time.After(40 * time.Second)
		if _, err := b.Write([]byte("hi")); err != io.ErrClosedPipe {
			t.Errorf("got %v of Write, want io.ErrClosedPipe", err)
		}
		next(t, b, "b1") // a datagram queued before the end can still be read
		if _, err := b.Next(); err != io.EOF {
			t.Errorf("got %v, want io.EOF", err)
		}
		next(t, a, "a1")
		next(t, a, "a2")
		if _, err := a.Write([]byte("hi")); err != nil { // Write restarts the idle time too
			t.Errorf("got %v of Write, want nil", err)
		}
		if _, err := a.Next(); err != io.EOF || time.Since(began) != 140*time.Second {
			t.Errorf("got %v after %s, want io.EOF after 2m20s", err, time.Since(began))
		}
		flows.Deliver([]Datagram{from(peerA, "again")})
		again := accept(t, flows)
		if again == a {
			t.Error("got the flow that ended, want another")
		}
		if got := flows.Stats().Live; got != 3 {
			t.Errorf("got %d live, want 3: a flow holds its place until it is closed", got)
		}
		for _, flow := range []*Flow{a, b, again} {
			_ = flow.Close()
		}
	})
}

func TestClosingFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flows := NewFlows(func([]Datagram) error { return nil }, FlowOptions{})
		flows.Deliver([]Datagram{from(peerA, "a1"), from(peerB, "b1")})
		a := accept(t, flows)
		next(t, a, "a1")
		read := make(chan error)
		go func() {
			_, err := a.Next()
			read <- err
		}()
		b := accept(t, flows)
		accepted := make(chan error)
		go func() {
			_, err := flows.Accept()
			accepted <- err
		}()
		synctest.Wait()
		flows.Deliver(nil)
		_ = a.Close()
		if err := <-read; err != net.ErrClosed {
			t.Errorf("got %v of Next, want net.ErrClosed", err)
		}
		if _, err := a.Write(nil); err != net.ErrClosed {
			t.Errorf("got %v of Write, want net.ErrClosed", err)
		}
		flows.Close()
		if err := <-accepted; err != net.ErrClosed {
			t.Errorf("got %v of Accept, want net.ErrClosed", err)
		}
		next(t, b, "b1")
		flows.Deliver([]Datagram{from(peerB, "b2")})
		if _, err := b.Write([]byte("hi")); err != nil {
			t.Errorf("got %v of Write, want that flows go on", err)
		}
		_ = b.Close()
		if s := flows.Stats(); s.Live != 0 {
			t.Errorf("got %d live, want none", s.Live)
		}
	})
}

func TestFlowsNotAcceptedAreClosed(t *testing.T) {
	flows := NewFlows(nil, FlowOptions{})
	flows.Deliver([]Datagram{from(peerA, "a1")})
	flows.Close()
	flows.Close()
	if s := flows.Stats(); s.Live != 0 {
		t.Errorf("got %d live, want none", s.Live)
	}
	if _, err := flows.Accept(); err != net.ErrClosed {
		t.Errorf("got %v, want net.ErrClosed", err)
	}
}

func TestFlowWriteErrors(t *testing.T) {
	why := errors.New("no way")
	flows := NewFlows(func(d []Datagram) error { d[0].Err = why; return nil }, FlowOptions{})
	defer flows.Close()
	flows.Deliver([]Datagram{from(peerA, "a1")})
	a := accept(t, flows)
	defer a.Close()
	if n, err := a.Write([]byte("hi")); n != 0 || err != why {
		t.Errorf("got %d, %v; want 0, %v", n, err, why)
	}
}

func TestFlowsOverSockets(t *testing.T) {
	l := listenUDP(t, "127.0.0.1:0", Options{Exclusive: true})
	flows := NewFlows(l.WriteBatch, FlowOptions{})
	received := make(chan struct{})
	go func() {
		defer close(received)
		batch := make([]Datagram, 8)
		for i := range batch {
			batch[i].Payload = make([]byte, 0, 2048)
		}
		for {
			n, err := l.ReadBatch(batch)
			if err != nil {
				return
			}
			flows.Deliver(batch[:n])
		}
	}()
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		for {
			flow, err := flows.Accept()
			if err != nil {
				return
			}
			p, err := flow.Next()
			if err == nil {
				_, err = flow.Write(p)
			}
			if err != nil {
				t.Error(err)
			}
			_ = flow.Close()
		}
	}()
	for i := range 5 {
		d := dialUDP(t, at("127.0.0.1", l), Options{})
		send(t, d, fmt.Sprint("hi ", i))
		if got := read(t, d, 1)[0]; string(got.Payload) != fmt.Sprint("hi ", i) {
			t.Errorf("got %q, want hi %d", got.Payload, i)
		}
	}
	_ = l.Close()
	<-received
	flows.Close()
	<-echoed
}
