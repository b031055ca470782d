package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/framehost/framehost/host/config"
)

// The exit codes that the README documents.
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

// failed returns err with the exit code of a command that failed while running.
func failed(err error) error { return withCode(exitFailed, err) }

// faulty returns err with the exit code of a fault in the wire or in a payload.
func faulty(err error) error { return withCode(exitFault, err) }

func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code, err}
}

// exitCode prints err, unless it is nil, and returns the exit code. An error without a code is an error of usage or configuration, as
// cobra's own errors are.
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
		fmt.Fprintln(stderr, err) // without a prefix: each line begins with its position in the file, which editors recognize
		return code
	}
	fmt.Fprintf(stderr, "framehost: %v\n", err)
	return code
}
