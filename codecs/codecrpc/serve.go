package codecrpc

import (
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/framehost/framehost/codecs"
)

// Serve serves codec to the host that started this process, and returns when the host no longer needs it. The main
// function of a plugin calls Serve and does nothing else. A program that is started by hand prints that it is a plugin,
// and exits with status 1.
//
// The process exits when its standard input ends. The host holds the other end of that pipe, so plugins exit with their
// host, however it ends. Standard error goes to the host's log; lines in the JSON format of go-hclog keep their level.
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

// exitWithHost ends the process when the host has ended.
func exitWithHost(stdin io.Reader) {
	_, _ = io.Copy(io.Discard, stdin)
	os.Exit(0)
}
