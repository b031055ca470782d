// Framehost-codec-base64 is the codec of package base64 as a plugin program, which framehost starts.
package main

import (
	"github.com/framehost/framehost/codecs/codecrpc"
	"github.com/framehost/framehost/plugins/base64"
)

func main() { codecrpc.Serve(base64.Codec) }
