package pluginproc

import (
	"fmt"
	"os"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecrpc"
)

// serveCommand is the first argument with which a program that holds built-in plugins is asked to serve one, the
// second being its name.
const serveCommand = "serve-plugin"

// ServeIfAsked makes this process a plugin process if it was launched as one: if a host left its handshake in the
// environment, and the arguments ask for a built-in plugin. It then serves the codec that lookup returns, or says that
// there is none, and never returns; otherwise it does nothing.
//
// A program with built-in plugins calls it first in main, and so do the tests of packages that start such plugins, for
// then the test binary is what is launched:
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
