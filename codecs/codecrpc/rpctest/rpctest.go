// Package rpctest runs a plugin program under test. With codectest.RunCalls it certifies a program in any language: that it
// starts, describes itself and serves as PROTOCOL.md says, and that its codec keeps the contract through thousands of calls.
//
// # A program in any language
//
// Put this into a file certify_test.go beside the program, and run "go mod init certify && go mod tidy && go test":
//
//	package certify
//
//	import (
//		"os/exec"
//		"testing"
//
//		"github.com/framehost/framehost/codecs/codecrpc/rpctest"
//		"github.com/framehost/framehost/codecs/codectest"
//	)
//
//	func TestPlugin(t *testing.T) {
//		codectest.RunCalls(t, rpctest.Start(t, exec.Command("./framehost-codec-cobs")),
//			codectest.Case{Accept: []string{"hi", ""}, Refuse: []string{"a payload that it can't carry"}},
//			codectest.Case{Options: `{"terminator": "0xC0"}`, Wires: []codectest.Wire{
//				{Wire: "hi\xc0", Want: []string{"hi"}},
//			}})
//	}
//
// Each case is a set of options, with what its author knows of the framing that they make: payloads that must be accepted or
// refused, bytes of frames, streams and what they decode to. The more a case says, the more is checked; without cases the
// default options are put through all that is true of every codec. A case needs payloads of its limit (4096 bytes, or
// Case.MaxFrame): Case.Sized makes them where a payload has a form of its own. "go test -v" lists the checks; a failure prints
// the call, what was got and what was wanted, and what the process wrote to its standard error.
//
// Every call has a time limit, after which its check fails and the suite ends: a third of [codectest.Timeout], 10 s if
// FRAMEHOST_CODECTEST_TIMEOUT is not set. (A host kills a plugin after timeouts.codec, 5 s by default.) So have the start, and
// the calls that describe and configure.
//
// # A codec in Go
//
// Its tests need no program: their own test binary turns into the plugin process, which is called by each plane.
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
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecrpc"
	"github.com/framehost/framehost/codecs/codectest"
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
	timeout, err := codectest.Timeout()
	if err != nil {
		t.Fatal(err)
	}
	timeout /= 3 // before codectest gives the call up
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
		StartTimeout:     timeout,
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
		// A process that hangs does not shut down when it is asked to.
		kill := time.AfterFunc(timeout, func() { _ = command.Process.Kill() })
		process.Kill()
		kill.Stop()
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("standard error of the plugin process:\n%s", stderr.Bytes())
		}
	})
	connection, err := process.Client()
	if err != nil {
		t.Fatalf("start %s: %v", command.Path, err)
	}
	if err := within(timeout, connection.Ping); err != nil {
		t.Fatalf("%s is not serving: %v", command.Path, err)
	}
	served, err := connection.Dispense(codecrpc.PluginName)
	if err != nil {
		t.Fatal(err)
	}
	client := served.(*codecrpc.Client)
	client.SetTimeout(timeout)
	t.Cleanup(client.Close)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	description, err := client.Describe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if share != nil {
		share(client, description)
	}
	return func(options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		return client.Configure(ctx, description.Info, options, maxFrame)
	}
}

// within returns what call returns, or an error if it does not within timeout.
func within(timeout time.Duration, call func() error) error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("no answer within %v", timeout)
	}
}
