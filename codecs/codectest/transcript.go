package codectest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/framehost/framehost/codecs"
)

// A transcript is the result of decoding a stream: payloads and faults in order. It does not depend on the cuts.
type transcript struct {
	events  []event
	skipped int // empty frames
	dropped int // bytes of faulty frames after their faults' Resume
}

// An event is a payload, or a fault whose positions count from the start of the stream.
type event struct {
	payload string
	fault   *codecs.Fault // nil: a payload
}

func (e event) String() string {
	if e.fault != nil {
		return describe(e.fault)
	}
	return quote(e.payload)
}

func (t *transcript) clone() transcript {
	return transcript{slices.Clone(t.events), t.skipped, t.dropped}
}

func (t *transcript) payload(b []byte) { t.events = append(t.events, event{payload: string(b)}) }

// fault records f of a call that was shown the stream from offset begin on.
func (t *transcript) fault(f *codecs.Fault, begin int) {
	at := *f
	at.Offset, at.At = f.Offset+begin, f.At+begin
	if f.Resume != codecs.Never {
		at.Resume = f.Resume + begin
	}
	t.events = append(t.events, event{fault: &at})
}

// split returns the payloads before the first fault, that fault, and the payloads after it.
func (t *transcript) split() (before []string, first *codecs.Fault, behind []string) {
	for _, e := range t.events {
		switch {
		case e.fault != nil && first == nil:
			first = e.fault
		case e.fault != nil:
		case first == nil:
			before = append(before, e.payload)
		default:
			behind = append(behind, e.payload)
		}
	}
	return before, first, behind
}

func describe(f *codecs.Fault) string {
	resume := "never"
	if f.Resume != codecs.Never {
		resume = fmt.Sprint("at ", f.Resume)
	}
	announced := ""
	if f.Announced > 0 {
		announced = fmt.Sprintf(", which announces %d bytes", f.Announced)
	}
	return fmt.Sprintf("fault(%v at %d of the frame at %d%s: want %s; resume %s)", f.Err, f.At, f.Offset, announced, f.Want, resume)
}

func (t *transcript) equal(u *transcript) bool {
	same := func(a, b event) bool {
		if a.fault == nil || b.fault == nil {
			return a == b
		}
		return describe(a.fault) == describe(b.fault)
	}
	return t.skipped == u.skipped && t.dropped == u.dropped && slices.EqualFunc(t.events, u.events, same)
}

func (t *transcript) String() string {
	text := list(t.events, event.String)
	if t.skipped > 0 {
		text += fmt.Sprintf(" and %d skipped", t.skipped)
	}
	if t.dropped > 0 {
		text += fmt.Sprintf(" and %d bytes dropped", t.dropped)
	}
	return text
}

// quote returns b in quotes, with the middle left out if b is long.
func quote[T string | []byte](b T) string {
	const most = 240
	if len(b) <= most {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%q...(%d bytes in all)...%q", b[:most/2], len(b), b[len(b)-most/4:])
}

func quoteAll(texts []string) string { return list(texts, quote[string]) }

// list prints items, with the middle left out if there are many.
func list[T any](items []T, text func(T) string) string {
	const most = 24
	var texts []string
	for i, item := range items {
		switch {
		case len(items) <= most || i < most/2 || i >= len(items)-most/2:
			texts = append(texts, text(item))
		case i == most/2:
			texts = append(texts, fmt.Sprintf("...(%d more)...", len(items)-most))
		}
	}
	return "[" + strings.Join(texts, " ") + "]"
}
