package pluginproc

import (
	"fmt"
	"os"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecrpc"
)

// serveCommand is the first argument that makes a program with built-in plugins serve one of them. The second argument is the plugin's
// name.
const serveCommand = "serve-plugin"

// ServeIfAsked makes this process a plugin process if it was launched as one: that is, if the environment holds the handshake of a host
// and the arguments name a built-in plugin. It then serves the codec that lookup returns and exits the program when serving ends. If
// lookup returns false, it writes an error to standard error and exits with status 1. Otherwise it does nothing.
//
// A program with built-in plugins calls ServeIfAsked first in main. The tests of packages that start built-in plugins must call it too,
// because then the host launches the test binary:
//
//	func TestMain(m *testing.M) {
//		pluginproc.ServeIfAsked(builtin.Lookup)
//		os.Exit(m.Run())
//	}
func ServeIfAsked(lookup func(name string) (codecs.Codec, bool)) {
	if len(os.Args) < 3 || os.Args[1] != serveCommand ||
		os.Getenv(codecrpc.Handshake.MagicCookieKey) != codecrpc.Handshake.MagicCookieValue {
		return
	}
	codec, ok := lookup(os.Args[2])
	if !ok {
		fmt.Fprintf(os.Stderr, "no plugin called %q is built into this program\n", os.Args[2])
		os.Exit(1)
	}
	codecrpc.Serve(codec)
	os.Exit(0)
}
