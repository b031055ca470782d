// Package codecrpc carries the contract of package codecs between framehost and a plugin process, over hashicorp/go-plugin.
//
// A plugin written in Go is a program of one line:
//
//	func main() { codecrpc.Serve(cobs.Codec) }
//
// To write a plugin in another language, read PROTOCOL.md, beside this file; nothing else is needed.
//
// A host gets a [Client] from go-plugin for each process that it started. The client's control plane is a few unary
// methods: [Client.Describe], [Client.Configure] and [Client.Release]. Its data plane is a few streams, the lanes, which
// all sessions share. A call shows everything that has arrived, and its answer has every frame in it: so the cost of
// crossing to another process is paid once for each batch, not for each frame. Both ends limit the size of messages: they
// cut longer calls and answers into parts, and parts of different calls take turns.
//
// If both ends support it, calls travel over shared memory instead (package codecshm; see [Client.Share]). Control stays in
// this package. Plugin authors need do nothing for shared memory.
//
// The host holds all data of a connection, so the client can lose its process at any time. Calls then fail with
// codeccall.ErrGone and had no effect. They may be repeated in another process, once this process is known to be dead.
package codecrpc

import (
	"context"
	"os"

	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecrpc/codecpb"
)

// Handshake is the configuration that go-plugin compares before it accepts a program as a plugin of framehost.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  1,
	MagicCookieKey:   "FRAMEHOST_CODEC_PLUGIN",
	MagicCookieValue: "5b2f8d0a-framehost-codec-v1",
}

// PluginName is the name that go-plugin uses for the codec, the only plugin that a process serves.
const PluginName = "codec"

// maxMessage limits the messages of the control plane, in bytes. Messages of a lane are shorter.
const maxMessage = 4 << 20

// HTTP/2 windows and socket buffers, in bytes. A full part must be able to travel while the previous part is being read.
const (
	streamWindow     = 4 << 20
	connectionWindow = 8 << 20
	socketBuffer     = 128 << 10
)

// Plugin connects both ends to go-plugin. A host leaves Codec nil; a plugin process sets it.
type Plugin struct {
	plugin.NetRPCUnsupportedPlugin
	Codec codecs.Codec
}

// GRPCServer registers the service of a plugin process.
func (p *Plugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	server := newServer(p.Codec)
	codecpb.RegisterCodecServer(s, server)
	go server.serveShared(os.Stderr) // evaluated now: go-plugin replaces os.Stderr by a pipe, whose last lines are lost at exit
	return nil
}

// GRPCClient returns a *Client.
func (p *Plugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewClient(conn), nil
}

// DialOptions returns the options with which a host connects to a plugin process.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithReadBufferSize(socketBuffer), grpc.WithWriteBufferSize(socketBuffer),
	}
}

// ServerOptions returns the options with which a plugin process listens.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(laneCodec{}),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(connectionWindow),
		grpc.ReadBufferSize(socketBuffer), grpc.WriteBufferSize(socketBuffer),
	}
}
