// Package rpctest runs a plugin program under test. With codectest.RunCalls it certifies a program in any language: the
// program starts, describes itself and serves as PROTOCOL.md says, and its codec keeps the contract through thousands of
// calls.
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
// Each case is a set of options and the known properties of the framing that they make: payloads that must be accepted or
// refused, the bytes of frames, streams and their payloads. The more a case gives, the more is checked. Without cases the
// suite checks the default options for everything that is true of every codec. A case needs payloads as long as its limit
// (4096 bytes, or Case.MaxFrame); if payloads must have a special form, Case.Sized must make them. "go test -v" lists the
// checks. A failure prints the call, the result, the wanted result, and the standard error of the process.
//
// Every call has a time limit, after which its check fails and the suite ends: a third of [codectest.Timeout], which is 10 s
// if FRAMEHOST_CODECTEST_TIMEOUT is not set. (A host kills a plugin after timeouts.codec, 5 s by default.) The same limit
// applies to the start of the process, and to the calls that describe and configure the codec.
//
// # A codec in Go
//
// A codec in Go needs no program for its tests: the test binary itself becomes the plugin process. EachPlane tests it over
// each plane.
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

// Main serves codec if the environment has the handshake's cookie, that is, in a process that [Start] started. Otherwise
// it runs the tests. In both cases it exits the process.
func Main(m *testing.M, codec codecs.Codec) {
	if os.Getenv(codecrpc.Handshake.MagicCookieKey) == codecrpc.Handshake.MagicCookieValue {
		codecrpc.Serve(codec)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Start calls [Plane.Start] of GRPC, the plane that every system has.
func Start(t testing.TB, command *exec.Cmd) func(options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
	t.Helper()
	return GRPC.Start(t, command)
}

// Start starts a plugin process whose calls travel over p. The process ends with the test. Start returns the function that
// configures its codec, for codectest.RunCalls. command is the program, not yet started; nil: this test binary, whose
// TestMain calls [Main]. If the test fails, the standard error of the process is shown.
func (p Plane) Start(t testing.TB, command *exec.Cmd) func(options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
	t.Helper()
	timeout, err := codectest.Timeout()
	if err != nil {
		t.Fatal(err)
	}
	timeout /= 3 // shorter than the time after which codectest gives up the call
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
		// A process that hangs ignores the request to shut down.
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

// within returns the error of call, or an error if call does not return within timeout.
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
