package pluginproc

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup shields the process from the console's Ctrl-C. The process learns of the host's death when its standard input ends.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP, HideWindow: true}
}

// reap waits for the process to end, and then calls ended.
func reap(cmd *exec.Cmd, ended func()) {
	_ = cmd.Wait() // cmd.ProcessState says how the process ended
	ended()
}

// killGroup kills p. Windows can't kill a process group: the processes that p started end when their own pipes end.
func killGroup(p *os.Process) { _ = p.Kill() }

// wasKilled reports whether killGroup may have ended a process: the process then has exit code 1.
func wasKilled(state *os.ProcessState) bool { return state.ExitCode() == 1 }

// fromOutside reports whether another process may have ended a process.
func fromOutside(state *os.ProcessState) bool { return wasKilled(state) }
