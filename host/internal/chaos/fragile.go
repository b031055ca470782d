//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"os"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecrpc"
)

// fragileRole is the argument that makes this program a codec plugin: its frames are lines, one of which ends the process.
const fragileRole = "fragile"

// deadly is the payload that ends a fragile plugin's process.
const deadly = "deadly"

// serveFragile serves the fragile plugin and exits, if the program was started as a plugin. Otherwise it returns.
func serveFragile(args []string) {
	if len(args) != 2 || args[1] != fragileRole {
		return
	}
	codecrpc.Serve(fragile{})
	os.Exit(0)
}

type fragile struct{}

func (fragile) Info() codecs.Info {
	return codecs.Info{Name: "fragile", Version: "1.0.0", Description: "lines, one of which ends the process"}
}

func (fragile) Schema() json.RawMessage {
	return json.RawMessage(`{"type": "object", "properties": {}}`)
}

func (fragile) Configure(json.RawMessage, int) (codecs.Framing, json.RawMessage, error) {
	return codecs.FromFuncs(codecs.Funcs{
		Split: func(data []byte, eof bool) (int, []byte, error) {
			advance, token, err := bufio.ScanLines(data, eof)
			if string(token) == deadly {
				os.Exit(3)
			}
			return advance, token, err
		},
		Append:   func(dst, payload []byte) ([]byte, error) { return append(append(dst, payload...), '\n'), nil },
		Overhead: 2,
	}), json.RawMessage(`{}`), nil
}
