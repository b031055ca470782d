package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecrpc"
)

// serveOdd is the program oddplugin: a plugin that misbehaves as its arguments say.
//
//	oddplugin schema FILE   the JSON Schema of its options is the content of FILE
//	oddplugin other         decodes other payloads than it encoded: letters become capitals
//	oddplugin unreadable    refuses to decode frames that it encoded itself
//	oddplugin nothing       encodes no payload at all
//	oddplugin crash         exits when it encodes
func serveOdd() {
	codec := &oddCodec{Codec: codecs.New(codecs.Info{Name: "odd", Version: "1.0.0", Description: "an odd codec"}, struct{}{},
		func(*struct{}, int) (codecs.Framing, error) { return oddFraming(os.Args[1]), nil })}
	switch os.Args[1] {
	case "schema":
		schema, err := os.ReadFile(os.Args[2])
		if err != nil {
			panic(err)
		}
		codec.schema = schema
	}
	codecrpc.Serve(codec)
}

type oddCodec struct {
	codecs.Codec
	schema json.RawMessage
}

func (c *oddCodec) Schema() json.RawMessage {
	if c.schema != nil {
		return c.schema
	}
	return c.Codec.Schema()
}

// oddFraming frames lines, and misbehaves as the argument says.
func oddFraming(kind string) codecs.Framing {
	return codecs.FromFuncs(codecs.Funcs{
		Split: func(data []byte, eof bool) (int, []byte, error) {
			advance, token, err := bufio.ScanLines(data, eof)
			if kind == "other" {
				token = bytes.ToUpper(token)
			}
			if kind == "unreadable" && len(token) > 0 {
				return 0, nil, errors.New("unreadable")
			}
			return advance, token, err
		},
		Append: func(dst, payload []byte) ([]byte, error) {
			if kind == "nothing" {
				return dst, errors.New("not this one")
			}
			if kind == "crash" {
				os.Exit(3)
			}
			return append(append(dst, payload...), '\n'), nil
		},
		Overhead: 1, Want: "a line",
	})
}
