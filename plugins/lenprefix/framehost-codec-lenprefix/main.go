// Framehost-codec-lenprefix is the codec of package lenprefix as a plugin program, which framehost starts.
package main

import (
	"github.com/framehost/framehost/codecs/codecrpc"
	"github.com/framehost/framehost/plugins/lenprefix"
)

func main() { codecrpc.Serve(lenprefix.Codec) }
