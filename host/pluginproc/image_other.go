//go:build !linux

package pluginproc

import (
	"os"
	"os/exec"
)

// Only Linux can execute sealed memory; other systems execute a private copy of the program.

func newSealable(string) *os.File { return nil }

func seal(*os.File) error { return nil }

func sealedCommand(*os.File, *Spec) *exec.Cmd { return nil }
