package codectest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A recorder replaces *testing.T.
type recorder struct {
	name     string
	failures []string
	parent   *recorder
}

func (r *recorder) Helper()             {}
func (r *recorder) Name() string        { return r.name }
func (r *recorder) Logf(string, ...any) {}
func (r *recorder) failed() bool        { return len(r.failures) > 0 }

func (r *recorder) Errorf(format string, args ...any) {
	text := r.name + ": " + fmt.Sprintf(format, args...)
	for ; r != nil; r = r.parent {
		r.failures = append(r.failures, text)
	}
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Run(name string, f func(tester)) {
	sub := &recorder{name: strings.TrimPrefix(r.name+"/"+name, "/"), parent: r}
	sub.do(func() { f(sub) })
}

// do calls f, which may end with Goexit.
func (r *recorder) do(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// A mutant is the framing lines with one mistake.
type mutant struct {
	lines
	decode func(out *codecs.Payloads, in codecs.Wire) (int, error)
	encode func(out *codecs.Frames, in codecs.Batch) (int, error)
	size   int
}

func (m mutant) MaxWire(maxFrame int) int { return m.lines.MaxWire(maxFrame) + m.size }

func (m mutant) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	if m.decode == nil {
		return m.lines.Decode(out, in)
	}
	return m.decode(out, in)
}

func (m mutant) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	if m.encode == nil {
		return m.lines.Encode(out, in)
	}
	return m.encode(out, in)
}

// decodeFault makes a mutant whose faults are changed.
func decodeFault(change func(f *codecs.Fault, out *codecs.Payloads, in codecs.Wire)) mutant {
	return mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
		n, err := lines{}.Decode(out, in)
		if f := (*codecs.Fault)(nil); errors.As(err, &f) {
			change(f, out, in)
		}
		return n, err
	}}
}

// encodeEach makes a mutant whose frames are written by frame. nil skips the payload.
func encodeEach(frame func(i int, payload []byte) []byte) mutant {
	return mutant{encode: func(out *codecs.Frames, in codecs.Batch) (int, error) {
		for i := range in.Len() {
			f := frame(i, in.At(i))
			if f == nil {
				out.Skip()
				continue
			}
			wire, err := out.Grow(len(f))
			if err != nil {
				return i, err
			}
			if err := out.Commit(append(wire, f...)); err != nil {
				return i, err
			}
		}
		return in.Len(), nil
	}}
}

func refuseAlso(part string) func(out *codecs.Frames, in codecs.Batch) (int, error) {
	return func(out *codecs.Frames, in codecs.Batch) (int, error) {
		for i := range in.Len() {
			if bytes.Contains(in.At(i), []byte(part)) {
				in.Refs = in.Refs[:i]
				n, err := lines{}.Encode(out, in)
				if err != nil {
					return n, err
				}
				return n, &codecs.Fault{Err: codecs.ErrUnrepresentable, Want: "something else"}
			}
		}
		return lines{}.Encode(out, in)
	}
}

func TestBrokenCodecsFail(t *testing.T) {
	var calls atomic.Int64
	stop := make(chan struct{}) // ends the calls that do not return otherwise
	defer close(stop)
	tests := []struct {
		name     string
		framing  codecs.Framing
		says     string // matches one of the failures
		seenHere bool   // only a codec in this process shows it
	}{
		{"loses a terminator that is cut", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			n, err := lines{}.Decode(out, in)
			out.SetExamined(len(in.Bytes))
			return n, err
		}}, `cuts: stream .* cut at \d+:\n got .*\n want .*`, false},
		{"fault depends on the cut", decodeFault(func(f *codecs.Fault, _ *codecs.Payloads, in codecs.Wire) {
			f.At = len(in.Bytes)
		}), `faults: stream .* cut at .*\n got .*\n want .*, as in one piece`, false},
		{"reason depends on the cut", decodeFault(func(f *codecs.Fault, _ *codecs.Payloads, in codecs.Wire) {
			f.Want = fmt.Sprintf("no byte %d", len(in.Bytes))
		}), `faults: stream .* cut at`, false},
		{"goes on after a faulty frame where its end is there, else within", decodeFault(
			func(f *codecs.Fault, out *codecs.Payloads, in codecs.Wire) {
				if i := bytes.Index(in.Bytes[min(f.Resume, len(in.Bytes)):], crlf); i >= 0 {
					f.Resume += i + len(crlf)
					out.SetState(nil)
				}
			}), `faults: stream .* cut at .*\n got .*; resume at \d+.*\n want .*, as in one piece`, false},
		{"declares what it drops of a faulty frame only where that ends", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			n, err := lines{}.Decode(out, in)
			if !bytes.Contains(in.Bytes, crlf) {
				out.Drop(0)
			}
			return n, err
		}}, `faults: stream .* cut at .*\n got .*\n want .* bytes dropped, as in one piece`, false},
		{"searches all of a frame again", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			in.Examined = 0
			return lines{}.Decode(out, in)
		}}, `linear: decode of 16 bytes after \d+ that were examined takes`, true},
		{"drops what is too long in silence", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			n, err := lines{}.Decode(out, in)
			if errors.Is(err, codecs.ErrTooLong) {
				return len(in.Bytes), nil
			}
			return n, err
		}}, `limits: a frame of .*, one of 4097 bytes, .*\n got .*\n want the first, then frame too long`, false},
		{"cuts what is too long", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			n, err := lines{}.Decode(out, in)
			if errors.Is(err, codecs.ErrTooLong) {
				return len(in.Bytes), out.Refer(n, n+in.MaxFrame)
			}
			return n, err
		}}, `limits: a frame of .*, one of 4097 bytes, .*\n got .*\n want the first, then frame too long`, false},
		{"panics on garbage", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			n, err := lines{}.Decode(out, in)
			if errors.Is(err, codecs.ErrMalformed) {
				panic("garbage")
			}
			return n, err
		}}, `faults: stream .*panic: garbage`, false},
		{"writes frames with two meanings", encodeEach(func(_ int, p []byte) []byte {
			return append(bytes.Clone(p), "\r\n"...)
		}), `round trip: payloads \[.*\] were written as`, false},
		{"loses part of a payload", encodeEach(func(_ int, p []byte) []byte {
			p = bytes.ReplaceAll(bytes.ReplaceAll(p, crlf, nil), []byte{0}, nil)
			return append(bytes.ReplaceAll(p, crlf, nil), "\r\n"...)
		}), `round trip: payloads`, false},
		{"writes nothing for what it can't represent", encodeEach(func(_ int, p []byte) []byte {
			if bytes.ContainsAny(p, "\x00\n") {
				return nil
			}
			return append(bytes.Clone(p), "\r\n"...)
		}), `nothing was written for payload \d+, which has \d+ bytes: want a frame or a fault`, false},
		{"refuses what must be accepted", mutant{encode: refuseAlso("hi")}, `known: payload "hi": got .*, want it accepted`, false},
		{"takes what must be refused", encodeEach(func(_ int, p []byte) []byte {
			return append(bytes.Clone(p), "\r\n"...)
		}), `known: payload "a\\r\\nb" was written as`, false},
		{"keeps something between calls", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			if calls.Add(1)%97 == 0 && len(in.Bytes) > 0 && !in.EOF {
				return 0, nil
			}
			return lines{}.Decode(out, in)
		}}, `got .*\n? *want`, false},
		{"changes what it is shown", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			copy(in.Bytes, bytes.ToUpper(in.Bytes))
			return lines{}.Decode(out, in)
		}}, `the wire it was shown was changed to`, false},
		{"writes after what it is shown", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			if cap(in.Bytes) > len(in.Bytes) {
				_ = append(in.Bytes, '!')
			}
			return lines{}.Decode(out, in)
		}}, `memory after the wire it was shown was changed`, false},
		{"changes payloads", mutant{encode: func(out *codecs.Frames, in codecs.Batch) (int, error) {
			for i := range in.Len() {
				copy(in.At(i), bytes.ToUpper(in.At(i)))
			}
			return lines{}.Encode(out, in)
		}}, `the payloads or the state it was given were changed`, false},
		{"swallows an unfinished frame at the end", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			n, err := lines{}.Decode(out, in)
			if errors.Is(err, codecs.ErrTruncated) {
				return len(in.Bytes), nil
			}
			return n, err
		}}, `cuts: stream .* ends after \d+ bytes: got \[\] after .*, want a truncated frame`, false},
		{"calls the end malformed", decodeFault(func(f *codecs.Fault, _ *codecs.Payloads, _ codecs.Wire) {
			if f.Err == codecs.ErrTruncated {
				f.Err = codecs.ErrMalformed
			}
		}), `cuts: stream .* ends after \d+ bytes: got \[fault\(malformed .*want a truncated frame`, false},
		{"calls a prefix malformed", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			n, err := lines{}.Decode(out, in)
			if err == nil && !in.EOF && bytes.HasSuffix(in.Bytes[n:], []byte("\r")) {
				return n, &codecs.Fault{Offset: n, At: len(in.Bytes) - 1, Err: codecs.ErrMalformed, Want: "LF after CR", Resume: codecs.Never}
			}
			return n, err
		}}, `cuts: the first \d+ bytes of stream .*: got .*fault`, false},
		{"consumes part of a frame", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			n, err := lines{}.Decode(out, in)
			if err == nil && n == 0 && len(in.Bytes) > 3 && out.Len() == 0 {
				return 2, nil
			}
			return n, err
		}}, `cuts: stream|examined`, false},
		{"delivers before the frame's end", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			n, err := lines{}.Decode(out, in)
			if err == nil && !in.EOF && len(in.Bytes)-n > 3 {
				return len(in.Bytes), out.Refer(n, len(in.Bytes))
			}
			return n, err
		}}, `cuts: the first \d+ bytes of stream .*: got payloads`, false},
		{"goes on in the wrong place", decodeFault(func(f *codecs.Fault, out *codecs.Payloads, in codecs.Wire) {
			if f.Err == codecs.ErrMalformed {
				f.Resume = len(in.Bytes)
				out.SetState(nil)
			}
		}), `faults: stream .* cut at .*\n got .*\n want .*, as in one piece`, false},
		{"takes the memory that is announced", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			if in.EOF && len(in.Bytes) > 3 && in.Bytes[0] < '0' {
				b := make([]byte, 1<<22)
				announced.Store(&b)
			}
			return lines{}.Decode(out, in)
		}}, `memory: decode of .* took \d+ bytes of memory, want at most`, true},
		{"drops payloads for want of room", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			var all codecs.Payloads
			all.Reset(in, 1<<20)
			n, err := lines{}.Decode(&all, in)
			for i := range all.Len() {
				_ = out.Append(all.At(i))
			}
			out.SetState(all.State())
			return n, err
		}}, `room: stream .* with little room`, false},
		{"asks for room forever", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			if bytes.HasPrefix(in.Bytes, []byte("hi")) {
				return 0, codecs.ErrNoRoom
			}
			return lines{}.Decode(out, in)
		}}, `no progress in room for`, false},
		{"frames depend on the batch", encodeEach(func(i int, p []byte) []byte {
			if i == 0 {
				return append(bytes.Clone(p), "\r\n"...)
			}
			return append([]byte(" "), append(bytes.Clone(p), "\r\n"...)...)
		}), `round trip: payloads`, false},
		{"frames are longer than they say", mutant{size: -1}, `limits: .*frame 0 has 4098 bytes, more than 4097`, false},
		{"returns an error that is no fault", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			n, err := lines{}.Decode(out, in)
			if errors.Is(err, codecs.ErrMalformed) {
				return n, errors.New("confused")
			}
			return n, err
		}}, `faults: stream .*codec failed: confused`, false},
		{"refuses without a reason", mutant{encode: func(out *codecs.Frames, in codecs.Batch) (int, error) {
			n, err := lines{}.Encode(out, in)
			if err != nil && errors.Is(err, codecs.ErrUnrepresentable) {
				return n, &codecs.Fault{Err: codecs.ErrUnrepresentable}
			}
			return n, err
		}}, `which doesn't say what is wanted`, false},
		{"needs a byte more than it does", counted{extra: 1},
			`cuts: stream .*: got \["hi"\] and 4 bytes consumed in \d+ bytes after the answer that it needs \d+, want a need`, false},
		{"needs three bytes more, of frames without a length", mutant{size: 2, decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			n, err := lines{}.Decode(out, in)
			out.SetNeed(min(len(in.Bytes)-n+3, in.MaxFrame+4))
			return n, err
		}}, `cuts: stream .*: got .* bytes consumed in \d+ bytes after the answer that it needs \d+, want a need`, false},
		{"needs more bytes than a frame can have", mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			n, err := lines{}.Decode(out, in)
			out.SetNeed(in.MaxFrame + 4)
			return n, err
		}}, `needs 4100 bytes, but the longest frame has 4098: want a need of at most 4099`, false},
		{"needs all of a frame that is too long", counted{late: true},
			`faults: .*needs \d+ bytes, but the longest frame has \d+: want a need of at most \d+, or a frame too long`, false},
		{"knows that a frame is too long, and waits for it", counted{late: true, wide: true, at: 1},
			`limits: .* after the answer that it needs 4099 bytes, want a fault as soon as it is certain`, false},
		{"reports what is too long when it is whole", counted{late: true, wide: true, at: 4098},
			`limits: the first \d+ bytes of a frame with a payload of \d+ bytes, .*\n got .*\n want frame too long by then`, false},
		{"accepts nothing long", mutant{encode: func(out *codecs.Frames, in codecs.Batch) (int, error) {
			for i := range in.Len() {
				if len(in.At(i)) > 3000 {
					in.Refs = in.Refs[:i]
					n, err := lines{}.Encode(out, in)
					if err == nil {
						err = &codecs.Fault{Err: codecs.ErrUnrepresentable, Want: "at most 3000 bytes"}
					}
					return n, err
				}
			}
			return lines{}.Encode(out, in)
		}}, `limits: got no payload of 4096 bytes, the limit, that is accepted: want Case.Sized, .* or as Case.MaxFrame`, false},
		{"does not return", mutant{encode: func(out *codecs.Frames, in codecs.Batch) (int, error) {
			if in.Len() > 0 && string(in.At(0)) == "hi" {
				<-stop
			}
			return lines{}.Encode(out, in)
		}}, `^defaults/known: encode of \["hi"\].*: the call has not returned after 1s, .*goroutine .*TestBrokenCodecsFail`, false},
		{"ends its goroutine", mutant{encode: func(out *codecs.Frames, in codecs.Batch) (int, error) {
			if in.Len() > 0 && string(in.At(0)) == "hi" {
				runtime.Goexit()
			}
			return lines{}.Encode(out, in)
		}}, `known: encode of \["hi"\].*the call ended its goroutine`, false},
	}
	less := effort{payloads: 300, streams: 3, cutWire: 120, damaged: 50, long: 2, together: 4}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &recorder{}
			r.do(func() {
				cases := []Case{{Accept: []string{"hi"}, Refuse: []string{"a\r\nb"}}}
				if _, ok := tt.framing.(counted); ok {
					cases[0].Refuse = nil
				}
				if tt.name == "does not return" {
					cases[0].Timeout = time.Second
				}
				if tt.seenHere {
					runLocal(r, codecOf(tt.framing), less, cases)
				} else {
					runCases(r, elsewhere(codecOf(tt.framing)), less, cases, func(*suite) {})
				}
			})
			says := regexp.MustCompile(`(?s)` + tt.says)
			if !slices.ContainsFunc(r.failures, says.MatchString) {
				t.Fatalf("got failures:\n%s\nwant one that matches %s", strings.Join(r.failures, "\n"), tt.says)
			}
			if testing.Verbose() {
				t.Logf("%s", strings.Join(r.failures, "\n"))
			}
		})
	}
}

// elsewhere makes a codec of which the suite can only make calls.
func elsewhere(codec codecs.Codec) configurer {
	return func(options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
		return codeccall.Configure(codec, options, maxFrame)
	}
}

// announced keeps the compiler from removing the memory that a codec allocated.
var announced atomic.Pointer[[]byte]

func TestSoundCodecLeavesNoFailure(t *testing.T) {
	r := &recorder{}
	r.do(func() {
		runLocal(r, codecOf(mutant{}), thorough, []Case{{Accept: []string{"hi"}, Refuse: []string{"a\r\nb"}}})
	})
	if r.failed() {
		t.Fatalf("got failures:\n%s", strings.Join(r.failures, "\n"))
	}
}
