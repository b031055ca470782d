// Package codectest is the test suite that every codec must pass, in this process or in another.
//
//	func TestSuite(t *testing.T) {
//		codectest.Run(t, escape.Codec,
//			codectest.Case{Accept: []string{"hi", "a\nb", `\`}},
//			codectest.Case{Options: `{"terminator": "0xC0"}`, Wires: []codectest.Wire{
//				{Wire: "hi\xc0ho", Want: []string{"hi"}, Fault: &codecs.Fault{Offset: 3, At: 5, Err: codecs.ErrTruncated}},
//			}})
//	}
//
// [Run] tests a codec in this process. [RunCalls] tests any other codec, such as one that is called by RPC: it leaves out the checks
// that need the codec in this process (work, memory, schema) and makes some thousand calls for each case.
//
// # What it checks
//
//   - Round trip: decoding undoes encoding, for payloads that are random, empty, or made only of the bytes that frame
//     them. A payload of Case.Accept must be accepted; any other comes back the same or is refused as unrepresentable.
//     An empty payload may be skipped.
//   - Cuts: each prefix of a stream yields the frames that end in it, and no fault. Each single cut, one byte at a time,
//     and random cuts give the same payloads and the same faults, at the same places, for the same reasons, and with
//     the same place to go on.
//   - Ends: the end of the stream inside a frame is ErrTruncated.
//   - Limits: a payload of MaxFrame bytes is accepted and decoded; one byte more is ErrTooLong, whatever the cuts; no frame
//     exceeds its longest wire. A frame that is far too long is reported before all of it has arrived.
//   - Needs: if a decoder declares that it needs a number of bytes, it finds nothing in fewer, and a frame may be that long.
//   - Faults: garbage and damaged streams never cause a panic or a standstill. If decoding goes on where a fault says, it
//     gives the same payloads for all cuts, and also if it goes on within a call.
//   - Calls: each result passes the checks of package codeccall. A call that is repeated elsewhere, later, or with nothing
//     examined has the same result. Little room delays payloads but changes none. The division of payloads into batches
//     does not matter. Arguments are not changed. Calls may be concurrent.
//   - Only in this process: the work on a frame that arrives in many reads is linear, memory is bounded, a call with
//     more payloads than one result holds goes on, the schema is JSON, and an unknown option is refused.
//
// [Stream] helps authors to write further tests.
//
// A call that does not return within [DefaultTimeout] fails its check with the stack trace of the call, and ends the suite,
// because the call still runs. FRAMEHOST_CODECTEST_TIMEOUT=2m sets another time; Case.Timeout sets the time of one case. If a
// codec makes the test process exit, standard error names the check.
//
// Each run has a new random seed. A failing run prints its seed; FRAMEHOST_CODECTEST_SEED repeats the run.
package codectest

import (
	"cmp"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A Case is a codec's options and the known properties of the framing that they make. The zero Case has the default
// options and no known properties.
type Case struct {
	Name     string // of the subtest; empty: the options
	Options  string // a JSON object; empty: the defaults
	MaxFrame int    // bytes; 0: 4096

	Accept []string // payloads that must be accepted
	Refuse []string // payloads that must be refused as unrepresentable
	Frames []Frame  // payloads whose frames are known byte for byte, from the stream's start
	Wires  []Wire   // streams whose decoding is known

	// Sized returns a payload of n bytes, which must be accepted if n does not exceed the limit. It is for framings whose
	// payloads must have a special form. n is at least 1024, or MaxFrame if that is less. If Sized is nil, the suite tries a
	// few payloads and uses one that is accepted.
	Sized func(n int) []byte

	// Datagrams means that a frame ends at the end of its wire: frames don't follow one another in a stream.
	Datagrams bool
	// EndDelivers means that the end of the stream inside a frame may deliver the payload up to there.
	EndDelivers bool
	// Rescans means that an unfinished frame is searched from its start whenever more of it has arrived, as by a framing of
	// codecs.FromFuncs. The suite then leaves out the check that this work is linear, and the check that a frame is
	// reported as too long while it is unfinished: only its longest wire limits such a frame.
	Rescans bool
	// Timeout is how long a call may take; 0: FRAMEHOST_CODECTEST_TIMEOUT, or else DefaultTimeout.
	Timeout time.Duration
}

// A Frame is a payload with its frame.
type Frame struct{ Payload, Wire string }

// A Wire is a stream, from its first byte to its end, and the payloads and faults in it.
type Wire struct {
	Wire string
	Want []string // the payloads, up to the first fault
	// Fault is the first fault; nil: none. The suite compares Err, Offset and At, and Want if it is not empty.
	Fault *codecs.Fault
	// Rest holds the payloads after the first fault, when decoding goes on where each fault says.
	Rest []string
}

// Run runs the suite on codec once for each case; without cases, with the default options.
func Run(t *testing.T, codec codecs.Codec, cases ...Case) {
	t.Helper()
	runLocal(goTest{t}, codec, thorough, cases)
}

// RunCalls runs the suite on a codec that runs elsewhere, once for each case; without cases, with the default options.
// configure makes the codec for a case. The suite may call it several times, also with a limit that is a little greater
// than the case's.
func RunCalls(t *testing.T, configure func(options json.RawMessage, maxFrame int) (codeccall.Codec, error), cases ...Case) {
	t.Helper()
	runCases(goTest{t}, configure, thrifty, cases, func(*suite) {})
}

func runLocal(t tester, codec codecs.Codec, much effort, cases []Case) {
	t.Helper()
	configure := func(options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
		return codeccall.Configure(codec, options, maxFrame)
	}
	t.Run("info", func(t tester) { witnessed(t.Name(), func() { checkInfo(t, codec) }) })
	runCases(t, configure, much, cases, func(s *suite) {
		s.step("memory", (*suite).memory)
		s.step("linear", (*suite).linear)
		s.step("full results", (*suite).fullResults)
	})
}

// runCases runs the checks that are possible for any codec, and then more.
func runCases(t tester, configure configurer, much effort, cases []Case, more func(*suite)) {
	t.Helper()
	var over atomic.Bool
	for _, c := range orDefault(cases) {
		if over.Load() {
			return // an earlier case has reported the reason
		}
		t.Run(c.name(), func(t tester) {
			s := newSuite(t, c, &watch{over: &over}, configure, much)
			s.step("options in force", (*suite).optionsInForce)
			s.step("known", (*suite).known)
			s.step("round trip", (*suite).roundTrip)
			s.step("batches", (*suite).batches)
			s.step("cuts", (*suite).cuts)
			s.step("room", (*suite).littleRoom)
			s.step("calls again", (*suite).callsAgain)
			s.step("limits", (*suite).limits)
			s.step("faults", (*suite).faults)
			s.step("at the same time", (*suite).atTheSameTime)
			more(s)
		})
	}
}

func orDefault(cases []Case) []Case {
	if len(cases) == 0 {
		return []Case{{}}
	}
	return cases
}

func (c *Case) name() string { return cmp.Or(c.Name, c.Options, "defaults") }

// An effort limits the number of calls of a case.
type effort struct {
	payloads int // tried in round trips
	streams  int // that are cut at each place
	cutWire  int // bytes of each of those streams
	damaged  int // streams of garbage, and as many of damaged frames
	long     int // payloads at the limit, and as many beyond, each made of one framing byte
	together int // goroutines that make calls concurrently
}

var (
	thorough = effort{payloads: 1500, streams: 6, cutWire: 400, damaged: 150, long: 6, together: 8}
	thrifty  = effort{payloads: 120, streams: 2, cutWire: 48, damaged: 5, long: 2, together: 4}
)

type configurer func(options json.RawMessage, maxFrame int) (codeccall.Codec, error)

// A suite is one case under way.
type suite struct {
	t         tester
	c         Case
	configure configurer
	effort    effort
	codec     codeccall.Codec
	maxFrame  int
	seed      uint64
	random    *rand.Rand
	ctx       context.Context
	watch     *watch
}

func newSuite(t tester, c Case, w *watch, configure configurer, much effort) *suite {
	t.Helper()
	if w.timeout = c.Timeout; c.Timeout == 0 {
		var err error
		if w.timeout, err = Timeout(); err != nil {
			t.Fatalf("%v", err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("FRAMEHOST_CODECTEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("FRAMEHOST_CODECTEST_SEED: got %q, want a whole number", text)
		}
	}
	t.Logf("FRAMEHOST_CODECTEST_SEED=%d", seed)
	s := &suite{t: t, c: c, configure: w.watched(configure), effort: much, maxFrame: cmp.Or(c.MaxFrame, 4096),
		seed: seed, ctx: context.Background(), watch: w}
	witnessed(t.Name(), func() {
		codec, err := s.configure(json.RawMessage(c.Options), s.maxFrame)
		if err != nil {
			t.Fatalf("configure with options %s: %v", c.Options, err)
		}
		s.codec = codec
	})
	return s
}

// step runs one check as a subtest, with a random source of its own, so that a check does the same when it runs alone. A
// check ends at its first failure, because further failures only follow from the first.
func (s *suite) step(name string, check func(*suite)) {
	if s.watch.over.Load() {
		return // an earlier check has reported the reason
	}
	s.t.Run(name, func(t tester) {
		sub := *s
		sub.t = t
		sub.random = rand.New(rand.NewPCG(s.seed, 0))
		witnessed(t.Name(), func() { check(&sub) })
	})
}
