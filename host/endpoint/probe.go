package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// ErrInUse is wrapped by the error of Probe if an address is in use.
var ErrInUse = errors.New("in use")

// Probe returns an error with the reason if [Listen], or datagram.Listen for a udp address, would fail for addr at present.
// Probe does not listen itself, so no peer connects to it and no datagram is lost.
func Probe(ctx context.Context, addr Address) error {
	var err error
	switch addr.Network {
	case "unix":
		err = probeUnix(ctx, addr.Address)
	case "tcp", "udp":
		err = probeIP(ctx, addr)
	}
	if err != nil {
		return fmt.Errorf("listen %s: %w", addr, err)
	}
	return nil
}

func probeUnix(ctx context.Context, path string) error {
	if dir, err := os.Stat(filepath.Dir(path)); err != nil {
		return err
	} else if !dir.IsDir() {
		return fmt.Errorf("got a file at %s, want a directory", filepath.Dir(path))
	}
	file, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case file.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("got %s there, want nothing or a socket that no process listens on", kindOfFile(file.Mode()))
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil //nolint:nilerr // no process listens there
	}
	_ = conn.Close()
	return ErrInUse
}
