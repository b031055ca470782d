package codectest

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/framehost/framehost/codecs"
)

// exits marks a test process whose codec exits.
const exits = "FRAMEHOST_CODECTEST_EXITS"

func TestCodecThatExitsNamesItsCase(t *testing.T) {
	if how := os.Getenv(exits); how != "" {
		exiting := mutant{decode: func(out *codecs.Payloads, in codecs.Wire) (int, error) {
			if len(in.Bytes) > 0 {
				if how == "panic" {
					go panic("in a goroutine of its own")
					select {}
				}
				os.Exit(3)
			}
			return lines{}.Decode(out, in)
		}}
		Run(t, codecOf(exiting), Case{Name: "of one kind"})
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"exit", "panic"} {
		t.Run(how, func(t *testing.T) {
			// Not verbose: the log of the test is lost with the process.
			command := exec.CommandContext(t.Context(), self, "-test.run", "^"+strings.Split(t.Name(), "/")[0]+"$")
			command.Env = append(os.Environ(), exits+"="+how)
			out, err := command.CombinedOutput() // returns when the witness has ended too, which shares the output
			if err == nil {
				t.Fatalf("got no error, want one: the codec ends the process; output:\n%s", out)
			}
			want := "codectest: the test process ended during TestCodecThatExitsNamesItsCase/of_one_kind/"
			if n := bytes.Count(out, []byte("codectest: the test process ended during ")); n != 1 || !bytes.Contains(out, []byte(want)) {
				t.Fatalf("got output:\n%s\nwant once %q and a check", out, want)
			}
			t.Logf("%s", out)
		})
	}
}

// TestWitness checks that the witness names only the checks that are running.
func TestWitness(t *testing.T) {
	tests := []struct{ log, want string }{
		{"", ""},
		{"+a\n+a/b\n-a/b\n-a\n", ""},
		{"+a\n-a\n+a/b\n", "a/b"},
		{"+a\n+a/b\n-a/b\n+a/c\n", "a/c"},
		{"+ab\n+a\n", "ab a"},
		{"+a\n+a\n-a\n", "a"},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		reportUnfinished(strings.NewReader(tt.log), &out)
		var want strings.Builder
		for _, name := range strings.Fields(tt.want) {
			want.WriteString("codectest: the test process ended during " + name + ": a codec must return, and never exit\n")
		}
		if out.String() != want.String() {
			t.Errorf("%q: got %q, want %q", tt.log, out.String(), want.String())
		}
	}
}
