//go:build unix

package host

import "golang.org/x/sys/unix"

// writable returns an error if this process can't make files in dir.
func writable(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }
