// Framehost-codec-escape is the codec of package escape as a plugin program, which framehost starts.
package main

import (
	"github.com/framehost/framehost/codecs/codecrpc"
	"github.com/framehost/framehost/plugins/escape"
)

func main() { codecrpc.Serve(escape.Codec) }
