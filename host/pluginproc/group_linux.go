package pluginproc

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup makes a process the leader of a new process group, and asks for it to be killed when the thread that starts
// it ends; see runner.run. The end of standard input says the same, but needs a plugin that listens. (A program
// with set-user-ID or file capabilities loses the request, and has the pipe alone.)
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// reap returns when the process has ended, and calls ended before its number, which is its group's as well, can be
// another's.
func reap(cmd *exec.Cmd, ended func()) {
	for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	ended()
	_ = cmd.Wait() // what it would say is in the state of cmd
}

// killGroup kills everything in the group that p leads. p has not been reaped.
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
