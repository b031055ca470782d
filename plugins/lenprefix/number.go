package lenprefix

import (
	"encoding/binary"
	"math"
)

// A number is a way of writing a length.
type number struct {
	format Format
	width  int // bytes; 0: as many decimal digits as needed, without a leading zero, up to maxDigits
	pad    byte
}

// maxDigits is the greatest number of digits of a variable count.
const maxDigits = 10

// most returns the greatest number that can be written.
func (n number) most() uint64 {
	digits, base := n.width, uint64(10)
	switch n.format {
	case BE, LE:
		digits, base = n.width, 256
	case ASCIIHex:
		base = 16
	case BCD:
		digits = 2 * n.width
	case ASCIIDec:
		if n.width == 0 {
			digits = maxDigits
		}
	}
	if base == 256 && digits == 8 {
		return math.MaxUint64
	}
	power := uint64(1)
	for range digits {
		power *= base
	}
	return power - 1
}

// step returns how many bytes must follow the read ones before the decoder can find anything new.
func (n number) step(read int) int {
	if n.format == BE || n.format == LE {
		return n.width - read
	}
	return 1
}

// read reads the number at the front of b. size is the length of its valid part: if it is less than the width, b ends
// there, or the byte there can't be part of a number.
func (n number) read(b []byte) (v uint64, size int) {
	if n.width == 0 {
		return readCount(b)
	}
	b = b[:min(len(b), n.width)]
	switch n.format {
	case BE:
		return readBE(b), len(b)
	case LE:
		for i, c := range b {
			v |= uint64(c) << (8 * i)
		}
		return v, len(b)
	case BCD:
		for i, c := range b {
			if c>>4 > 9 || c&0xF > 9 {
				return 0, i
			}
			v = v*100 + uint64(c>>4*10+c&0xF)
		}
		return v, len(b)
	default:
		return n.readDigits(b)
	}
}

func readBE(b []byte) (v uint64) {
	switch len(b) {
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	}
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

// readDigits reads digits and the padding before them. b is as wide as the number, or shorter if the wire ends.
func (n number) readDigits(b []byte) (v uint64, size int) {
	base, i := uint64(10), 0
	if n.format == ASCIIHex {
		base = 16
	}
	for n.pad == ' ' && i < len(b) && i < n.width-1 && b[i] == ' ' {
		i++
	}
	for ; i < len(b); i++ {
		d := uint64(digitValues[b[i]])
		if d >= base {
			return 0, i
		}
		v = v*base + d
	}
	return v, len(b)
}

func readCount(b []byte) (v uint64, size int) {
	for size < len(b) && size < maxDigits && b[size]-'0' <= 9 {
		v = v*10 + uint64(b[size]-'0')
		size++
		if v == 0 {
			break // a leading zero, which no digit may follow
		}
	}
	return v, size
}

// digitValues maps each byte to its value as a hex digit; 255: the byte is not one.
var digitValues = func() (values [256]byte) {
	for c := range values {
		switch {
		case '0' <= c && c <= '9':
			values[c] = byte(c) - '0'
		case 'a' <= c && c <= 'f':
			values[c] = byte(c) - 'a' + 10
		case 'A' <= c && c <= 'F':
			values[c] = byte(c) - 'A' + 10
		default:
			values[c] = 255
		}
	}
	return values
}()

// append appends v, which is at most n.most(), in size bytes: the width, or the number of digits of a variable count.
func (n number) append(dst []byte, v uint64, size int) []byte {
	switch n.format {
	case BE:
		for shift := 8 * (size - 1); shift >= 0; shift -= 8 {
			dst = append(dst, byte(v>>shift))
		}
		return dst
	case LE:
		for range size {
			dst, v = append(dst, byte(v)), v>>8
		}
		return dst
	}
	begin := len(dst)
	for range size {
		dst = append(dst, 0)
	}
	field := dst[begin:]
	for i := size - 1; i >= 0; i-- {
		switch n.format {
		case BCD:
			field[i], v = byte(v/10%10<<4|v%10), v/100
		case ASCIIHex:
			field[i], v = n.digit(v%16, v, i == size-1), v/16
		default:
			field[i], v = n.digit(v%10, v, i == size-1), v/10
		}
	}
	return dst
}

// digit returns the character for value, the last digit of v, or the padding if v has no digits left.
func (n number) digit(value, v uint64, last bool) byte {
	if v == 0 && !last {
		return n.pad
	}
	return "0123456789abcdef"[value]
}

// decimalDigits returns how many digits v has.
func decimalDigits(v int64) int {
	n := 1
	for v >= 10 {
		v /= 10
		n++
	}
	return n
}
