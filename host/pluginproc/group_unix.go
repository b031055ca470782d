//go:build unix && !linux

package pluginproc

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup makes a process the leader of a new process group. That its host died it learns by its standard input.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// reap returns when the process has ended, and calls ended. To wait without reaping is not to be had everywhere, so the
// number of the process could, within a few instructions, be another's: numbers are not used again that soon.
func reap(cmd *exec.Cmd, ended func()) {
	_ = cmd.Wait() // what it would say is in the state of cmd
	ended()
}

// killGroup kills everything in the group that p leads.
func killGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

// wasKilled reports whether a process was ended by SIGKILL.
func wasKilled(state *os.ProcessState) bool {
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// fromOutside reports whether a process was ended by a signal that is sent by others, rather than raised by what it did itself.
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
