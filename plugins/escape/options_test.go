package escape

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/framehost/framehost/codecs"
)

// optionErrors returns the option errors in err, and fails if err contains anything else.
func optionErrors(t *testing.T, err error) []*codecs.OptionError {
	t.Helper()
	switch e := err.(type) { //nolint:errorlint // joined errors are taken apart here, one level at a time
	case nil:
		return nil
	case *codecs.OptionError:
		return []*codecs.OptionError{e}
	case interface{ Unwrap() []error }:
		var list []*codecs.OptionError
		for _, err := range e.Unwrap() {
			list = append(list, optionErrors(t, err)...)
		}
		return list
	default:
		t.Fatalf("got error %v of type %T, want option errors", err, err)
		return nil
	}
}

func TestOptionsAtFault(t *testing.T) {
	tests := []struct {
		name, options string
		want          []string // the faulty options
	}{
		{"empty terminator", `{"terminator":"","style":"none"}`, []string{"terminator"}},
		{"terminator of 65 bytes", fmt.Sprintf(`{"terminator":%q,"style":"none"}`, strings.Repeat("ab", 32)+"c"), []string{"terminator"}},
		{"empty terminator accepted", `{"style":"none","also_accept":[""]}`, []string{"also_accept.0"}},
		{"17 terminators accepted", `{"style":"none","also_accept":["a","b","c","d","e","f","g","h","i","j","k","l","m","n","o","p","q"]}`, []string{"also_accept"}},
		{"start of 65 bytes", fmt.Sprintf(`{"start":%q}`, strings.Repeat("a", 65)), []string{"start"}},
		{"prefix", `{"terminator":"CRLF","style":"none","also_accept":["CR"]}`, []string{"terminator"}},
		{"prefix, the other way round", `{"terminator":"CR","style":"none","also_accept":["CRLF"]}`, []string{"also_accept.0"}},
		{"inside another one", `{"terminator":"abc","style":"none","also_accept":["b"]}`, []string{"terminator"}},
		{"leading terminator", `{"leading_terminator":true}`, []string{"leading_terminator"}},
		{"leading terminator and start", `{"leading_terminator":true,"empty":"skip","start":"STX"}`, []string{"leading_terminator"}},
		{"leading terminator and dots", `{"leading_terminator":true,"empty":"skip","style":"line_dot","terminator":"0x0D0A2E0D0A"}`, []string{"leading_terminator"}},
		{"choices", `{"style":"cobs","unterminated":"yes","empty":"drop"}`, []string{"style", "unterminated", "empty"}},
		{"long escape", `{"escape":"CRLF"}`, []string{"escape"}},
		{"empty escape", `{"escape":"","map":{"LF":"n","\\":"\\"}}`, []string{"escape"}},
		{"escape in the terminator", `{"terminator":"\\","style":"xor"}`, []string{"escape"}},
		{"no default map", `{"terminator":"CR"}`, []string{"map"}},
		{"no default map for two", `{"also_accept":["CRLF"]}`, []string{"map"}},
		{"no default map with escape n", `{"escape":"n"}`, []string{"map"}},
		{"map without escape", `{"map":{"LF":"n"}}`, []string{"map"}},
		{"empty map", `{"map":{}}`, []string{"map"}},
		{"map without CR", `{"also_accept":["CRLF"],"map":{"LF":"n","\\":"\\"}}`, []string{"map"}},
		{"map not one to one", `{"map":{"LF":"n","\\":"\\","CR":"n"}}`, []string{"map.CR"}},
		{"map of two bytes", `{"map":{"CRLF":"n"}}`, []string{"map.CRLF"}},
		{"long xor", `{"style":"xor","xor":"0x2020"}`, []string{"xor"}},
		{"what only xor has", `{"xor":"0x20","also":["00-1F"],"abort":true}`, []string{"xor", "also", "abort"}},
		{"what none does not have", `{"style":"none","escape":"\\","map":{"LF":"n","\\":"\\"},"xor":"0x20","also":[],"abort":true}`,
			[]string{"escape", "map", "xor", "also", "abort"}},
		{"what xor does not have", `{"style":"xor","map":{"LF":"n","\\":"\\"}}`, []string{"map"}},
		{"an escaped byte that looks like an abort", `{"terminator":"0x7E","escape":"0x7D","style":"xor","also":["^"],"abort":true}`, []string{"abort"}},
		{"xor of nothing with abort", `{"style":"xor","xor":"0x00","abort":true}`, []string{"abort"}},
		{"double with the default terminator", `{"style":"double"}`, []string{"terminator"}},
		{"double with a terminator that is the escape", `{"style":"double","terminator":"\\"}`, []string{"terminator"}},
		{"double with a doubled terminator", `{"style":"double","terminator":"\\\\a"}`, []string{"terminator"}},
		{"double with another one", `{"style":"double","terminator":"\\a","also_accept":["b"]}`, []string{"also_accept"}},
		{"dots with another terminator", `{"style":"line_dot"}`, []string{"terminator"}},
		{"dots with two terminators", `{"style":"line_dot","terminator":"0x0D0A2E0D0A","also_accept":["FF"]}`, []string{"also_accept"}},
		{"dots with an escape", `{"style":"line_dot","terminator":"0x0D0A2E0D0A","escape":"."}`, []string{"escape"}},
		{"ignored terminator", `{"ignore":["00-1F"]}`, []string{"ignore"}},
		{"ignored escape", `{"ignore":["\\"]}`, []string{"ignore"}},
		{"ignored start", `{"start":"STX","ignore":["STX"]}`, []string{"ignore"}},
		{"ranges", `{"ignore":["1F-00"],"also":["ab"],"style":"xor"}`, []string{"also", "ignore"}},
		{"a number", `{"ignore":[7]}`, []string{"ignore"}},
		{"not a list", `{"ignore":"00-1F"}`, []string{"ignore"}},
		{"unknown", `{"terminators":"LF"}`, []string{"terminators"}},
		{"several", `{"terminator":"","style":"none","escape":"ab","start":"LF","ignore":["LF"],"empty":"no"}`,
			[]string{"terminator", "escape", "ignore", "empty"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := Codec.Configure(json.RawMessage(tt.options), 1024)
			var got []string
			for _, e := range optionErrors(t, err) {
				got = append(got, e.Option)
				if e.Want == "" {
					t.Errorf("%v: does not say what is wanted", e)
				}
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("options %s:\n got at fault %q (%v)\n want         %q", tt.options, got, err, tt.want)
			}
		})
	}
}

func TestOptionErrorText(t *testing.T) {
	_, _, err := Codec.Configure(json.RawMessage(`{"terminator":"CRLF","also_accept":["CR"],"xor":"0x20"}`), 1024)
	want := `option terminator: got CRLF, want a terminator in which also_accept.0, CR, does not end before it does
option map: want it given: the default is for the terminator LF alone
option xor: got an option that style map does not have, want it left out`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestOptionsInForce(t *testing.T) {
	tests := []struct{ options, want string }{
		{``, `{"terminator":"LF","start":"","leading_terminator":false,"style":"map","escape":"\\","map":{"LF":"n","\\":"\\"},"abort":false,"unterminated":"violation","empty":"deliver"}`},
		{`{"style":"none","also_accept":["CRLF","LF"]}`, `{"terminator":"LF","also_accept":["CRLF","LF"],"start":"","leading_terminator":false,"style":"none","abort":false,"unterminated":"violation","empty":"deliver"}`},
		{ppp, `{"terminator":"~","start":"","leading_terminator":true,"style":"xor","escape":"}","xor":"0x20","also":["00-1F"],"ignore":["00-1F"],"abort":true,"unterminated":"violation","empty":"skip"}`},
		{`{"style":"xor","also":["0x7F","DLE","80-80"]}`, `{"terminator":"LF","start":"","leading_terminator":false,"style":"xor","escape":"\\","xor":"0x20","also":["0x7F","DLE","0x80"],"abort":false,"unterminated":"violation","empty":"deliver"}`},
	}
	for _, tt := range tests {
		_, got, err := Codec.Configure(json.RawMessage(tt.options), 1024)
		if err != nil || string(got) != tt.want {
			t.Errorf("options %s:\n got  %s, %v\n want %s", tt.options, got, err, tt.want)
		}
	}
}

func TestMaxWire(t *testing.T) {
	tests := []struct {
		name, options  string
		maxFrame, want int
	}{
		{"newline", newline, 100, 101},
		{"a longer terminator is accepted", ndjson, 100, 102},
		{"start", mllp, 100, 103},
		{"every byte escaped", ``, 100, 201},
		{"leading terminator", slip, 100, 202},
		{"abort", ppp, 100, 203},
		{"double", dleSTX, 100, 204},
		{"a dot for three bytes", smtpData, 8, 13},
		{"what a contract can say", ``, codecs.MaxFrame, codecs.MaxWire},
	}
	for _, tt := range tests {
		f, _, err := Codec.Configure(json.RawMessage(tt.options), tt.maxFrame)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := codecs.MaxWireOf(f, tt.maxFrame); got != tt.want {
			t.Errorf("%s: the longest wire of %d bytes: got %d bytes, want %d", tt.name, tt.maxFrame, got, tt.want)
		}
		if codecs.UsesState(f) {
			t.Errorf("%s: uses state, want frames that stand for themselves", tt.name)
		}
	}
}

func TestSchema(t *testing.T) {
	var schema struct {
		Properties map[string]struct {
			Type, Description string
			Enum              []string
		}
	}
	if err := json.Unmarshal(Codec.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	types := map[string]string{
		"terminator": "string", "also_accept": "array", "start": "string", "leading_terminator": "boolean", "style": "string",
		"escape": "string", "map": "object", "xor": "string", "also": "array", "ignore": "array", "abort": "boolean",
		"unterminated": "string", "empty": "string",
	}
	if len(schema.Properties) != len(types) {
		t.Errorf("got %d options, want %d", len(schema.Properties), len(types))
	}
	for name, want := range types {
		got := schema.Properties[name]
		if got.Type != want || got.Description == "" {
			t.Errorf("option %s: got type %q and description %q, want type %q and a description", name, got.Type, got.Description, want)
		}
	}
	if n := len(schema.Properties["style"].Enum); n != 5 {
		t.Errorf("got %d styles, want 5", n)
	}
}

func TestPayloadOverTheLimitIsNotWritten(t *testing.T) {
	f, _, err := Codec.Configure(nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	var out codecs.Frames
	in := codecs.Batch{Wire: []byte("abcd"), Refs: []codecs.Ref{{Off: 0, Len: 3}, {Off: 0, Len: 4}}}
	out.Reset(&in, 100)
	n, err := f.Encode(&out, in)
	if n != 1 || !errors.Is(err, codecs.ErrTooLong) || string(out.Wire()) != "abc\n" {
		t.Errorf("got %d taken, wire %q, %v; want the first only, and %v", n, out.Wire(), err, codecs.ErrTooLong)
	}
}

func TestPlaceOfRefusal(t *testing.T) {
	tests := []struct {
		name, options, payload string
		at                     int
	}{
		{"terminator inside", newline, "ab\ncd\n", 2},
		{"last byte of a longer one", mllp, "ab\x1c\rcd", 3},
		{"half of a longer one", ndjson, "ab\r", 2},
		{"start inside", `{"style":"none","start":"<<","terminator":">>"}`, "ab<<", 3},
		{"ignored byte", `{"ignore":["NUL"]}`, "ab\n\x00", 3},
		{"line without end", smtpData, "a\r\nb", 3},
		{"bare CR", smtpData, "a\rb\r\n", 1},
		{"bare LF", smtpData, "a\r\nb\n\r\n", 4},
		{"empty", `{"empty":"refuse"}`, "", 0},
	}
	for _, tt := range tests {
		f, _, err := Codec.Configure(json.RawMessage(tt.options), 1024)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var out codecs.Frames
		in := codecs.Batch{Wire: []byte(tt.payload), Refs: []codecs.Ref{{Len: uint32(len(tt.payload))}}}
		out.Reset(&in, 100)
		_, err = f.Encode(&out, in)
		var fault *codecs.Fault
		if !errors.As(err, &fault) || fault.At != tt.at || !errors.Is(err, codecs.ErrUnrepresentable) {
			t.Errorf("%s: payload %q: got %v, want it refused at byte %d", tt.name, tt.payload, err, tt.at)
		}
	}
}
