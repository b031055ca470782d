package main

import (
	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/plugins/base64"
	"github.com/framehost/framehost/plugins/escape"
	"github.com/framehost/framehost/plugins/lenprefix"
	"github.com/framehost/framehost/plugins/swapterm"
)

// builtins are the codecs in this program. The program uses them only to serve them when it runs as a plugin process.
var builtins = []codecs.Codec{base64.Codec, escape.Codec, lenprefix.Codec, swapterm.Codec}

func builtinCodec(name string) (codecs.Codec, bool) {
	for _, codec := range builtins {
		if codec.Info().Name == name {
			return codec, true
		}
	}
	return nil, false
}

func builtinNames() []string {
	var names []string
	for _, codec := range builtins {
		names = append(names, codec.Info().Name)
	}
	return names
}
