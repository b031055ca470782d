package pluginproc

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup keeps the console's Ctrl-C from the process. That its host died it learns by its standard input.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP, HideWindow: true}
}

// reap returns when the process has ended, and calls ended.
func reap(cmd *exec.Cmd, ended func()) {
	_ = cmd.Wait() // what it would say is in the state of cmd
	ended()
}

// killGroup kills p. Windows has no groups to be killed: what p started ends when its own pipes do.
func killGroup(p *os.Process) { _ = p.Kill() }

// wasKilled reports whether a process may have been ended by killGroup: it then exits with status 1.
func wasKilled(state *os.ProcessState) bool { return state.ExitCode() == 1 }

// fromOutside reports whether a process may have been ended by others.
func fromOutside(state *os.ProcessState) bool { return wasKilled(state) }
