package codecrpc

import (
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/framehost/framehost/codecs"
)

// Serve serves codec to the host that started this process, and returns when the host has no more use for it. It is
// all that the main function of a plugin does. A program that is started by hand says what it is, and exits with
// status 1.
//
// The process ends when its standard input does: the host holds the other end, and so takes its plugins along however
// it ends. Standard error is the host's log; lines of go-hclog in JSON keep their level.
func Serve(codec codecs.Codec) {
	if os.Getenv(Handshake.MagicCookieKey) == Handshake.MagicCookieValue {
		go exitWithHost(os.Stdin)
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: Handshake,
		Plugins:         plugin.PluginSet{PluginName: &Plugin{Codec: codec}},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options, ServerOptions()...)...)
		},
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: os.Stderr, JSONFormat: true}),
	})
}

// exitWithHost ends the process when the host is gone.
func exitWithHost(stdin io.Reader) {
	_, _ = io.Copy(io.Discard, stdin)
	os.Exit(0)
}
