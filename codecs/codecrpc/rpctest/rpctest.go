// Package rpctest helps the tests of a codec to run it as a plugin process, which their own test binary turns into:
//
//	func TestMain(m *testing.M) { rpctest.Main(m, cobs.Codec) }
//
//	func TestProcess(t *testing.T) {
//		rpctest.EachPlane(t, func(t *testing.T, plane rpctest.Plane) {
//			codectest.RunCalls(t, plane.Start(t, nil), cases...)
//		})
//	}
package rpctest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecrpc"
)

// Main serves codec where the handshake's cookie is in the environment, that is in a process that [Start] started.
// Otherwise it runs the tests. It exits.
func Main(m *testing.M, codec codecs.Codec) {
	if os.Getenv(codecrpc.Handshake.MagicCookieKey) == codecrpc.Handshake.MagicCookieValue {
		codecrpc.Serve(codec)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Start is [Plane.Start] of the plane that every system has, GRPC.
func Start(t testing.TB, command *exec.Cmd) func(options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
	t.Helper()
	return GRPC.Start(t, command)
}

// Start starts a plugin process whose calls travel by p. It ends with the test. Start returns the function that configures
// its codec, for codectest.RunCalls. command is the program, not started; nil: this test binary, whose TestMain calls
// [Main]. What the process writes to its standard error is shown when the test fails.
func (p Plane) Start(t testing.TB, command *exec.Cmd) func(options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
	t.Helper()
	if command == nil {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		command = exec.Command(self)
	}
	var share func(*codecrpc.Client, *codecrpc.Description)
	if p == SharedMemory {
		share = offer(t, command)
	}
	var stderr bytes.Buffer
	process := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  codecrpc.Handshake,
		Plugins:          plugin.PluginSet{codecrpc.PluginName: &codecrpc.Plugin{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		GRPCDialOptions:  codecrpc.DialOptions(),
		UnixSocketConfig: &plugin.UnixSocketConfig{},
		Logger:           hclog.NewNullLogger(),
		Stderr:           &stderr,
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, _ string) (runner.Runner, error) {
			command.Env = append(command.Environ(), spec.Env...)
			return newProcess(command)
		},
	})
	t.Cleanup(func() {
		process.Kill()
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("standard error of the plugin process:\n%s", stderr.Bytes())
		}
	})
	connection, err := process.Client()
	if err != nil {
		t.Fatalf("start %s: %v", command.Path, err)
	}
	if err := connection.Ping(); err != nil {
		t.Fatalf("%s is not serving: %v", command.Path, err)
	}
	served, err := connection.Dispense(codecrpc.PluginName)
	if err != nil {
		t.Fatal(err)
	}
	client := served.(*codecrpc.Client)
	t.Cleanup(client.Close)
	description, err := client.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if share != nil {
		share(client, description)
	}
	return func(options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
		return client.Configure(t.Context(), description.Info, options, maxFrame)
	}
}
