package main

import (
	"encoding/json"
	"os"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecrpc"
)

// serveOdd is the program oddplugin: a plugin whose arguments say what is odd about it.
//
//	oddplugin schema FILE   the JSON Schema of its options is what FILE holds
func serveOdd() {
	codec := &oddCodec{Codec: codecs.New(codecs.Info{Name: "odd", Version: "1.0.0", Description: "an odd codec"}, struct{}{},
		func(*struct{}, int) (codecs.Framing, error) { return nil, nil })}
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
