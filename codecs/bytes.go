package codecs

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/invopop/jsonschema"
)

// BytesFormat is the JSON Schema "format" of a string option that is a bytes value; see [ParseBytes].
const BytesFormat = "framehost-bytes"

// Bytes is a bytes value: an option that is written as the name of a control character, in hex, or as text.
// See [ParseBytes]. Its zero value is no bytes.
type Bytes string

// byteNames maps the names that ParseBytes knows to their bytes.
var byteNames = map[string]string{
	"NUL": "\x00", "SOH": "\x01", "STX": "\x02", "ETX": "\x03", "EOT": "\x04", "ENQ": "\x05", "ACK": "\x06",
	"TAB": "\t", "LF": "\n", "CR": "\r", "CRLF": "\r\n", "DLE": "\x10", "NAK": "\x15", "SYN": "\x16", "ETB": "\x17",
	"ESC": "\x1b", "FS": "\x1c", "GS": "\x1d", "RS": "\x1e", "US": "\x1f",
}

var nameOfBytes = func() map[string]string {
	names := map[string]string{}
	for name, b := range byteNames {
		names[b] = name
	}
	return names
}()

// ParseBytes reads a bytes value: a name (NUL SOH STX ETX EOT ENQ ACK TAB LF CR CRLF DLE NAK SYN ETB ESC FS GS RS US);
// 0x and two hex digits for each byte; or else text, which stands for itself. It refuses text with a character above
// U+007F, because its bytes would depend on an encoding that is not given.
func ParseBytes(text string) (Bytes, error) {
	if b, ok := byteNames[text]; ok {
		return Bytes(b), nil
	}
	if digits, ok := strings.CutPrefix(text, "0x"); ok {
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) == 0 {
			return "", &OptionError{Got: fmt.Sprintf("%q", text), Want: "two hex digits for each byte after 0x"}
		}
		return Bytes(b), nil
	}
	for _, r := range text {
		if r >= utf8.RuneSelf {
			return "", &OptionError{Got: fmt.Sprintf("%q", text),
				Want: fmt.Sprintf("a name, hex, or text up to U+007F; write the bytes in hex, such as 0x%X for UTF-8", text)}
		}
	}
	return Bytes(text), nil
}

// String returns b in the form that ParseBytes reads: by name, as text if all bytes are printable, else in hex.
func (b Bytes) String() string {
	if name, ok := nameOfBytes[string(b)]; ok {
		return name
	}
	for _, c := range []byte(b) {
		if c <= ' ' || c > '~' {
			return "0x" + strings.ToUpper(hex.EncodeToString([]byte(b)))
		}
	}
	if _, ok := byteNames[string(b)]; ok || strings.HasPrefix(string(b), "0x") {
		return "0x" + strings.ToUpper(hex.EncodeToString([]byte(b)))
	}
	return string(b)
}

// MarshalText writes b as String does.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads a bytes value as ParseBytes does.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := ParseBytes(string(text))
	if err != nil {
		return err
	}
	*b = v
	return nil
}

// UnmarshalJSON reads a JSON string as ParseBytes does.
func (b *Bytes) UnmarshalJSON(raw []byte) error {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return &OptionError{Got: string(raw), Want: "a string: a name such as LF, hex such as 0x0A, or text"}
	}
	return b.UnmarshalText([]byte(text))
}

// JSONSchema returns the schema of a string in the format [BytesFormat].
func (Bytes) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Format: BytesFormat}
}

// ByteMap maps single bytes to single bytes. Both are written as bytes values.
type ByteMap map[byte]byte

// MarshalJSON writes m as an object, sorted by byte.
func (m ByteMap) MarshalJSON() ([]byte, error) {
	text := map[string]string{}
	for from, to := range m {
		text[Bytes([]byte{from}).String()] = Bytes([]byte{to}).String()
	}
	return json.Marshal(text)
}

// UnmarshalJSON reads an object of bytes values and replaces *m. It refuses a byte that occurs twice, for example as LF
// and as 0x0A.
func (m *ByteMap) UnmarshalJSON(raw []byte) error {
	var text map[string]string
	if json.Unmarshal(raw, &text) != nil {
		return &OptionError{Got: string(raw), Want: "a mapping of one byte to one byte, such as {LF: n}"}
	}
	out := ByteMap{}
	for _, key := range sortedKeys(text) {
		from, err := oneByte(key, key)
		if err != nil {
			return err
		}
		to, err := oneByte(key, text[key])
		if err != nil {
			return err
		}
		if _, ok := out[from]; ok {
			return &OptionError{Option: key, Got: "a byte that is mapped already", Want: "each byte once"}
		}
		out[from] = to
	}
	*m = out
	return nil
}

// JSONSchema returns the schema of an object whose keys and values are bytes values.
func (ByteMap) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", PropertyNames: Bytes("").JSONSchema(), AdditionalProperties: Bytes("").JSONSchema()}
}

// oneByte reads text, which belongs to the member key of an option, and wants one byte.
func oneByte(key, text string) (byte, error) {
	b, err := ParseBytes(text)
	if e := (*OptionError)(nil); errors.As(err, &e) {
		return 0, &OptionError{Option: key, Got: e.Got, Want: e.Want}
	}
	if len(b) != 1 {
		return 0, &OptionError{Option: key, Got: fmt.Sprintf("%q, %d bytes", text, len(b)), Want: "one byte"}
	}
	return b[0], nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
