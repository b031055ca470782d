// Command framehost is a relay: it carries strings between endpoints that frame them differently, and leaves the
// framing to codec plugins that run as processes of their own.
//
// This package is only the command line: flags, signals, output and exit codes. Each command is a file. Package host and the packages
// below it do the work.
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
	context.AfterFunc(ctx, stop) // the next signal then kills a command that can't end because its output is not read
	stderr := &standardError{to: os.Stderr}
	defer stderr.flush()
	root := newRoot()
	root.SetErr(stderr)
	root.SetArgs(args)
	return exitCode(root.ExecuteContext(ctx), stderr)
}
