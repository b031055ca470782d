package pluginproc

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup makes a process the leader of a new process group, and asks the kernel to kill it when the thread that started it ends;
// see runner.run. The end of standard input also reports the host's death, but only to a plugin that reads it. The kernel drops the
// request for a program with set-user-ID or file capabilities; such a plugin must watch its standard input.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// reap returns when the process has ended and was reaped. It calls ended before reaping, while no other process or group can get the
// process number.
func reap(cmd *exec.Cmd, ended func()) {
	for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	ended()
	_ = cmd.Wait() // cmd.ProcessState says how the process ended
}

// killGroup kills everything in the group that p leads. p has not been reaped.
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
