package pluginproc

import (
	"os"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecrpc"
)

// serveCommand is the first argument with which a program that holds built-in plugins is asked to serve one, the
// second being its name.
const serveCommand = "serve-plugin"

// ServeIfAsked makes this process a plugin process if it was launched as one: if a host left its handshake in the
// environment, and the arguments ask for a codec that lookup knows. It then serves the codec and never returns;
// otherwise it does nothing.
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
		return
	}
	codecrpc.Serve(codec)
	os.Exit(0)
}
