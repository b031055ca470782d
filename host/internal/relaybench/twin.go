//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

const (
	twinRole    = "twin"
	twinListens = "listening on "
	twinBuffer  = 128 * kib
)

// A twin is a relay with its codecs compiled in, as one would write it for this purpose alone.
type twin struct {
	Upstream string
	Escaped  bool
	Longest  int // longest line that it must accept, in bytes
}

// runTwin is the main function of the twin's process, which runs until a signal ends it.
func runTwin(args []string) error {
	if len(args) != 1 {
		return errors.New("want its settings")
	}
	var t twin
	if err := json.Unmarshal([]byte(args[0]), &t); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s%s\n", twinListens, l.Addr())
	for {
		down, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			if err := t.carry(down); err != nil {
				fmt.Fprintln(os.Stderr, "twin:", err)
			}
		}()
	}
}

// carry relays a connection to the end of its lines.
func (t *twin) carry(down net.Conn) error {
	defer down.Close()
	up, err := net.Dial("tcp", t.Upstream)
	if err != nil {
		return err
	}
	defer up.Close()
	lines := bufio.NewReaderSize(down, max(2*t.Longest, twinBuffer))
	frames := bufio.NewWriterSize(up, twinBuffer)
	var length [4]byte
	for {
		line, err := lines.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return frames.Flush()
		}
		if err != nil {
			return err
		}
		payload := line[:len(line)-1]
		if t.Escaped {
			if payload, err = unescape(payload); err != nil {
				return err
			}
		}
		binary.BigEndian.PutUint32(length[:], uint32(len(payload)))
		_, _ = frames.Write(length[:]) // if a Write fails, Flush fails too
		_, _ = frames.Write(payload)
		if lines.Buffered() == 0 {
			if err := frames.Flush(); err != nil {
				return err
			}
		}
	}
}

// unescape removes the escapes from line in place.
func unescape(line []byte) ([]byte, error) {
	at := bytes.IndexByte(line, '\\')
	if at < 0 {
		return line, nil
	}
	payload := line[:at]
	for rest := line[at:]; ; {
		if len(rest) < 2 {
			return nil, errors.New("an escape ends the line")
		}
		switch rest[1] {
		case 'n':
			payload = append(payload, '\n')
		case '\\':
			payload = append(payload, '\\')
		default:
			return nil, fmt.Errorf("unknown escape %q", rest[:2])
		}
		rest = rest[2:]
		plain := bytes.IndexByte(rest, '\\')
		if plain < 0 {
			return append(payload, rest...), nil
		}
		payload = append(payload, rest[:plain]...)
		rest = rest[plain:]
	}
}
