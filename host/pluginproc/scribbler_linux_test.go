package pluginproc

import (
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/framehost/framehost/host/internal/intruder"
)

// A scribbler is a child of a plugin that outlives the plugin and then overwrites all memory that the plugin shared with its host. The test
// has a connection to the scribbler; closing it ends the scribbler.

// startScribblerOnce starts a scribbler unless the file SCRIBBLER_ONCE exists. It creates the file.
func startScribblerOnce() {
	f, err := os.OpenFile(os.Getenv("SCRIBBLER_ONCE"), os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return
	}
	f.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "scribbler")
	cmd := exec.Command(path, programCommand, "scribbler")
	// Without the variable by which the host would find and kill it.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(line string) bool { return strings.HasPrefix(line, markVariable+"=") })
	cmd.Stderr, cmd.SysProcAttr, cmd.ExtraFiles = os.Stderr, detachedAttr(), []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	theirs.Close()
	err = intruder.Intercept(func(f *os.File) {
		if f == nil {
			return
		}
		defer f.Close()
		if err := unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(int(f.Fd())), nil, unix.MSG_NOSIGNAL); err != nil {
			panic(err)
		}
	})
	if err != nil {
		panic(err)
	}
}

// scribble is the main function of a scribbler. It reports to the test when it has begun.
func scribble() {
	conn, err := net.Dial("unix", os.Getenv("HOLDER_SOCKET"))
	if err != nil {
		panic(err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, conn)
		os.Exit(0)
	}()
	for receiveMemory(3) {
	}
	regions, err := intruder.Regions()
	if err != nil {
		panic(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for begun := false; ; begun = true {
		intruder.Flip(random, regions, 10_000)
		if !begun {
			if _, err := conn.Write([]byte{byte(len(regions))}); err != nil {
				panic(err)
			}
		}
	}
}

// receiveMemory receives memory from a socket and maps it, for writing if possible. It returns false at the end of the socket's data.
func receiveMemory(socket int) bool {
	rights := make([]byte, unix.CmsgSpace(4))
	n, rn, _, _, err := unix.Recvmsg(socket, make([]byte, 1), rights, 0)
	if err != nil || n == 0 {
		return false
	}
	messages, err := unix.ParseSocketControlMessage(rights[:rn])
	if err != nil {
		panic(err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		panic(err)
	}
	f := os.NewFile(uintptr(fds[0]), "of the host")
	defer f.Close()
	kind := intruder.KindOf(f)
	if kind == intruder.Other {
		return true
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		panic(err)
	}
	protection := unix.PROT_READ
	if kind == intruder.Writable {
		protection |= unix.PROT_WRITE
	}
	if _, err := unix.Mmap(fds[0], 0, int(size), protection, unix.MAP_SHARED); err != nil {
		panic(err)
	}
	return true
}
