package pluginproc

import (
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// newSealable returns an empty file in memory that can be sealed and executed, or nil if the system can't make one.
func newSealable(name string) *os.File {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL { // MFD_EXEC is understood, and then needed, since Linux 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), name)
}

// seal makes f read-only for every process, this one included.
func seal(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS,
		unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	return os.NewSyscallError("fcntl", err)
}

// sealedCommand returns the command that executes f. The process inherits f as descriptor 3 and keeps it open, because the interpreter
// of a script opens the program again.
func sealedCommand(f *os.File, spec *Spec) *exec.Cmd {
	return &exec.Cmd{
		Path: "/proc/self/fd/3", ExtraFiles: []*os.File{f},
		Args: append([]string{spec.Path}, spec.Args...),
	}
}
