//go:build unix && !linux

package pluginproc

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup makes a process the leader of a new process group. The process learns of the host's death when its standard input ends.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// reap returns when the process has ended and was reaped, and then calls ended. Not every system can wait without reaping, so another
// process could have the process number when ended is called. In practice no system uses a number again that soon.
func reap(cmd *exec.Cmd, ended func()) {
	_ = cmd.Wait() // cmd.ProcessState says how the process ended
	ended()
}

// killGroup kills everything in the group that p leads.
func killGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

// wasKilled reports whether a process was ended by SIGKILL.
func wasKilled(state *os.ProcessState) bool {
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// fromOutside reports whether a process was ended by a signal that other processes send, rather than by one that a fault of its own
// raises.
func fromOutside(state *os.ProcessState) bool {
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return false
	}
	switch status.Signal() {
	case syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGILL, syscall.SIGFPE, syscall.SIGABRT, syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGPIPE,
		syscall.SIGXCPU, syscall.SIGXFSZ:
		return false
	}
	return true
}
