package base64

import (
	"encoding/base64"

	simd "github.com/segmentio/asm/base64"
)

// A decoder decodes digits, without padding, as a [base64.Encoding] does. dst must be as long as they make it: vector
// code doesn't check that.
type decoder interface {
	Decode(dst, digits []byte) (n int, err error)
}

// newDecoder returns the fastest decoder for an alphabet. A strict one refuses a last digit with bits that mean nothing.
//
// segmentio/asm decodes blocks of 32 digits for as long as they hold nothing else, and leaves the rest to
// encoding/base64, which so has the last word on all that is wrong. That is for the std alphabet alone: in url it also
// takes "/" for a digit, and is slower for short payloads.
func newDecoder(alphabet string, strict bool) decoder {
	switch {
	case alphabet == std && strict:
		return simd.RawStdEncoding.Strict()
	case alphabet == std:
		return simd.RawStdEncoding
	}
	encoding := base64.NewEncoding(alphabet).WithPadding(base64.NoPadding)
	if strict {
		return encoding.Strict()
	}
	return encoding
}
