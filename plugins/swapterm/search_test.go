package swapterm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// searcher returns a framing and memory for its searches.
func searcher(o Options) (*framing, *scratch) {
	if o.Pool.name == "" {
		o.Pool.list = []byte(strings.Join(o.Pool.items, ""))
	}
	f := newFraming(&o, 1<<20)
	return f, &scratch{}
}

// exists tries every terminator.
func (f *framing) exists(t []byte, payload []byte) bool {
	if len(t) == f.length {
		return !f.banned(t) && endsFirst(payload, t)
	}
	for _, b := range f.pool {
		if f.exists(append(t[:len(t):len(t)], b), payload) {
			return true
		}
	}
	return false
}

// search finds a valid terminator exactly if there is one.
func TestSearchFindsWhatThereIs(t *testing.T) {
	const seed = 7
	random := rand.New(rand.NewPCG(seed, 0))
	found, none := 0, 0
	for _, pool := range []string{"a", "ab", "abc", "abcdefghijkl"} {
		for length := 1; length <= 5 && len(pool)*length <= 36; length++ {
			for _, o := range []Options{
				{Marker: "ab", Scope: ScopeFrame}, {Marker: "ab", Scope: ScopeStream}, {Marker: "ababab", Scope: ScopeStream},
				{Marker: "c", Scope: ScopeStream, Choose: ChooseRandom},
			} {
				o.Terminator, o.Length, o.Pool = "\n", length, Pool{items: []string{pool}}
				f, s := searcher(o)
				for range 150 {
					payload := make([]byte, random.IntN(1+2*power(len(pool), length, 60)))
					for i := range payload {
						payload[i] = pool[random.IntN(len(pool))]
					}
					got, want := f.search(s, payload), f.exists(nil, payload)
					switch {
					case (got != nil) != want:
						t.Fatalf("payload %q, %d of %q, %+v: got terminator %q, want one: %t", payload, length, pool, o, got, want)
					case got != nil && (len(got) != length || f.banned(got) || !endsFirst(payload, got) || len(bytes.Trim(got, pool)) > 0):
						t.Fatalf("payload %q, %d of %q, %+v: got terminator %q, which is no good", payload, length, pool, o, got)
					case got != nil:
						found++
					default:
						none++
					}
				}
			}
		}
	}
	if found < 1000 || none < 1000 {
		t.Errorf("found %d terminators, and none %d times: want a thousand of each to have been tried", found, none)
	}
}

// A payload with every pair of bytes leaves no terminator of two bytes, but one of three.
func TestSearchInADenseLongPayload(t *testing.T) {
	var all []byte
	for a := range 256 {
		for b := range 256 {
			all = append(all, byte(a), byte(b))
		}
	}
	for length, want := range map[int]bool{1: false, 2: false, 3: true, 64: true} {
		for _, choose := range []Choose{ChooseAbsent, ChooseRandom} {
			f, s := searcher(Options{Marker: "\x1b", Terminator: "\n", Length: length, Choose: choose, Pool: Pool{name: poolAny}})
			got := f.search(s, all)
			if (got != nil) != want || got != nil && !endsFirst(all, got) {
				t.Errorf("length %d, %s: got %q, want one: %t", length, choose, got, want)
			}
		}
	}
}

// The work of narrow is proportional to the positions that it keeps: each time at most a fraction of those before.
func TestSearchIsLinear(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, pool := range []string{"ab", "0123456789abcdef"} {
		payload := make([]byte, 1<<20)
		for i := range payload {
			payload[i] = pool[random.IntN(len(pool))]
		}
		f, s := searcher(Options{Marker: "\x1b", Terminator: "\n", Length: 40, Pool: Pool{items: []string{pool}}})
		if got := f.search(s, payload); !endsFirst(payload, got) {
			t.Fatalf("pool %q: got %q, which is no good", pool, got)
		}
		if most := len(payload)/len(pool) + 1; cap(s.places) > 2*most {
			t.Errorf("pool %q: kept %d places of %d bytes, want about %d", pool, cap(s.places), len(payload), most)
		}
	}
}

func TestEndsFirst(t *testing.T) {
	for _, tt := range []struct {
		payload, terminator string
		want                bool
	}{
		{"", "a", true}, {"b", "a", true}, {"ba", "a", false}, {"xa", "aa", false}, {"ax", "aa", true}, {"", "aa", true},
		{"ab", "aba", false}, {"xb", "aba", true}, {"xab", "abab", false}, {strings.Repeat("a", 70), strings.Repeat("a", 64), false},
		{"b" + strings.Repeat("a", 63), strings.Repeat("a", 64), false}, {strings.Repeat("a", 63) + "b", strings.Repeat("a", 64), true},
	} {
		if got := endsFirst([]byte(tt.payload), []byte(tt.terminator)); got != tt.want {
			t.Errorf("%q ends first in %q: got %t, want %t", tt.terminator, tt.payload+tt.terminator, got, tt.want)
		}
	}
}

// Terminators chosen at random consist of bytes of the pool, and differ each time.
func TestRandomTerminators(t *testing.T) {
	f, s := searcher(Options{Marker: "$EOF:", Terminator: "\n", Length: 40, Choose: ChooseRandom, Pool: Pool{items: []string{"0123456789abcdef"}}})
	seen := map[string]bool{}
	for range 100 {
		got := f.search(s, []byte("REDIS0011"))
		if len(got) != 40 || len(bytes.Trim(got, "0123456789abcdef")) > 0 {
			t.Fatalf("got terminator %q, want 40 hex digits", got)
		}
		seen[string(got)] = true
	}
	if len(seen) != 100 {
		t.Errorf("got %d different terminators, want 100", len(seen))
	}
	digits := map[byte]int{}
	for text := range seen {
		for i := range len(text) {
			digits[text[i]]++
		}
	}
	if len(digits) != 16 {
		t.Errorf("got digits %v, want all 16", fmt.Sprint(digits))
	}
}

func TestPoolMembers(t *testing.T) {
	for _, tt := range []struct {
		pool  Pool
		n     int
		first string
	}{
		{Pool{name: poolAny}, 256, "|!\"#"}, {Pool{name: poolPrintable}, 94, "|!\"#"},
	} {
		got := tt.pool.members()
		if len(got) != tt.n || !strings.HasPrefix(string(got), tt.first) {
			t.Errorf("pool %s: got %d bytes, %q first, want %d, %q first", tt.pool.name, len(got), got[:4], tt.n, tt.first)
		}
	}
}
