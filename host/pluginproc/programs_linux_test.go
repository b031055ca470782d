package pluginproc

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

func init() {
	// The main thread made the request to be killed with the parent.
	if len(os.Args) == 3 && os.Args[2] == "not-reported" {
		runtime.LockOSThread()
	}
}

// systemPrograms returns programs that only this system can run.
func systemPrograms() map[string]func() {
	return map[string]func(){
		"with-scribbler": func() { startScribblerOnce(); serveNumbered() },
		"scribbler":      scribble,
		"confined":       func() { forbid(os.Getenv("FORBID")); serveNumbered() },
		"confined-host":  tellThePlane,
	}
}

func stopMyself() {
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		panic(err)
	}
}

func forgetParentDeath() {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0); err != nil {
		panic(err)
	}
}

func detachedAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// lockThreadForGood makes the thread of the calling goroutine end with the goroutine.
func lockThreadForGood() { runtime.LockOSThread() }
