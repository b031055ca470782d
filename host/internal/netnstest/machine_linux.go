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

// asMachine is an environment variable that is set in the processes of machines.
const asMachine = "FRAMEHOST_TEST_MACHINE"

// done is a machine's answer when it has finished a command.
const done = "done"

// A Machine is a process in a network of its own. It is the test binary, which runs only the test that calls [Serve].
type Machine struct {
	t       testing.TB
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
	killed  bool
}

// NewMachine starts a machine without any cable. test is the name of the test that calls [Serve]. The machine ends with t.
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
	_ = m.in.Close() // the machine ends when its input ends
	said := m.rest()
	if err := m.cmd.Wait(); err != nil && !m.killed {
		m.t.Errorf("machine: %v", err)
	}
	if m.t.Failed() {
		m.t.Logf("machine:\n%s", said)
	}
}

// rest returns the remaining output of the machine, up to its end.
func (m *Machine) rest() string {
	var said strings.Builder
	for m.answers.Scan() {
		said.WriteString(m.answers.Text() + "\n")
	}
	return said.String()
}

// Plug connects a cable from a bridge of the test to the machine. The interface at the bridge is called cable; the one at the machine has
// the given name and address, such as eth0 and 10.1.0.2/24.
func (m *Machine) Plug(bridge, cable, name, address string) {
	m.t.Helper()
	IP(m.t, fmt.Sprintf("link add %s type veth peer name %s netns %d", cable, name, m.cmd.Process.Pid))
	IP(m.t, "link set "+cable+" master "+bridge)
	IP(m.t, "link set "+cable+" up")
	m.Tell("ip addr add " + address + " brd + dev " + name)
	m.Tell("ip link set " + name + " up")
}

// Tell sends the machine a command, one line that begins with a verb, and waits until it is done. The verb ip runs ip(8) on the machine;
// the others are the verbs given to [Serve].
func (m *Machine) Tell(line string) {
	m.t.Helper()
	if _, err := io.WriteString(m.in, line+"\n"); err != nil {
		m.t.Fatal(err)
	}
	if !m.answers.Scan() || m.answers.Text() != done {
		m.t.Fatalf("%s: got %q, want %s\n%s", line, m.answers.Text(), done, m.rest())
	}
}

// Kill ends the machine at once, without a warning, like a loss of power.
func (m *Machine) Kill() {
	m.t.Helper()
	m.killed = true
	if err := m.cmd.Process.Kill(); err != nil {
		m.t.Fatal(err)
	}
}

// Serve runs in the process of a machine. For each command it calls the function of the verb, with the rest of the line, until there are
// no more commands. A verb that fails t ends the machine, and fails the test that sent the command. If the process is not a machine,
// Serve skips t.
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
