// Command framehost is a relay: it carries strings between endpoints that frame them differently, and leaves the
// framing to codec plugins that run as processes of their own.
//
// This package is the command line and nothing else: flags, signals, what is printed, and exit codes. Each command is a
// file. The work is in package host and below.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/framehost/framehost/host/pluginproc"
)

// version is set by the linker; see the Makefile.
var version = ""

func main() {
	pluginproc.ServeIfAsked(builtinCodec)
	os.Exit(run(os.Args[1:]))
}

// run runs one command and returns its exit code.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a command that can't end, since its output is not read, ends with the next signal
	stderr := &standardError{to: os.Stderr}
	defer stderr.flush()
	root := newRoot()
	root.SetErr(stderr)
	root.SetArgs(args)
	return exitCode(root.ExecuteContext(ctx), stderr)
}
