package config

import (
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. It is written as a whole number and a unit: B KiB MiB GiB, or kB MB GB for powers of 1000.
type Size int64

// Sizes.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

// sizeUnits are the units of sizes, in the order in which String tries them.
var sizeUnits = []struct {
	name  string
	bytes Size
}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

// ParseSize parses a size, such as 64KiB. "0" needs no unit. Every error is a *Error, with Got and Want and without a position.
func ParseSize(text string) (Size, error) {
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || digits[0] == '+' || digits[0] == '-' {
		return 0, &Error{Got: quote(text), Want: "a size, such as 64KiB or 1MiB"}
	}
	unit := text[len(digits):]
	if unit == "" && n == 0 {
		return 0, nil
	}
	for _, u := range sizeUnits {
		if u.name != unit {
			continue
		}
		if n > math.MaxInt64/int64(u.bytes) {
			return 0, &Error{Got: quote(text), Want: "less than 8388608 TiB"}
		}
		return Size(n) * u.bytes, nil
	}
	if unit == "" {
		return 0, &Error{Got: quote(text), Want: "a size with its unit, such as " + text + "B or " + text + "KiB"}
	}
	return 0, &Error{Got: quote(text), Want: "a size in B, KiB, MiB, GiB, kB, MB or GB"}
}

// String returns s as a whole number of the first of GiB, MiB, KiB, GB, MB, kB and B that divides it, such as 1MiB or 9999B.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.name
		}
	}
	return "0B"
}
