//go:build !linux

package main

import (
	"context"
	"errors"
)

// broadcasts is not available here: it needs a loopback interface that can broadcast, as on Linux.
type broadcasts struct{ last []byte }

// openBroadcasts returns nil.
func openBroadcasts(context.Context) (*broadcasts, error) { return nil, nil }

func (b *broadcasts) close() error                            { return nil }
func (b *broadcasts) address() string                         { return "" }
func (b *broadcasts) Write([]byte) (int, error)               { return 0, errors.ErrUnsupported }
func (b *broadcasts) receive(context.Context) ([]byte, error) { return nil, errors.ErrUnsupported }
