package codectest

import (
	"encoding/json"
	"errors"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// checkInfo checks a codec's Info and schema, and that the codec refuses an option it does not have.
func checkInfo(t tester, codec codecs.Codec) {
	t.Helper()
	info := codec.Info()
	if info.Name == "" || info.Version == "" || info.Description == "" {
		t.Errorf("info: got %+v, want a name, a version and a description", info)
	}
	var schema struct {
		Type       string
		Properties map[string]struct{ Description string }
	}
	if err := json.Unmarshal(codec.Schema(), &schema); err != nil || schema.Type != "object" {
		t.Errorf("schema: got %s (%v), want the JSON Schema of an object", codec.Schema(), err)
	}
	for name, p := range schema.Properties {
		if p.Description == "" {
			t.Errorf("schema: option %s has no description", name)
		}
	}
	_, _, err := codec.Configure(json.RawMessage(`{"no such option": 1}`), 100)
	if e := (*codecs.OptionError)(nil); !errors.As(err, &e) {
		t.Errorf("an option that doesn't exist: got %v, want an OptionError", err)
	}
}

// memory checks that garbage does not make a decoder allocate memory out of proportion to its limits, for example for a
// length that was only announced.
func (s *suite) memory() {
	alphabet := s.framing()
	p := s.codec.Properties()
	for range s.effort.damaged {
		wire := []byte(s.payload(alphabet, 1+s.random.IntN(48)))
		limit := uint64(1<<20 + 8*(len(wire)+p.MaxFrame) + 2*p.MaxWire)
		took := uint64(math.MaxUint64)
		for try := 0; try < 3 && took > limit; try++ { // other goroutines allocate as well
			took = allocated(func() { s.decode(wire, inOnePiece) })
		}
		if took > limit {
			s.t.Fatalf("decode of %s took %d bytes of memory, want at most %d for payloads of %d bytes",
				quote(wire), took, limit, p.MaxFrame)
		}
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// linear checks that the work on an unfinished frame is proportional to the bytes that have arrived since the last call,
// not to the bytes before them. It compares times: of a call that is shown a few new bytes after very many bytes that an
// earlier call examined, and of one that is shown them after few. On each side it takes the shortest time of many tries,
// because disturbances only make times longer. Searching the examined bytes again takes several hundred times as long; an
// eighth of that is enough to fail.
func (s *suite) linear() {
	if s.c.Rescans {
		return
	}
	const short, arrives, factor = 2 << 10, 16, 8
	for _, long := range []int{1 << 20, 256 << 10} {
		small, okSmall := s.unfinished(short, arrives)
		great, okGreat := s.unfinished(long, arrives)
		if !okSmall || !okGreat {
			continue // the framing has a lower limit, or declares a need from a length, so that no call is made
		}
		var few, many time.Duration
		for range 4 {
			few, many = small(), great()
			if many <= factor*few {
				return
			}
		}
		s.t.Fatalf("decode of %d bytes after %d that were examined takes %v, %.0f times as long as after %d: "+
			"want the search to go on where it stopped (see Payloads.SetExamined and SetNeed)",
			arrives, long, many, float64(many)/float64(few), short)
	}
}

// unfinished returns a function that measures a call in the middle of a frame whose payload has about n bytes. The call is
// shown the frame without its last eighth; earlier calls were shown all of that except the last bytes, arrives of them.
func (s *suite) unfinished(n, arrives int) (measure func() time.Duration, ok bool) {
	s.t.Helper()
	codec, err := s.configure(json.RawMessage(s.c.Options), n)
	if err != nil {
		return nil, false
	}
	larger := *s
	larger.codec, larger.maxFrame = codec, n
	payload, ok := larger.sized(n)
	if !ok {
		return nil, false
	}
	wire := larger.encode([]string{payload}, nil).wire
	if len(wire) < 4*arrives {
		return nil, false
	}
	// Shown in a few steps, the last of which ends inside the payload.
	end := len(wire) - 1 - len(wire)/8
	r, done := larger.reader()
	if err := r.feed(wire[:1+end/2], false); err != nil {
		s.t.Fatalf("%v", err)
	}
	if err := r.feed(wire[1+end/2:end-arrives], false); err != nil {
		s.t.Fatalf("%v", err)
	}
	if r.decoder.Need() > len(r.wire)+arrives {
		done()
		return nil, false
	}
	in := codeccall.Decode{
		Wire: slices.Concat(r.wire, wire[end-arrives:end]), Examined: r.decoder.Examined(), State: r.decoder.State(), Room: 2 * n,
	}
	var out codeccall.Decoded
	if err := r.direction.Decode(s.ctx, &in, &out); err != nil {
		s.t.Fatalf("%v", err)
	}
	direction := unwatched(r.direction)
	return func() time.Duration {
		least := time.Duration(math.MaxInt64)
		for range 40 {
			begin := time.Now()
			for range 4 {
				if err := direction.Decode(s.ctx, &in, &out); err != nil {
					s.t.Fatalf("%v", err)
				}
			}
			least = min(least, time.Since(begin))
		}
		return max(least/4, time.Microsecond/2) // some systems have no finer clock
	}, true
}

// fullResults checks that a decoder and an encoder go on in another call when a result holds no more payloads.
func (s *suite) fullResults() {
	var small string
	found := false
	for _, p := range append([]string{"a", "", "ab"}, s.c.Accept...) {
		if found = s.takes(p); found {
			small = p
			break
		}
	}
	if !found || s.c.Datagrams {
		return
	}
	few := slices.Repeat([]string{small}, 600)
	if len(s.encode(few, nil).payloads()) != len(few) {
		return // refused in some places of a stream, where each refusal needs a call of its own
	}
	const n = codecs.MaxPayloads + 1000
	payloads := slices.Repeat([]string{small}, n)
	e := s.encode(payloads, func(w *writer) { w.room = 1 << 24 }, codecs.MaxPayloads)
	got := s.decode(e.wire, arrival{eofToo: true, adjust: func(r *reader) { r.room = 1 << 24 }})
	back, fault, _ := got.split()
	if fault != nil || !slices.Equal(back, payloads) {
		s.t.Fatalf("%d frames of %s shown at once: got %d payloads, %v", n, quote(small), len(back), got)
	}
}
