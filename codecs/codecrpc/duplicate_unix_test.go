//go:build unix

package codecrpc

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// duplicate returns another descriptor of file, which it closes.
func duplicate(t *testing.T, file *os.File) int {
	t.Helper()
	defer file.Close()
	fd, err := unix.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}
