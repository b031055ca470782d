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

// headerSize is the size of the length prefix of a received payload, in bytes.
const headerSize = 4

// newPayload returns a payload of letters with number at its end. l.Escapes percent of its bytes are LF, which needs an escape.
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

// setNumber replaces the number at the end of a payload, or as many of its last digits as fit.
func setNumber(payload []byte, number int) {
	for i := len(payload) - 1; i >= max(0, len(payload)-digits); i-- {
		payload[i] = '0' + byte(number%10)
		number /= 10
	}
}

// appendLine appends the line that is sent for a payload.
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

// longestLine returns the greatest length of a line that appendLine appends for a payload of the load, in bytes.
func longestLine(l *load) int {
	if l.Escaped {
		return 2*l.Size + 1
	}
	return l.Size + 1
}

// A block is a sequence of payloads that a flood sends again and again, so that the sink knows which payload is due.
type block struct {
	payloads [][]byte
	lines    []byte
}

// blockSize is how many bytes a flood sends at a time, or more if a single line is longer.
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

// readHeader reads the length prefix of a payload, and returns an error if the length is not due. The error is io.EOF if the stream ended
// before the prefix.
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
	_, _ = r.Discard(headerSize) // can't fail: the bytes are buffered
	return nil
}
