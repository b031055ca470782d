package base64

import (
	"encoding/base64"

	simd "github.com/segmentio/asm/base64"
)

// A decoder decodes digits without padding, like a [base64.Encoding]. dst must have exactly the length of the result: the
// vector code does not check that.
type decoder interface {
	Decode(dst, digits []byte) (n int, err error)
}

// newDecoder returns the fastest decoder for an alphabet. A strict one refuses a last digit whose unused bits are not zero.
//
// segmentio/asm decodes blocks of 32 digits as long as they contain only digits, and leaves the rest to encoding/base64,
// which thus decides in all cases what is wrong. It is used only for the std alphabet: in url it also accepts "/" as a
// digit, and is slower for short payloads.
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
