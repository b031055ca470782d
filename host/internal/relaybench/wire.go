//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// headerSize is that of the length in front of a payload that arrives.
const headerSize = 4

// newPayload returns letters with a number at their end, and LF in place of as many percent of them as are to be escaped.
func newPayload(l *load, number int) []byte {
	payload := make([]byte, l.Size)
	for i := range payload {
		payload[i] = 'a' + byte(i%26)
	}
	escapes := l.Size * l.Escapes / 100
	for i := range escapes {
		payload[i*l.Size/escapes] = '\n'
	}
	setNumber(payload, number)
	return payload
}

const digits = 8

// setNumber replaces the number at the end of a payload, or what of it there is room for.
func setNumber(payload []byte, number int) {
	for i := len(payload) - 1; i >= max(0, len(payload)-digits); i-- {
		payload[i] = '0' + byte(number%10)
		number /= 10
	}
}

// appendLine appends a payload as it is sent.
func appendLine(dst, payload []byte, escaped bool) []byte {
	for escaped {
		at := bytes.IndexAny(payload, "\n\\")
		if at < 0 {
			break
		}
		dst = append(append(dst, payload[:at]...), '\\')
		if payload[at] == '\n' {
			dst = append(dst, 'n')
		} else {
			dst = append(dst, '\\')
		}
		payload = payload[at+1:]
	}
	return append(append(dst, payload...), '\n')
}

// longestLine is how long what appendLine appends for a payload of a load may be.
func longestLine(l *load) int {
	if l.Escaped {
		return 2*l.Size + 1
	}
	return l.Size + 1
}

// A block is what a flood sends again and again, so that the sink knows each payload that is due.
type block struct {
	payloads [][]byte
	lines    []byte
}

// blockSize is what is sent at once, if a line is not longer.
const blockSize = 256 * kib

func newBlock(l *load) *block {
	b := &block{}
	for len(b.lines) < blockSize {
		payload := newPayload(l, len(b.payloads))
		b.payloads = append(b.payloads, payload)
		b.lines = appendLine(b.lines, payload, l.Escaped)
	}
	return b
}

// readHeader reads the length of a payload, and fails if it is not the one that is due. io.EOF means that the stream ended
// before it.
func readHeader(r *bufio.Reader, due int) error {
	header, err := r.Peek(headerSize)
	if err == io.EOF && len(header) > 0 {
		return errors.New("the stream ended inside a frame")
	}
	if err != nil {
		return err
	}
	if got := binary.BigEndian.Uint32(header); int64(got) != int64(due) {
		return fmt.Errorf("corrupt frame: got length %d, want %d", got, due)
	}
	_, _ = r.Discard(headerSize) // they are there
	return nil
}
