package relay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A lan is a network in memory: all sockets receive what one socket sends.
type lan struct {
	mu      sync.Mutex
	change  *sync.Cond
	sockets []*socket
	crossed int // datagrams
}

// A socket is a socket on a lan.
type socket struct {
	lan     *lan
	addr    netip.AddrPort
	arrived []Datagram
	lose    int // how many of the next arrivals are lost
	refuse  int // how many of the next datagrams can't be sent
	closed  bool
	number  int
}

func newLAN() *lan {
	l := &lan{}
	l.change = sync.NewCond(&l.mu)
	return l
}

func (l *lan) socket() *socket {
	l.mu.Lock()
	defer l.mu.Unlock()
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + len(l.sockets))}), 7000)
	s := &socket{lan: l, addr: addr, number: 1}
	l.sockets = append(l.sockets, s)
	return s
}

func (s *socket) Send(frames [][]byte) (int, error) {
	s.lan.mu.Lock()
	defer s.lan.mu.Unlock()
	if s.closed {
		return 0, errClosed
	}
	for i, frame := range frames {
		if s.refuse > 0 {
			s.refuse--
			return i, fmt.Errorf("no route: %w", ErrNotSent)
		}
		s.lan.crossed++
		for _, to := range s.lan.sockets {
			if to.lose > 0 {
				to.lose--
				continue
			}
			to.arrived = append(to.arrived, Datagram{Bytes: bytes.Clone(frame), Source: s.addr, Interface: to.number, Own: to == s})
		}
	}
	s.lan.change.Broadcast()
	return len(frames), nil
}

func (s *socket) Receive(into []Datagram) (int, error) {
	s.lan.mu.Lock()
	defer s.lan.mu.Unlock()
	for len(s.arrived) == 0 && !s.closed {
		s.lan.change.Wait()
	}
	if s.closed {
		return 0, errClosed
	}
	n := copy(into, s.arrived)
	s.arrived = s.arrived[n:]
	return n, nil
}

func (s *socket) Close() error {
	s.lan.mu.Lock()
	defer s.lan.mu.Unlock()
	s.closed = true
	s.lan.change.Broadcast()
	return nil
}

func (s *socket) send(datagrams ...string) {
	for _, one := range datagrams {
		if _, err := s.Send([][]byte{[]byte(one)}); err != nil {
			panic(err)
		}
	}
}

// heard returns and removes the datagrams that others sent to the socket.
func (s *socket) heard() []string {
	s.lan.mu.Lock()
	defer s.lan.mu.Unlock()
	var all []string
	for _, one := range s.arrived {
		if !one.Own {
			all = append(all, string(one.Bytes))
		}
	}
	s.arrived = nil
	return all
}

// joinLAN adds a network to h.
func joinLAN(t testing.TB, h *Hub, config DatagramMember) *peer {
	t.Helper()
	p := &peer{result: make(chan MemberResult, 1)}
	var err error
	if p.member, err = h.Datagrams(config); err != nil {
		t.Fatal(err)
	}
	go func() { p.result <- p.member.Run(t.Context()) }()
	return p
}

func onLAN(l *lan, c codeccall.Codec) DatagramMember {
	return DatagramMember{MemberConfig: MemberConfig{Codec: c}, Datagrams: l.socket()}
}

func TestHubDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := NewMemory(64<<20, time.Minute)
		h := NewHub(memory)
		framed, plain := newLAN(), newLAN()
		device, listener := framed.socket(), plain.socket()
		one := joinLAN(t, h, onLAN(framed, codec(t, lines{}, 1000)))
		two := joinLAN(t, h, onLAN(plain, nil))
		client := join(t, h, with(codec(t, counted{built: true}, 1000)), 1<<20)
		synctest.Wait()
		device.send("hi\nho\n", "", "hey\n")
		synctest.Wait()
		if got, want := listener.heard(), []string{"hi", "ho", "hey"}; !slices.Equal(got, want) {
			t.Errorf("heard %q, want %q", got, want)
		}
		if got := device.heard(); got != nil {
			t.Errorf("the device heard %q, want nothing", got)
		}
		client.send(wire(t, counted{built: true}, []byte("from"), []byte("a client"), nil))
		synctest.Wait()
		if got, want := device.heard(), []string{"from\n", "a client\n", "\n"}; !slices.Equal(got, want) {
			t.Errorf("the device heard %q, want %q", got, want)
		}
		if got, want := listener.heard(), []string{"from", "a client", ""}; !slices.Equal(got, want) {
			t.Errorf("heard %q, want %q", got, want)
		}
		listener.send("with\na newline")
		synctest.Wait()
		h.End(Drained)
		client.CloseWrite()
		want := wire(t, counted{built: true}, []byte("hi"), []byte("ho"), []byte("hey"), []byte("with\na newline"))
		if got := client.text(t); got != string(want) {
			t.Errorf("the client got %q, want %q", got, want)
		}
		client.ended(t, Drained)
		stats := one.ended(t, Drained).Stats
		if stats.DatagramsIn != 3 || stats.DatagramsOut != 3 || stats.Own != 3 || stats.FramesIn != 3 || stats.Unrepresentable != 1 {
			t.Errorf("got %+v", stats)
		}
		two.ended(t, Drained)
		if used := memory.Used(); used != 0 {
			t.Errorf("%d bytes of memory are still in use", used)
		}
	})
}

func TestHubDatagramViolations(t *testing.T) {
	type violation struct {
		offset, at, frame int64
		err               error
		bytes             string
	}
	bang := func(offset, frame int64) violation {
		return violation{offset, offset, frame, codecs.ErrMalformed, ""}
	}
	tests := []struct {
		name, datagram string
		on             OnViolation
		want           []string
		violations     []violation
		skipped        int64 // bytes
		kept           string
	}{
		{"ends inside a frame", "hi\nho", CloseSession, []string{"hi"}, []violation{{3, 5, 1, codecs.ErrTruncated, "ho"}}, 2, ""},
		{"ends inside a frame, and the rest is kept", "hi\nho", Quarantine, []string{"hi"}, []violation{{3, 5, 1, codecs.ErrTruncated, "ho"}}, 2, "ho"},
		{"close drops the rest", "hi\n!bad....ho\n", CloseSession, []string{"hi"}, []violation{bang(3, 1)}, 11, ""},
		{"skip goes on in the datagram", "hi\n!bad....ho\n!bad....", Skip, []string{"hi", "ho"}, []violation{bang(3, 1), bang(14, 2)}, 16, ""},
		{"skip, and the codec can't go on", "hi\n!!\nho\n", Skip, []string{"hi"}, []violation{bang(3, 1)}, 6, ""},
		{"skip beyond the end", "!bad", Skip, nil, []violation{bang(0, 0)}, 4, ""},
		{"quarantine", "hi\n!bad....ho\n", Quarantine, []string{"hi", "ho"}, []violation{bang(3, 1)}, 8, "!bad...."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := NewHub(nil)
				there, here := newLAN(), newLAN()
				device, listener := there.socket(), here.socket()
				config := onLAN(there, codec(t, lines{}, 1000))
				config.OnViolation, config.WireBytes = tt.on, 32
				var kept kept
				config.Quarantine = func(Violation) io.WriteCloser { return &kept }
				var got []violation
				config.Violation = func(v Violation) {
					if !v.Skipped || v.Source != device.addr || v.Direction != FromMember {
						t.Errorf("got %+v", v)
					}
					one := violation{v.Offset, v.At, v.Frame, v.Err, string(v.Bytes)}
					if v.Err == codecs.ErrMalformed {
						one.bytes = ""
					}
					got = append(got, one)
				}
				one, two := joinLAN(t, h, config), joinLAN(t, h, onLAN(here, nil))
				synctest.Wait()
				device.send(tt.datagram, "next\n")
				synctest.Wait()
				if got, want := listener.heard(), slices.Concat(tt.want, []string{"next"}); !slices.Equal(got, want) {
					t.Errorf("heard %q, want %q", got, want)
				}
				if !slices.Equal(got, tt.violations) {
					t.Errorf("got %+v, want %+v", got, tt.violations)
				}
				if kept.String() != tt.kept {
					t.Errorf("kept %q, want %q", kept.String(), tt.kept)
				}
				h.End(Drained)
				stats := one.ended(t, Drained).Stats
				if stats.BytesSkipped != tt.skipped || stats.Violations != int64(len(tt.violations)) {
					t.Errorf("got %+v, want %d bytes skipped", stats, tt.skipped)
				}
				two.ended(t, Drained)
			})
		})
	}
}

func TestHubDatagramsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		l := newLAN()
		listener := l.socket()
		config := onLAN(l, codec(t, lines{}, 1000))
		config.MaxDatagram = 5
		var violations []Violation
		config.Violation = func(v Violation) { violations = append(violations, v) }
		ours := config.Datagrams.(*socket)
		ours.refuse = 2
		p := joinLAN(t, h, config)
		sender := join(t, h, with(codec(t, lines{}, 1000)), 1000)
		synctest.Wait()
		sender.send([]byte("one\ntwo\ntoo long\nfour\nfive\n"))
		synctest.Wait()
		if got, want := listener.heard(), []string{"four\n", "five\n"}; !slices.Equal(got, want) {
			t.Errorf("heard %q, want %q", got, want)
		}
		stats := p.member.Stats()
		if stats.NotSent != 2 || stats.Unrepresentable != 1 || stats.DatagramsOut != 2 {
			t.Errorf("got %+v", stats)
		}
		if len(violations) != 1 || !errors.Is(violations[0].Err, codecs.ErrTooLong) || violations[0].Direction != ToMember {
			t.Errorf("got %+v, want one that is too long", violations)
		}
		ours.Close()
		if result := p.ended(t, IOError); result.Err == nil {
			t.Errorf("got %+v, want an error", result)
		}
		drain(h, sender)
		sender.ended(t, Drained)
	})
}

// A batch that is larger than one call of the encoder may be.
func TestHubDatagramsOfVeryManyFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(NewMemory(256<<20, time.Minute))
		l := newLAN()
		device := l.socket()
		p := joinLAN(t, h, onLAN(l, codec(t, lines{}, 1000)))
		config := with(codec(t, lines{}, 1000))
		config.Queue = Queue{Policy: Block}
		client := join(t, h, config, 1<<20)
		synctest.Wait()
		datagram := strings.Repeat("\n", 40_000)
		device.send(datagram, datagram, datagram, datagram)
		synctest.Wait()
		drain(h, client)
		if got := len(client.text(t)); got != 160_000 {
			t.Errorf("%d frames arrived, want 160000", got)
		}
		client.ended(t, Drained)
		p.ended(t, Drained)
	})
}

// Two hosts relay between two networks, both ways. A frame that a device sends on one network arrives on the other, whichever arrivals
// are lost, and no frame loops.
func TestHubsDoNotLoop(t *testing.T) {
	for lost := range 4 {
		t.Run(fmt.Sprintf("lost %02b", lost), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := newLAN(), newLAN()
				device, listener := here.socket(), there.socket()
				var hubs []*Hub
				var peers []*peer
				for host := range 2 {
					h := NewHub(NewMemory(64<<20, time.Minute))
					hubs = append(hubs, h)
					c := codec(t, lines{}, 1000)
					near, far := onLAN(here, c), onLAN(there, c)
					near.Datagrams.(*socket).lose = lost >> host & 1
					peers = append(peers, joinLAN(t, h, near), joinLAN(t, h, far))
				}
				synctest.Wait()
				for i := range 20 {
					sentence := fmt.Sprintf("moored %d\n", i/10) // the device repeats its sentences
					device.send(sentence)
					synctest.Wait()
					// Each host passes the frame on, unless it receives the other host's copy first: then it passes that copy back, once.
					got := listener.heard()
					if both := i == 0 && lost == 3; both != (len(got) == 0) || len(got) > 2 ||
						slices.ContainsFunc(got, func(s string) bool { return s != sentence }) {
						t.Errorf("sentence %d: heard %q, want it once or twice", i, got)
					}
					if got := device.heard(); len(got) > 1 {
						t.Errorf("sentence %d: the device heard %q", i, got)
					}
					time.Sleep(300 * time.Millisecond)
				}
				if here.crossed+there.crossed > 20*4 {
					t.Errorf("%d datagrams for 20 sentences, want 80 at most", here.crossed+there.crossed)
				}
				for _, h := range hubs {
					h.End(Drained)
				}
				for _, p := range peers {
					p.ended(t, Drained)
				}
			})
		})
	}
}

func TestHubDatagramMemberDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		l := newLAN()
		device := l.socket()
		one := joinLAN(t, h, onLAN(l, nil))
		blocking := with(codec(t, lines{}, 1000))
		blocking.Queue = Queue{Frames: 1, Policy: Block}
		slow := join(t, h, blocking, 1)
		synctest.Wait()
		device.send("one", "two", "three", "four")
		synctest.Wait()
		one.member.End(Drained)
		synctest.Wait()
		device.send("late")
		var got []byte
		for range len("one\ntwo\nthree\nfour\n") {
			b := make([]byte, 1)
			n, _ := slow.Read(func() []byte { return b }, func([]byte) {})
			got = append(got, b[:n]...)
		}
		if string(got) != "one\ntwo\nthree\nfour\n" {
			t.Errorf("got %q", got)
		}
		one.ended(t, Drained)
		drain(h, slow)
		if got := slow.text(t); got != "" {
			t.Errorf("got %q, want no more", got)
		}
		slow.ended(t, Drained)
	})
}

// A datagram that can't be decoded because there is no codec process ends the member.
func TestHubDatagramCodecFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		l := newLAN()
		device := l.socket()
		p := joinLAN(t, h, onLAN(l, &failing{codec(t, lines{}, 10), 0}))
		synctest.Wait()
		device.send("one\n")
		if result := p.ended(t, CodecFailed); result.Stats.Starved != 1 {
			t.Errorf("got %+v, want one datagram dropped", result)
		}
	})
}

// Datagrams to a member that only sends are discarded, and so are datagrams that arrive while there is no memory.
func TestHubDatagramsDiscarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := NewMemory(allowance, time.Minute)
		h := NewHub(memory)
		l := newLAN()
		device := l.socket()
		sendOnly := onLAN(l, nil)
		sendOnly.Use = SendOnly
		one, two := joinLAN(t, h, sendOnly), joinLAN(t, h, onLAN(l, nil))
		synctest.Wait()
		device.send(strings.Repeat("x", 60_000), "short")
		time.Sleep(2 * time.Minute)
		if got := one.member.Stats(); got.BytesDiscarded != 60_005 || got.FramesIn != 0 {
			t.Errorf("got %+v, want %d bytes discarded", got, 60_005)
		}
		if got := two.member.Stats(); got.Starved == 0 || got.DatagramsIn != 2 {
			t.Errorf("got %+v, want a datagram dropped for want of memory", got)
		}
		h.End(Drained)
		one.ended(t, Drained)
		two.ended(t, Drained)
		if used := memory.Used(); used != 0 {
			t.Errorf("%d bytes of memory are still in use", used)
		}
	})
}

// swelling decodes each byte to one MiB.
type swelling struct{ lines }

func (swelling) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	for i := range in.Bytes {
		b, err := out.Grow(1 << 20)
		if err != nil {
			return i, err
		}
		if err := out.Commit(b[:1<<20]); err != nil {
			return i, err
		}
	}
	return len(in.Bytes), nil
}

// A datagram uses no more memory than there is: payloads for which there is no memory are dropped and counted.
func TestDatagramThatSwells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 16 << 20
		memory := NewMemory(limit, time.Minute)
		h := NewHub(memory)
		l := newLAN()
		device := l.socket()
		place := onLAN(l, codec(t, swelling{}, 1<<20))
		place.Answers = true // so that the member remembers no frames
		p := joinLAN(t, h, place)
		receiver := with(codec(t, counted{}, 1<<20))
		receiver.Queue = Queue{Policy: Block}
		client := join(t, h, receiver, 1<<20)
		got := make(chan int, 1)
		go func() {
			text, _ := client.receive()
			got <- len(text)
		}()
		synctest.Wait()
		device.send(strings.Repeat("x", 528))
		synctest.Wait()
		stats := p.member.Stats()
		if stats.PayloadBytes == 0 || stats.PayloadBytes > limit || stats.Starved != 1 {
			t.Errorf("%d bytes of payloads came of one datagram, and %d datagrams count as dropped; want some, at most %d, and 1",
				stats.PayloadBytes, stats.Starved, limit)
		}
		if used, most := memory.Used(), int64(2*allowance); used > most {
			t.Errorf("%d bytes are still charged, want at most %d", used, most)
		}
		drain(h, client)
		if n := <-got; int64(n) != stats.PayloadBytes+4*stats.FramesIn {
			t.Errorf("%d bytes arrived, want all of %d payloads", n, stats.FramesIn)
		}
		client.ended(t, Drained)
		p.ended(t, Drained)
		if used := memory.Used(); used != 0 {
			t.Errorf("%d bytes are still charged", used)
		}
	})
}

// A source of datagrams that fails before the first one ends its member.
func TestDatagramsThatFailAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := NewHub(nil).Datagrams(DatagramMember{MemberConfig: MemberConfig{Codec: codec(t, lines{}, 100)}, Datagrams: brokenDatagrams{}})
		if err != nil {
			t.Fatal(err)
		}
		if r := m.Run(t.Context()); r.Reason != IOError {
			t.Errorf("got %+v, want %s", r, IOError)
		}
	})
}

type brokenDatagrams struct{}

func (brokenDatagrams) Receive([]Datagram) (int, error) { return 0, errors.New("broken") }
func (brokenDatagrams) Send([][]byte) (int, error)      { return 0, errors.New("broken") }
func (brokenDatagrams) Close() error                    { return nil }

// oneThenBroken sends one datagram and then fails.
type oneThenBroken struct{ closed chan struct{} }

func (d oneThenBroken) Receive([]Datagram) (int, error) { <-d.closed; return 0, errors.New("closed") }
func (oneThenBroken) Send([][]byte) (int, error)        { return 1, errors.New("broken") }
func (d oneThenBroken) Close() error {
	select {
	case <-d.closed:
	default:
		close(d.closed)
	}
	return nil
}

// Frames that a member had taken from its queue when its sending failed are counted.
func TestDatagramsThatWereTakenAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		m, err := h.Datagrams(DatagramMember{
			MemberConfig: MemberConfig{Codec: codec(t, lines{}, 100), Use: SendOnly}, Datagrams: oneThenBroken{make(chan struct{})},
		})
		if err != nil {
			t.Fatal(err)
		}
		result := make(chan MemberResult, 1)
		go func() { result <- m.Run(t.Context()) }()
		sender := join(t, h, with(codec(t, lines{}, 100)), 1<<10)
		synctest.Wait()
		sender.send([]byte("a\nb\nc\n"))
		r := <-result
		if r.Reason != IOError || r.Stats.DatagramsOut != 1 || r.Stats.DroppedFrames != 2 {
			t.Errorf("got %+v, want %s, one datagram sent and two frames dropped", r, IOError)
		}
		sender.member.end(Fin, nil, Neither)
		sender.ended(t, Fin)
	})
}
