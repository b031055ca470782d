//go:build !unix

package codecrpc

import (
	"os"
	"testing"
)

func duplicate(t *testing.T, _ *os.File) int {
	t.Fatal("processes inherit no descriptors here")
	return 0
}
