// Package codecrpc carries the contract of package codecs between framehost and a plugin process, over hashicorp/go-plugin.
//
// A plugin written in Go is a program of one line:
//
//	func main() { codecrpc.Serve(cobs.Codec) }
//
// Plugins in other languages are written from PROTOCOL.md, beside this file, alone.
//
// A host gets a [Client] from go-plugin for each process it started. The client's control plane is two unary methods,
// [Client.Describe] and [Client.Configure]. Its data plane is a few streams, the lanes, which all sessions share: a call
// shows whatever has arrived and is answered with every frame in it, so that the price of crossing to another process
// is paid for each batch rather than for each frame. Messages are bounded on both ends: longer calls and answers are cut
// into parts, and parts of different calls take turns.
//
// Where both ends can, calls travel by shared memory instead, which is package codecshm: see [Client.Share]. Control stays
// here, and an author of plugins has nothing to do for it.
//
// The host holds everything that a connection is, so the client can lose its process at any time: calls then fail with
// codeccall.ErrGone, took no effect, and may be made again on another process, once this one is known to be dead.
package codecrpc

import (
	"context"
	"os"

	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecrpc/codecpb"
)

// Handshake is what go-plugin compares before it trusts that a program is a plugin of framehost.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  1,
	MagicCookieKey:   "FRAMEHOST_CODEC_PLUGIN",
	MagicCookieValue: "5b2f8d0a-framehost-codec-v1",
}

// PluginName is the name under which go-plugin knows the one thing that a process serves.
const PluginName = "codec"

// maxMessage bounds the messages of the control plane, in bytes. Those of a lane are shorter.
const maxMessage = 4 << 20

// Windows of HTTP/2, in bytes: a full part must be able to travel while the one before is being read.
const (
	streamWindow     = 4 << 20
	connectionWindow = 8 << 20
	socketBuffer     = 128 << 10
)

// Plugin joins both ends to go-plugin. A host leaves it empty; a plugin process sets Codec.
type Plugin struct {
	plugin.NetRPCUnsupportedPlugin
	Codec codecs.Codec
}

// GRPCServer registers the service of a plugin process.
func (p *Plugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	server := newServer(p.Codec)
	codecpb.RegisterCodecServer(s, server)
	go server.serveShared(os.Stderr) // as it is now: go-plugin puts another there, which the end of the process cuts off
	return nil
}

// GRPCClient returns a *Client.
func (p *Plugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewClient(conn), nil
}

// DialOptions are those with which a host connects to a plugin process.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithReadBufferSize(socketBuffer), grpc.WithWriteBufferSize(socketBuffer),
	}
}

// ServerOptions are those with which a plugin process listens.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(laneCodec{}),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(connectionWindow),
		grpc.ReadBufferSize(socketBuffer), grpc.WriteBufferSize(socketBuffer),
	}
}
