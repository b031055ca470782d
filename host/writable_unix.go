//go:build unix

package host

import "golang.org/x/sys/unix"

// writable reports why files can't be made in a directory.
func writable(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }
