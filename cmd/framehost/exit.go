package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/framehost/framehost/host/config"
)

// Exit codes, as the README promises them.
const (
	exitOK     = 0
	exitFailed = 1 // failed while running
	exitUsage  = 2 // usage or configuration
	exitFault  = 3 // a fault in encode, decode or send
)

// An exitError is an error with the code to exit with.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// failed says that a command was understood, and failed while running.
func failed(err error) error { return withCode(exitFailed, err) }

// faulty says that the wire, or a payload, is at fault.
func faulty(err error) error { return withCode(exitFault, err) }

func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code, err}
}

// exitCode prints err, where there is one, and returns what to exit with. An error that says nothing of its code is
// one of usage or configuration: that is what cobra's own are.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return exitOK
	}
	code := exitUsage
	if e := (*exitError)(nil); errors.As(err, &e) {
		code = e.code
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "framehost: interrupted")
		return exitFailed // neither usage nor configuration is wrong
	}
	if errors.As(err, new(config.Errors)) {
		fmt.Fprintln(stderr, err) // each line begins with its place, as editors like it
		return code
	}
	fmt.Fprintf(stderr, "framehost: %v\n", err)
	return code
}
