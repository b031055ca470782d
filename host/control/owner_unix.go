//go:build unix

package control

import (
	"io/fs"
	"os"
	"syscall"
)

// ownedByUs reports whether the user that runs this process owns the file.
func ownedByUs(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}
