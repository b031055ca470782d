package pluginproc

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxSweeps limits how often killStrays searches all processes: a stray may start another during the search.
const maxSweeps = 10

// killStrays kills the processes that an ended plugin process had started in sessions or groups of their own. It returns when it finds
// none, or after maxSweeps searches. It recognizes them by mark, an environment entry that they inherited and that no other process
// has. It does not find a process that has changed its environment.
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
		// A descriptor still refers to the process that was checked, even if another process has its number when the signal is sent.
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		environment, err := os.ReadFile("/proc/" + entry.Name() + "/environ") // fails for processes of other users
		if err == nil && hasLine(environment, mark) && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil {
			found = true
		}
		_ = unix.Close(fd)
	}
	return found
}

// hasLine reports whether line is an entry of environment, a list of entries that each end with NUL.
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
