package codectest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
)

// witnessVariable is the environment variable that makes a test binary run as a witness.
const witnessVariable = "FRAMEHOST_CODECTEST_WITNESS"

// A test that exits its process, for example with os.Exit, loses the test log. So a second process of the same binary is
// the witness: it reads from a pipe which checks begin and end. When the pipe ends, it prints the checks that were running.
func init() {
	if os.Getenv(witnessVariable) != "" {
		reportUnfinished(os.Stdin, os.Stderr)
		os.Exit(0)
	}
}

// reportUnfinished reads the names of checks that begin (+NAME) and end (-NAME), and prints those that have not ended.
func reportUnfinished(in io.Reader, out io.Writer) {
	var names []string
	for lines := bufio.NewScanner(in); lines.Scan(); {
		switch name := lines.Text(); {
		case strings.HasPrefix(name, "+"):
			names = append(names, name[1:])
		case strings.HasPrefix(name, "-"):
			if i := slices.Index(names, name[1:]); i >= 0 {
				names = slices.Delete(names, i, i+1)
			}
		}
	}
	for i, name := range names {
		within := func(other string) bool { return strings.HasPrefix(other, name+"/") }
		if !slices.ContainsFunc(names[i+1:], within) {
			fmt.Fprintf(out, "codectest: the test process ended during %s: a codec must return, and never exit\n", name)
		}
	}
}

// witnessPipe returns the pipe to the witness, or nil if the witness could not be started.
var witnessPipe = sync.OnceValue(func() io.Writer {
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	r, w, err := os.Pipe() // stays open until this process ends
	if err != nil {
		return nil
	}
	defer r.Close()
	command := exec.Command(self)
	command.Env = append(os.Environ(), witnessVariable+"=1")
	command.Stdin, command.Stderr = r, os.Stderr
	if command.Start() != nil {
		w.Close()
		return nil
	}
	return w
})

// witnessed calls check. If the process exits meanwhile, the witness prints name.
func witnessed(name string, check func()) {
	witness := witnessPipe()
	if witness == nil {
		check()
		return
	}
	name = strings.ReplaceAll(name, "\n", " ")
	fmt.Fprintf(witness, "+%s\n", name)
	defer fmt.Fprintf(witness, "-%s\n", name)
	check()
}
