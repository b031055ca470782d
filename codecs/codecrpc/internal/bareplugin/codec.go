package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/framehost/framehost/codecs/codecrpc/codecpb"
)

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "terminator": {
      "type": "string", "format": "framehost-bytes", "default": "LF",
      "description": "the byte that ends each payload"
    }
  }
}`

// maxFrame is the largest limit for payloads that a host may ask for.
const maxFrame = 1 << 30

// codecServer implements the service framehost.codec.v1.Codec. Its zero value is ready to use.
type codecServer struct {
	codecpb.UnimplementedCodecServer
	mu     sync.RWMutex
	codecs map[uint32]lines // by the number that the host chose
}

func (s *codecServer) Describe(context.Context, *codecpb.DescribeRequest) (*codecpb.DescribeResponse, error) {
	return &codecpb.DescribeResponse{
		Name:          "bare",
		Version:       "1.0.0",
		Description:   "payloads ended by one byte",
		StateVersion:  1,
		OptionsSchema: []byte(schema),
	}, nil
}

func (s *codecServer) Configure(_ context.Context, in *codecpb.ConfigureRequest) (*codecpb.ConfigureResponse, error) {
	if in.MaxFrame < 1 || in.MaxFrame > maxFrame {
		return nil, status.Errorf(codes.InvalidArgument, "max_frame: got %d bytes, want 1 to %d", in.MaxFrame, maxFrame)
	}
	terminator, inForce, errs := readOptions(in.Options)
	if len(errs) > 0 {
		return &codecpb.ConfigureResponse{Errors: errs}, nil
	}
	l := lines{terminator: terminator, maxFrame: int(in.MaxFrame)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.codecs == nil {
		s.codecs = map[uint32]lines{}
	}
	s.codecs[in.Codec] = l
	return &codecpb.ConfigureResponse{MaxWire: uint32(l.maxWire()), Options: inForce}, nil
}

func (s *codecServer) Release(_ context.Context, in *codecpb.ReleaseRequest) (*codecpb.ReleaseResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.codecs, in.Codec)
	return &codecpb.ReleaseResponse{}, nil
}

// codec returns the codec that was configured under number.
func (s *codecServer) codec(number uint32) (lines, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l, ok := s.codecs[number]
	return l, ok
}

// readOptions returns the terminator, and the options in force.
func readOptions(raw []byte) (terminator byte, inForce []byte, errs []*codecpb.OptionError) {
	var options map[string]json.RawMessage
	if err := json.Unmarshal(raw, &options); err != nil {
		return 0, nil, []*codecpb.OptionError{{Got: string(raw), Want: "a JSON object"}}
	}
	value := "LF"
	for name, got := range options {
		if name != "terminator" {
			errs = append(errs, &codecpb.OptionError{Option: name, Got: string(got), Want: "terminator, the only option"})
		} else if bytes.Equal(got, []byte("null")) || json.Unmarshal(got, &value) != nil {
			errs = append(errs, &codecpb.OptionError{Option: name, Got: string(got), Want: "a string"})
		}
	}
	if b, err := bytesValue(value); err != nil || len(b) != 1 {
		errs = append(errs, &codecpb.OptionError{Option: "terminator", Got: value, Want: "one byte"})
	} else {
		terminator = b[0]
	}
	inForce, err := json.Marshal(map[string]string{"terminator": value})
	if err != nil {
		errs = append(errs, &codecpb.OptionError{Got: string(raw), Want: err.Error()})
	}
	return terminator, inForce, errs
}

var controlNames = map[string]string{
	"NUL": "\x00", "SOH": "\x01", "STX": "\x02", "ETX": "\x03", "EOT": "\x04", "ENQ": "\x05", "ACK": "\x06", "TAB": "\t",
	"LF": "\n", "CR": "\r", "CRLF": "\r\n", "DLE": "\x10", "NAK": "\x15", "SYN": "\x16", "ETB": "\x17", "ESC": "\x1b",
	"FS": "\x1c", "GS": "\x1d", "RS": "\x1e", "US": "\x1f",
}

// bytesValue reads an option's text in the format framehost-bytes.
func bytesValue(text string) ([]byte, error) {
	if named, ok := controlNames[text]; ok {
		return []byte(named), nil
	}
	if digits, ok := strings.CutPrefix(text, "0x"); ok {
		b, err := hex.DecodeString(digits)
		if err == nil && len(b) == 0 {
			err = fmt.Errorf("no digits after 0x")
		}
		return b, err
	}
	if slices.ContainsFunc([]byte(text), func(c byte) bool { return c > 0x7F }) {
		return nil, fmt.Errorf("characters above U+007F")
	}
	return []byte(text), nil
}
