// Bareplugin is a codec plugin written only from PROTOCOL.md: it has gRPC and the messages of codec.proto, and no code of
// framehost or go-plugin. It represents the plugins that are written in other languages. It leaves out everything that
// the protocol does not require. That it passes the conformance suite shows that PROTOCOL.md is complete.
//
// Its codec ends each payload with one byte, the option terminator. Nothing is escaped, so a payload that contains the
// terminator cannot be represented. It never keeps bytes that an earlier call showed.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/framehost/framehost/codecs/codecrpc/codecpb"
)

const (
	cookieKey   = "FRAMEHOST_CODEC_PLUGIN"
	cookieValue = "5b2f8d0a-framehost-codec-v1"
)

func main() {
	log.SetFlags(0)
	if os.Getenv(cookieKey) != cookieValue {
		log.Fatal("this program is a codec plugin, which framehost starts")
	}
	signal.Ignore(os.Interrupt)
	listener, err := listen()
	if err != nil {
		log.Fatalf("listen: %v", err)
	}
	server := newServer()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // the host never writes: this ends when the host does
		server.Stop()
	}()
	fmt.Printf("1|1|%s|%s|grpc|\n", listener.Addr().Network(), listener.Addr())
	if err := server.Serve(listener); err != nil {
		log.Fatalf("serve: %v", err)
	}
}

// newServer returns a server with all services of a plugin.
func newServer() *grpc.Server {
	server := grpc.NewServer(grpc.InitialWindowSize(4<<20), grpc.InitialConnWindowSize(16<<20))
	alive := health.NewServer()
	alive.SetServingStatus("plugin", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, alive)
	server.RegisterService(&controllerService, controller(func(context.Context) { server.Stop() }))
	server.RegisterService(&stdioService, struct{}{})
	codecpb.RegisterCodecServer(server, &codecServer{})
	return server
}

// listen listens at the address that the host asked for.
func listen() (net.Listener, error) {
	if runtime.GOOS != "windows" {
		return net.Listen("unix", filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), fmt.Sprintf("bare%d", os.Getpid())))
	}
	from, err := strconv.Atoi(os.Getenv("PLUGIN_MIN_PORT"))
	if err != nil {
		return nil, fmt.Errorf("PLUGIN_MIN_PORT: %w", err)
	}
	to, err := strconv.Atoi(os.Getenv("PLUGIN_MAX_PORT"))
	if err != nil {
		return nil, fmt.Errorf("PLUGIN_MAX_PORT: %w", err)
	}
	for port := from; port <= to; port++ {
		if listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return listener, nil
		}
	}
	return nil, fmt.Errorf("no free port from %d to %d", from, to)
}
