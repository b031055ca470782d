package pluginproc

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxSweeps bounds how often strays are looked for: one may start another while it is being found.
const maxSweeps = 10

// killStrays ends what a process, which has ended, had started in sessions or groups of their own, and returns when none is left. They
// are known by mark, a string of the environment that they inherited and that no other process has. One that gave itself
// another environment is not found.
func killStrays(mark string) {
	for range maxSweeps {
		if !killMarked(mark) {
			return
		}
	}
}

// killMarked kills the processes that have mark in their environment, and reports whether there were any.
func killMarked(mark string) (found bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// By descriptor, so that what is killed is what was looked at, whoever has its number by then.
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		environment, err := os.ReadFile("/proc/" + entry.Name() + "/environ") // which fails for those of other users
		if err == nil && hasLine(environment, mark) && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil {
			found = true
		}
		_ = unix.Close(fd)
	}
	return found
}

// hasLine reports whether line is one of those of environment, which end with NUL.
func hasLine(environment []byte, line string) bool {
	for len(environment) > 0 {
		var one []byte
		one, environment, _ = bytes.Cut(environment, []byte{0})
		if string(one) == line {
			return true
		}
	}
	return false
}
