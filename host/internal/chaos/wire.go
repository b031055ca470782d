//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A framing is the framing of one of the four codecs, implemented without the codec's code.
type framing struct {
	plugin  string
	options string // of the codec, in YAML
	append  func(wire, payload []byte) []byte
	// read returns the next payload, valid until the next call. The error is io.EOF only between frames.
	read func(r *bufio.Reader) ([]byte, error)
}

const escape, substitute = '\x1b', '\\'

var framings = []framing{
	{"escape", `{terminator: LF, escape: '\'}`, appendEscaped, readEscaped},
	{"base64", `{}`, appendBase64, readBase64},
	{"lenprefix", `{width: 4, format: be}`, appendCounted, readCounted},
	{"swapterm", `{}`, appendSwapped, readSwapped},
}

func appendEscaped(wire, payload []byte) []byte {
	for _, c := range payload {
		switch c {
		case '\n':
			wire = append(wire, substitute, 'n')
		case substitute:
			wire = append(wire, substitute, substitute)
		default:
			wire = append(wire, c)
		}
	}
	return append(wire, '\n')
}

func readEscaped(r *bufio.Reader) ([]byte, error) {
	line, err := readTo(r, '\n')
	if err != nil {
		return nil, err
	}
	payload := line[:0]
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == substitute {
			if i++; i == len(line) {
				return nil, errors.New("an escape before the terminator")
			}
			switch line[i] {
			case 'n':
				c = '\n'
			case substitute:
			default:
				return nil, fmt.Errorf("an escape before %q", line[i])
			}
		}
		payload = append(payload, c)
	}
	return payload, nil
}

func appendBase64(wire, payload []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(wire, payload), '\n')
}

func readBase64(r *bufio.Reader) ([]byte, error) {
	line, err := readTo(r, '\n')
	if err != nil {
		return nil, err
	}
	n, err := base64.StdEncoding.Decode(line, line)
	return line[:n], err
}

func appendCounted(wire, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(wire, uint32(len(payload))), payload...)
}

func readCounted(r *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > longestPayload {
		return nil, fmt.Errorf("a length of %d", n)
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, noEOF(err)
	}
	return payload, nil
}

// appendSwapped appends a payload that ends with LF or, if the payload contains LF, with a declared byte that it does not contain.
func appendSwapped(wire, payload []byte) []byte {
	if bytes.IndexByte(payload, '\n') < 0 && (len(payload) == 0 || payload[0] != escape) {
		return append(append(wire, payload...), '\n')
	}
	end := byte('~') // no payload contains it
	return append(append(append(wire, escape, end), payload...), end)
}

func readSwapped(r *bufio.Reader) ([]byte, error) {
	first, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	end := byte('\n')
	if first == escape {
		if end, err = r.ReadByte(); err != nil {
			return nil, noEOF(err)
		}
	} else if err := r.UnreadByte(); err != nil {
		return nil, err
	}
	payload, err := readTo(r, end)
	return payload, noEOFAfter(err, first == escape)
}

// readTo returns a copy of the bytes before end. It fails if there are more than the longest frame can have.
func readTo(r *bufio.Reader, end byte) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice(end)
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull) && len(line) <= 4*longestPayload:
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

func noEOF(err error) error { return noEOFAfter(err, true) }

// noEOFAfter returns err, or io.ErrUnexpectedEOF if err is io.EOF and inside says that a frame is unfinished.
func noEOFAfter(err error, inside bool) error {
	if inside && errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
