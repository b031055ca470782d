package discovery

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// example returns the packet of PACKET.md.
func example(t testing.TB) []byte {
	t.Helper()
	page, err := os.ReadFile("PACKET.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "## An example")
	_, block, _ = strings.Cut(block, "```\n")
	block, _, _ = strings.Cut(block, "```")
	line := regexp.MustCompile(`(?m)^((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  .*)?$`)
	var packet []byte
	for _, match := range line.FindAllStringSubmatch(block, -1) {
		b, err := hex.DecodeString(strings.ReplaceAll(match[1], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		packet = append(packet, b...)
	}
	return packet
}

func TestExample(t *testing.T) {
	packet := example(t)
	m, err := parse(packet)
	if err != nil {
		t.Fatal(err)
	}
	key, err := newKey([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	if err := key.check(packet, &m); err != nil {
		t.Error(err)
	}
	want := Service{Name: "scales", Network: NetworkTCP, Port: 7001, Codec: "mainframe", Labels: map[string]string{"hall": "3"}}
	if got := m.describe(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	from := Origin{Address: netip.MustParseAddrPort("10.1.0.6:7331")}
	if got := m.reachable(from); len(got) != 1 || got[0].String() != "10.1.0.5:7001" {
		t.Errorf("got %v, want 10.1.0.5:7001", got)
	}
	if m.sequence != 2 || m.lives() != 30*time.Second || string(m.nonces) != "\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7" {
		t.Errorf("got sequence %d, %v, nonces % x", m.sequence, m.lives(), m.nonces)
	}
	if again := write(&m, key); string(again) != string(packet) {
		t.Errorf("got % x\nwant % x", again, packet)
	}
}

// write encodes m as a packet.
func write(m *message, key *key) []byte {
	b := appendHeader(nil, m.kind, m.id, m.sequence, m.sent)
	switch m.kind {
	case announce:
		var nonces []nonce
		for i := 0; i < len(m.nonces); i += nonceSize {
			nonces = append(nonces, nonce(m.nonces[i:i+nonceSize]))
		}
		var addresses []netip.Addr
		for a := m.addresses; len(a) > 0; {
			var address []byte
			address, a = cutField(a)
			parsed, _ := netip.AddrFromSlice(address)
			addresses = append(addresses, parsed)
		}
		s := m.describe()
		b = appendRecord(appendNonces(b, nonces), &s, m.ttl, addresses)
	case query:
		b = appendQuery(b, nonce(m.nonces), string(m.service))
	}
	return finish(b, key)
}

func TestParseRefuses(t *testing.T) {
	valid := func() []byte {
		b := appendNonces(appendHeader(nil, announce, ID{1}, 1, 1), []nonce{{1}})
		s := &Service{Name: "scales", Network: NetworkTCP, Port: 7001, Codec: "c", Labels: map[string]string{"a": "b", "c": "d"}}
		return finish(appendRecord(b, s, 1000, []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, 1})}), nil)
	}
	// The offsets of the fields in valid.
	const (
		nonces  = headerSize
		ttl     = nonces + 1 + nonceSize
		port    = ttl + 4
		network = port + 2
		name    = network + 1
		codec   = name + 1 + 6
		address = codec + 1 + 1
		labels  = address + 1 + 5
	)
	set := func(at int, bytes ...byte) func([]byte) []byte {
		return func(p []byte) []byte { copy(p[at:], bytes); return p }
	}
	tests := []struct {
		name   string
		change func([]byte) []byte
		err    error
		want   string // part of the message
	}{
		{"as it is", set(0), nil, ""},
		{"nothing", func([]byte) []byte { return nil }, ErrMalformed, "byte 0"},
		{"magic alone", func(p []byte) []byte { return p[:3] }, ErrMalformed, "byte 0"},
		{"another magic", set(2, 'E'), ErrMalformed, "byte 0"},
		{"another version", set(3, 2), ErrVersion, ""},
		{"another version, of one byte", func(p []byte) []byte { p[3] = 0; return p[:4] }, ErrVersion, ""},
		{"less than a header", func(p []byte) []byte { return p[:headerSize-1] }, ErrMalformed, "got 39 bytes"},
		{"longer than a packet", func(p []byte) []byte { return append(p, make([]byte, MaxPacket)...) }, ErrMalformed, "want 40 to 1200"},
		{"a length that is not its own", set(7, 1), ErrMalformed, "1 announced"},
		{"kind 0", set(4, 0), ErrMalformed, "byte 4"},
		{"kind 4", set(4, 4), ErrMalformed, "byte 4"},
		{"an unknown flag", set(5, 2), ErrMalformed, "byte 5"},
		{"a goodbye that goes on", set(4, byte(goodbye)), ErrMalformed, "byte 40: want no more"},
		{"sequence 0", set(24, 0, 0, 0, 0, 0, 0, 0, 0), ErrMalformed, "byte 24"},
		{"sent in the year 10889", set(32, 0, 1), ErrMalformed, "byte 32"},
		{"nine nonces", set(nonces, 9), ErrMalformed, "byte 40"},
		{"more nonces than bytes", set(nonces, 8), ErrMalformed, "byte 41"},
		{"no time to live", set(ttl, 0, 0, 0, 0), ErrMalformed, "byte 49"},
		{"a time to live above an hour", set(ttl, 0, 0x36, 0xee, 0x81), ErrMalformed, "byte 49"},
		{"an hour", set(ttl, 0, 0x36, 0xee, 0x80), nil, ""},
		{"no port", set(port, 0, 0), ErrMalformed, "byte 53"},
		{"no network", set(network, 0), ErrMalformed, "byte 55"},
		{"an unknown network", set(network, 4), ErrMalformed, "byte 55"},
		{"no name", set(name, 0), ErrMalformed, "byte 56"},
		{"a long name", set(name, 64), ErrMalformed, "byte 56"},
		{"a name longer than the packet", set(name, 63), ErrMalformed, "byte 57"},
		{"a name with a blank", set(name+3, ' '), ErrMalformed, "byte 57"},
		{"a name that begins with a dot", set(name+1, '.'), ErrMalformed, "byte 57"},
		{"a codec that is not UTF-8", set(codec+1, 0x80), ErrMalformed, "byte 64"},
		{"a codec with a control character", set(codec+1, 0x1b), ErrMalformed, "byte 64"},
		{"nine addresses", set(address, 9), ErrMalformed, "byte 65"},
		{"an address of 5 bytes", set(address+1, 5), ErrMalformed, "byte 66"},
		{"an address of 3 bytes", set(address+1, 3), ErrMalformed, "byte 66"},
		{"no address", set(address+2, 0, 0, 0, 0), ErrMalformed, "byte 67"},
		{"a multicast address", set(address+2, 224), ErrMalformed, "byte 67"},
		{"the limited broadcast address", set(address+2, 255, 255, 255, 255), ErrMalformed, "byte 67"},
		{"seventeen labels", set(labels, 17), ErrMalformed, "byte 71"},
		{"fewer labels than there are", set(labels, 1), ErrMalformed, "want no more bytes"},
		{"more labels than there are", set(labels, 3), ErrMalformed, "1 bytes of a label's key"},
		{"a label without a key", set(labels+1, 0), ErrMalformed, "byte 72"},
		{"a key twice", set(labels+6, 'a'), ErrMalformed, "want keys that rise"},
		{"keys that fall", set(labels+2, 'x'), ErrMalformed, "want keys that rise"},
		{"a byte after the end", func(p []byte) []byte { p[7]++; return append(p, 0) }, ErrMalformed, "want no more bytes"},
		{"signed, without room for it", func(p []byte) []byte { p = p[:headerSize+8]; p[5], p[7] = 1, byte(len(p)); return p }, ErrMalformed, "signature"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse(test.change(valid()))
			if !errors.Is(err, test.err) || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %v with %q", err, test.err, test.want)
			}
		})
	}
}

// Every proper prefix of a packet is refused, even with a length field that matches.
func TestParsePrefixes(t *testing.T) {
	whole := example(t)
	for n := range whole {
		prefix := append([]byte(nil), whole[:n]...)
		if n >= headerSize {
			prefix[6], prefix[7] = 0, byte(n)
		}
		if _, err := parse(prefix); err == nil {
			t.Errorf("got %d of %d bytes accepted", n, len(whole))
		}
	}
}

func TestText(t *testing.T) {
	tests := []struct {
		text string
		want bool
	}{
		{"", true}, {"a b~", true}, {"Ä€😀", true}, {"\ufeff\uffff\U0010ffff", true}, {"\ufffd", true},
		{"\x00", false}, {"\x1f", false}, {"\x7f", false}, {"\u0080", false}, {"\u009f", false}, {"\u00a0", true},
		{"\u2028", false}, {"a\u202eb", false}, {"\u2066", false}, {"\u061c", false},
		{"\xc3", false}, {"\xed\xa0\x80", false}, {"\xc0\x80", false}, {"\xf4\x90\x80\x80", false},
	}
	for _, test := range tests {
		if got := validText(test.text); got != test.want {
			t.Errorf("%q: got %v, want %v", test.text, got, test.want)
		}
	}
}

// Each packet that parse accepts has one encoding only, and is within MaxPacket.
func FuzzParse(f *testing.F) {
	f.Add(example(f))
	f.Add(announcement(ID{1}, 1, time.UnixMilli(1), nil, "scales"))
	f.Add(finish(appendHeader(nil, goodbye, ID{1}, 1, 1), nil))
	f.Add(finish(appendQuery(appendHeader(nil, query, ID{1}, 1, 1), nonce{1}, "scales"), nil))
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, err := parse(packet)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && err != ErrVersion {
				t.Errorf("got %v, want a reason", err)
			}
			return
		}
		if len(packet) > MaxPacket {
			t.Errorf("got %d bytes accepted, want at most %d", len(packet), MaxPacket)
		}
		unsigned := packet
		if m.signature != nil {
			unsigned = append([]byte(nil), packet[:len(packet)-signatureSize]...)
			unsigned[5] = 0
			unsigned[6], unsigned[7] = byte(len(unsigned)>>8), byte(len(unsigned))
		}
		if again := write(&m, nil); string(again) != string(unsigned) {
			t.Errorf("got % x\nwant % x", again, unsigned)
		}
		if m.kind == announce {
			s := m.describe()
			if err := s.Check(); err != nil {
				t.Errorf("got a service that could not be announced: %v", err)
			}
			m.reachable(Origin{Address: netip.MustParseAddrPort("10.0.0.1:1"), Interface: "lan0"})
		}
	})
}

func BenchmarkParse(b *testing.B) {
	packet := example(b)
	key, err := newKey(testKey(1))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(packet)))
		for b.Loop() {
			if _, err := parse(packet); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("refuse", func(b *testing.B) {
		garbage := append([]byte(nil), packet...)
		garbage[len(garbage)-signatureSize-1] = 0x1b
		b.ReportAllocs()
		for b.Loop() {
			if _, err := parse(garbage); err == nil {
				b.Fatal("accepted")
			}
		}
	})
	b.Run("check the signature", func(b *testing.B) {
		m, err := parse(packet)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if err := key.check(packet, &m); err != ErrForged {
				b.Fatal(err)
			}
		}
	})
}
