package relay

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/framehost/framehost/codecs"
)

// starred begins each payload with a star and ends it with a semicolon. After a fault it discards up to the next semicolon,
// which may not have arrived.
type starred struct{ lines }

func (starred) MaxWire(maxFrame int) int { return maxFrame + 2 }

func (starred) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	pos := 0
	if len(in.State) > 0 {
		i := bytes.IndexByte(in.Bytes, ';')
		if i < 0 {
			out.Drop(len(in.Bytes))
			return len(in.Bytes), nil
		}
		out.Drop(i + 1)
		out.SetState(nil)
		pos = i + 1
	}
	for pos < len(in.Bytes) {
		rest := in.Bytes[pos:]
		end := bytes.IndexByte(rest, ';')
		switch {
		case rest[0] != '*':
			if rest[0] != ';' {
				out.SetState([]byte("discarding"))
			}
			return pos, &codecs.Fault{Offset: pos, At: pos, Err: codecs.ErrMalformed, Want: "a star", Resume: pos + 1}
		case end > in.MaxFrame+1, end < 0 && len(rest) > in.MaxFrame+1:
			at := pos + in.MaxFrame + 1
			out.SetState([]byte("discarding"))
			return pos, &codecs.Fault{Offset: pos, At: at, Err: codecs.ErrTooLong, Want: "a semicolon", Resume: at}
		case end < 0 && in.EOF:
			return pos, &codecs.Fault{Offset: pos, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: "a semicolon", Resume: len(in.Bytes)}
		case end < 0:
			return pos, nil
		}
		if err := out.Refer(pos+1, pos+end); err != nil {
			return pos, err
		}
		pos += end + 1
	}
	return pos, nil
}

// places are the quarantine writers of a test, in the order in which they were opened.
type places []*kept

func (p *places) open(Violation) io.WriteCloser {
	k := &kept{}
	*p = append(*p, k)
	return k
}

func (p *places) texts() (texts []string) {
	for _, k := range *p {
		texts = append(texts, k.String())
	}
	return texts
}

// Each skipped byte is counted and kept: before and after the position where the codec resumes, and however reads cut the wire.
// Bytes that are skipped without a gap go to one writer.
func TestEveryByteSkippedIsKept(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	tests := []struct {
		name, wire string
		kept       []string
		payloads   []string
	}{
		{"a byte before a frame costs the frame", "x*a;*b;", []string{"x*a;"}, []string{"b"}},
		{"too long a payload", "*a;*" + strings.Repeat("y", 25) + ";*b;", []string{"*" + strings.Repeat("y", 25) + ";"}, []string{"a", "b"}},
		{"a long message after a stray byte", "\n*" + long + ";*b;", []string{"\n*" + long + ";"}, []string{"b"}},
		{"the end of the stream in what is discarded", "*a;x*b", []string{"x*b"}, []string{"a"}},
		{"two violations in a row", "x;y;*a;", []string{"x;y;"}, []string{"a"}},
		{"and one after a frame", "x;*a;;*b;", []string{"x;", ";"}, []string{"a", "b"}},
		{"a frame of one byte in front", ";x*a;*b;", []string{";x*a;"}, []string{"b"}},
		{"a truncated tail", "x;*a;*b", []string{"x;", "*b"}, []string{"a"}},
	}
	for _, tt := range tests {
		cuts := []int{0, 1, 2, 3, 4, 5, 6, len(tt.wire) - 1, len(tt.wire)}
		for _, cut := range cuts[:min(len(cuts), len(tt.wire)+1)] {
			cut = min(cut, len(tt.wire))
			t.Run(fmt.Sprintf("%s cut at %d", tt.name, cut), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var places places
					config := Config{
						Downstream: Side{Codec: codec(t, starred{}, 20)}, Upstream: Side{Codec: codec(t, lines{}, 20)},
						OnViolation: Quarantine, Quarantine: places.open,
					}
					s := start(t.Context(), t, config, 1<<20)
					s.down.send([]byte(tt.wire[:cut]))
					synctest.Wait()
					s.down.send([]byte(tt.wire[cut:]))
					s.down.CloseWrite()
					s.up.CloseWrite()
					got, err := s.up.receive()
					result := <-s.result
					if want := strings.Join(tt.payloads, "\n") + "\n"; string(got) != want || err != nil || result.Reason != Fin {
						t.Errorf("got %q, %v, %+v; want %q", got, err, result, want)
					}
					if kept := strings.Join(places.texts(), ""); kept != strings.Join(tt.kept, "") {
						t.Errorf("kept %.100q, want %.100q", kept, strings.Join(tt.kept, ""))
					}
					if got := result.Stats.ToUpstream.BytesSkipped; got != int64(len(strings.Join(tt.kept, ""))) {
						t.Errorf("%d bytes skipped, want %d", got, len(strings.Join(tt.kept, "")))
					}
					if cut == 0 && !slices.Equal(places.texts(), tt.kept) {
						t.Errorf("kept in places %.100q, want %.100q", places.texts(), tt.kept)
					}
					for i, one := range places {
						if one.closed != 1 {
							t.Errorf("place %d was closed %d times, want once", i, one.closed)
						}
					}
				})
			})
		}
	}
}

// The same holds for datagrams, each of which is a stream of its own.
func TestDatagramsSkippedAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		there, here := newLAN(), newLAN()
		device, listener := there.socket(), here.socket()
		config := onLAN(there, codec(t, starred{}, 20))
		var places places
		config.OnViolation, config.Quarantine = Quarantine, places.open
		one, two := joinLAN(t, h, config), joinLAN(t, h, onLAN(here, nil))
		synctest.Wait()
		device.send("*a;xyz;*b;", "*c;xyz")
		synctest.Wait()
		if got, want := listener.heard(), []string{"a", "b", "c"}; !slices.Equal(got, want) {
			t.Errorf("heard %q, want %q", got, want)
		}
		h.End(Drained)
		if got, want := places.texts(), []string{"xyz;", "xyz"}; !slices.Equal(got, want) {
			t.Errorf("kept %q, want %q", got, want)
		}
		if got := one.ended(t, Drained).Stats.BytesSkipped; got != 7 {
			t.Errorf("%d bytes skipped, want 7", got)
		}
		two.ended(t, Drained)
	})
}

// Positions count from the start of the stream, also for payloads that can't be represented. A built payload has the position of its
// frame.
func TestPlacesOfUnrepresentablePayloads(t *testing.T) {
	frame := func(payload string) string { return fmt.Sprintf("\x00\x00\x00%c%s", len(payload), payload) }
	built := func(payload string) string {
		return fmt.Sprintf("\x00\x00\x00%c%s", len(payload), flip(nil, []byte(payload)))
	}
	type place struct {
		offset, at, payloadAt int64
		built                 bool
		bytes                 string
	}
	tests := []struct {
		name, wire string
		built      bool
		want       []place
	}{
		{"found in the wire", frame("hi") + frame("a\nb") + frame("\n"), false, []place{{10, 11, 1, false, "a\nb"}, {17, 17, 0, false, "\n"}}},
		{"built", built("hi") + built("a\nb") + built("ho") + built("\n"), true, []place{{6, 6, 1, true, "a\nb"}, {19, 19, 0, true, "\n"}}},
	}
	for _, tt := range tests {
		for _, cut := range []int{0, 6} {
			synctest.Test(t, func(t *testing.T) {
				var got []place
				config := Config{
					Downstream: Side{Codec: codec(t, counted{built: tt.built}, 20)}, Upstream: Side{Codec: codec(t, lines{}, 20)},
					OnViolation: Skip, WireBytes: 32,
					Violation: func(v Violation) {
						got = append(got, place{v.Offset, v.At, v.PayloadAt, v.Built, string(v.Bytes)})
					},
				}
				s := start(t.Context(), t, config, 1<<20)
				s.down.send([]byte(tt.wire[:cut]))
				synctest.Wait()
				s.down.send([]byte(tt.wire[cut:]))
				s.down.CloseWrite()
				s.up.CloseWrite()
				if _, err := s.up.receive(); err != nil {
					t.Error(err)
				}
				<-s.result
				if !slices.Equal(got, tt.want) {
					t.Errorf("%s, cut at %d: got %+v, want %+v", tt.name, cut, got, tt.want)
				}
			})
		}
	}
}

// For a payload from a datagram, positions count from the first byte of the datagram.
func TestPlacesOfUnrepresentablePayloadsInDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		there := newLAN()
		device := there.socket()
		config := onLAN(there, codec(t, starred{}, 20))
		var got []Violation
		config.OnViolation, config.WireBytes = Skip, 32
		config.Violation = func(v Violation) { got = append(got, v) }
		one, receiver := joinLAN(t, h, config), join(t, h, with(codec(t, lines{}, 20)), 1000)
		synctest.Wait()
		device.send("*a;*b\nc;", "*\n;")
		synctest.Wait()
		h.Drain(Drained)
		if len(got) != 2 {
			t.Fatalf("got %+v, want two violations", got)
		}
		for i, want := range []Violation{{Offset: 4, At: 5, PayloadAt: 1}, {Offset: 1, At: 1}} {
			v := got[i]
			if v.Offset != want.Offset || v.At != want.At || v.PayloadAt != want.PayloadAt || v.Source != device.addr || !v.Payload || v.Built {
				t.Errorf("violation %d: got %+v, want offset %d, at %d, from %v", i, v, want.Offset, want.At, device.addr)
			}
		}
		one.ended(t, Drained)
		receiver.Reset()
		<-receiver.result
	})
}
