// Framehost-codec-swapterm is the codec of package swapterm as a plugin program, which framehost starts.
package main

import (
	"github.com/framehost/framehost/codecs/codecrpc"
	"github.com/framehost/framehost/plugins/swapterm"
)

func main() { codecrpc.Serve(swapterm.Codec) }
