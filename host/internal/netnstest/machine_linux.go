package netnstest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// asMachine is the environment variable of a process that is a machine.
const asMachine = "FRAMEHOST_TEST_MACHINE"

// done is what a machine answers when it has done what it was told.
const done = "done"

// A Machine is a process in a network of its own: the test binary, which runs one test alone, that serves as machine.
type Machine struct {
	t       testing.TB
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
	killed  bool
}

// NewMachine starts a machine without any cable. test is the name of the test that calls [Serve]. The machine ends with
// t.
func NewMachine(t testing.TB, test string) *Machine {
	t.Helper()
	m := &Machine{t: t, cmd: exec.Command("/proc/self/exe", "-test.run=^"+test+"$", "-test.timeout=100s")}
	m.cmd.Env = append(os.Environ(), asMachine+"=1")
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	m.cmd.Stderr = os.Stderr
	var err error
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.answers = bufio.NewScanner(out)
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.end)
	m.Tell("ip link set lo up")
	return m
}

// end waits until the machine has ended.
func (m *Machine) end() {
	_ = m.in.Close() // that ends it
	said := m.rest()
	if err := m.cmd.Wait(); err != nil && !m.killed {
		m.t.Errorf("machine: %v", err)
	}
	if m.t.Failed() {
		m.t.Logf("machine:\n%s", said)
	}
}

// rest returns what the machine says until it ends.
func (m *Machine) rest() string {
	var said strings.Builder
	for m.answers.Scan() {
		said.WriteString(m.answers.Text() + "\n")
	}
	return said.String()
}

// Plug lays a cable from a bridge of the test to the machine. Its end at the bridge is called cable, that at the machine
// has the name and the address, such as eth0 and 10.1.0.2/24.
func (m *Machine) Plug(bridge, cable, name, address string) {
	m.t.Helper()
	IP(m.t, fmt.Sprintf("link add %s type veth peer name %s netns %d", cable, name, m.cmd.Process.Pid))
	IP(m.t, "link set "+cable+" master "+bridge)
	IP(m.t, "link set "+cable+" up")
	m.Tell("ip addr add " + address + " brd + dev " + name)
	m.Tell("ip link set " + name + " up")
}

// Tell has the machine do something, in one line that begins with a verb, and waits until that is done. The verb ip runs
// ip(8) there; the others are those that it was given to [Serve].
func (m *Machine) Tell(line string) {
	m.t.Helper()
	if _, err := io.WriteString(m.in, line+"\n"); err != nil {
		m.t.Fatal(err)
	}
	if !m.answers.Scan() || m.answers.Text() != done {
		m.t.Fatalf("%s: got %q, want %s\n%s", line, m.answers.Text(), done, m.rest())
	}
}

// Kill ends the machine at once, like a loss of power: nothing in it is told.
func (m *Machine) Kill() {
	m.t.Helper()
	m.killed = true
	if err := m.cmd.Process.Kill(); err != nil {
		m.t.Fatal(err)
	}
}

// Serve is what a machine does: it calls a verb for each line that it is told, with the rest of the line, until the test
// has no more. A verb that fails t ends the machine, and the test that told it. Where t is not a machine, it is skipped.
func Serve(t *testing.T, verbs map[string]func(rest string)) {
	if os.Getenv(asMachine) == "" {
		t.Skip("is a machine of other tests")
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), " ")
		if name == "ip" {
			IP(t, rest)
		} else if verb, ok := verbs[name]; ok {
			verb(rest)
		} else {
			t.Fatalf("got %q, which is not a verb", name)
		}
		fmt.Println(done)
	}
}
