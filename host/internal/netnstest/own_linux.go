package netnstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is the timeout for events that should happen at once.
const patience = 20 * time.Second

// inNamespace is the environment variable with the name of the test that runs in a network of its own.
const inNamespace = "FRAMEHOST_TEST_NAMESPACE"

// Own reports whether the test runs in a network of its own, which has only loopback. If it does not, Own runs the test there, in another
// process and in parallel with other tests, and returns false when that has ended.
func Own(t *testing.T) bool {
	t.Helper()
	impossible := t.Skipf
	if os.Getenv("CI") == "true" {
		impossible = t.Fatalf
	}
	if os.Getenv(inNamespace) == t.Name() {
		// A system may allow the namespace but forbid everything in it (AppArmor).
		if err := ip("link set lo up"); err != nil {
			impossible("needs to be root, or user namespaces with their rights: %v", err)
		}
		return true
	}
	t.Parallel() // it mostly waits for carriers
	if _, err := exec.LookPath("ip"); err != nil {
		impossible("needs iproute2: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=100s")
	cmd.Env = append(os.Environ(), inNamespace+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	runtime.LockOSThread() // Pdeathsig kills the process when this thread ends
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	if notAllowed(err) {
		impossible("needs to be root, or user namespaces: %v", err)
	}
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Errorf("in a namespace: %v\n%s", err, &out)
	} else if strings.Contains(out.String(), "--- SKIP") {
		t.Skip(out.String())
	}
	return false
}

// notAllowed reports whether err means that this user may not create namespaces here.
func notAllowed(err error) bool {
	for _, errno := range []error{syscall.EPERM, syscall.EACCES, syscall.ENOSPC, syscall.EINVAL} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// IP runs ip(8) in the network of the test. args are separated by spaces.
func IP(t testing.TB, args string) {
	t.Helper()
	if err := ip(args); err != nil {
		t.Fatal(err)
	}
}

// ip runs ip(8) in the network of the calling thread.
func ip(args string) error {
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w\n%s", args, err, out)
	}
	return nil
}

// NewBridge makes a bridge and gives the test an address on it, such as 10.1.0.1/24.
func NewBridge(t testing.TB, name, address string) {
	t.Helper()
	// Without a fixed hardware address, the bridge would use that of a cable, and change it when the cable is gone: then other machines
	// could not reach the bridge for seconds.
	IP(t, "link add "+name+" address 02:00:00:00:00:01 type bridge forward_delay 0 mcast_snooping 0")
	IP(t, "addr add "+address+" brd + dev "+name)
	IP(t, "link set "+name+" up")
}
