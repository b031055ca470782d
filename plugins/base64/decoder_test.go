package base64

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"testing"
)

// references are the decoders outside the standard library, each with the standard library's, which defines what is right.
func references() map[string][2]decoder {
	encoding := base64.RawStdEncoding
	return map[string][2]decoder{
		"std":         {newDecoder(std, false), encoding},
		"std, strict": {newDecoder(std, true), encoding.Strict()},
	}
}

// alike fails unless both decode or refuse digits alike, and write nothing after the result.
func alike(t *testing.T, name string, both [2]decoder, digits []byte) {
	t.Helper()
	size := decodedLen(len(digits))
	var got [2]struct {
		dst []byte
		ok  bool
	}
	for i, d := range both {
		memory := bytes.Repeat([]byte("z"), size+64)
		n, err := d.Decode(memory[:size], digits)
		got[i].dst, got[i].ok = memory[:size], err == nil && n == size
		if after := bytes.Trim(memory[size:], "z"); len(after) > 0 {
			t.Fatalf("%s: decoding %q writes %x beyond the %d bytes that it makes", name, digits, after, size)
		}
	}
	if got[0].ok != got[1].ok || got[0].ok && !bytes.Equal(got[0].dst, got[1].dst) {
		t.Fatalf("%s: %q:\n got  %x, %t\n want %x, %t", name, digits, got[0].dst, got[0].ok, got[1].dst, got[1].ok)
	}
}

// TestDecoderAgreesWithTheStandardLibrary changes each digit of texts to each byte, for lengths around and far beyond the length
// from which vectors are used.
func TestDecoderAgreesWithTheStandardLibrary(t *testing.T) {
	for name, both := range references() {
		for _, n := range []int{0, 1, 2, 3, 43, 44, 45, 46, 47, 48, 64, 77, 109, 141, 300} {
			digits := bytes.Repeat([]byte("QUJDabcz0189"), n/12+1)[:n]
			alike(t, name, both, digits)
			for i := range digits {
				was := digits[i]
				for c := range 256 {
					digits[i] = byte(c)
					alike(t, name, both, digits)
				}
				digits[i] = was
			}
		}
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add(bytes.Repeat([]byte("QUJD"), 30))
	f.Add(bytes.Repeat([]byte("-_+/"), 30))
	f.Add(append(bytes.Repeat([]byte("QUJD"), 30), "\r\nQU"...))
	f.Add(append(bytes.Repeat([]byte("QUJD"), 30), "QX"...))
	all := references()
	f.Fuzz(func(t *testing.T, digits []byte) {
		for name, both := range all {
			alike(t, name, both, digits)
			// Most of a fuzzer's inputs contain a byte that is in no alphabet; the same input as digits gets further.
			within := make([]byte, len(digits))
			for i, c := range digits {
				within[i] = std[c&63]
			}
			alike(t, name, both, within)
		}
	})
}

// BenchmarkDecoder measures one payload, decoded by the decoder in use and by the standard library's.
func BenchmarkDecoder(b *testing.B) {
	for i, d := range references()["std, strict"] {
		for _, size := range []int{64, 256, 1024, 16384} {
			b.Run(fmt.Sprintf("%s/%d", []string{"segmentio", "encoding"}[i], size), func(b *testing.B) {
				payload := bytes.Repeat([]byte("\x00\xa5payload"), size/9+1)[:size]
				digits := base64.RawStdEncoding.AppendEncode(nil, payload)
				b.SetBytes(int64(size))
				for b.Loop() {
					if n, err := d.Decode(payload, digits); err != nil || n != size {
						b.Fatal(n, err)
					}
				}
			})
		}
	}
}
