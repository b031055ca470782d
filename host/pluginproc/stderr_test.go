package pluginproc

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
)

// passed returns the lines that get past a stderrLog when write writes to one of its streams.
func passed(write func(io.WriteCloser)) (lines []string, log *stderrLog) {
	log = newStderrLog()
	var from *io.PipeReader
	from, log.to = io.Pipe()
	go func() {
		stream := log.stream()
		write(stream)
		stream.Close()
	}()
	all, _ := io.ReadAll(from)
	for line := range strings.Lines(string(all)) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines, log
}

func TestStderrLines(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	tests := []struct{ name, written, want string }{
		{"plain lines", "one\ntwo\r\n", "one|two"},
		{"no newline at the end", "one\ntwo", "one|two"},
		{"an empty line", "\n", ""},
		{"controls, tabs, no UTF-8", "a\x00\x1b[2J\tb\xff\u2028\u200e\n", `a\x00\x1b[2J b\xff\u2028\u200e`},
		{"as long as a line may be", long + "\n", long},
		{"longer", long + "yyy\nnext\n", long + "... (3 bytes more)|next"},
		{"a record", `{"@level":"info","@message":"hi","n":1}` + "\n", `{"@level":"info","@message":"hi","n":1}`},
		{"a record with what is no string", `{"@level":1,"@message":{},"@timestamp":null}` + "\n",
			`{"@level":"1","@message":"map[]","timestamp_as_written":"\u003cnil\u003e"}`},
		{"a record whose time is none", `{"@timestamp":"noon"}` + "\n", `{"timestamp_as_written":"noon"}`},
		{"a record with its time", `{"@timestamp":"2026-01-02T03:04:05.000006Z"}` + "\n", `{"@timestamp":"2026-01-02T03:04:05.000006Z"}`},
		{"a record with controls in names and values", `{"a\nb":["\u001b",{"c\r":"d"}]}` + "\n", `{"a\\x0ab":["\\x1b",{"c\\x0d":"d"}]}`},
		{"a name that becomes one of the three", `{"@message":"x"` + `,"@mess` + `age":7}` + "\n", `{"@message":"7"}`},
		{"JSON that is no object", "[1]\nnull\n{\n", "[1]|null|{"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for cut := range min(len(test.written), 100) {
				lines, _ := passed(func(w io.WriteCloser) {
					_, _ = io.WriteString(w, test.written[:cut])
					_, _ = io.WriteString(w, test.written[cut:])
				})
				if got := strings.Join(lines, "|"); got != test.want {
					t.Fatalf("cut at %d: got %q, want %q", cut, got, test.want)
				}
			}
		})
	}
}

func TestStderrRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines, log := passed(func(w io.WriteCloser) {
			_, _ = io.WriteString(w, strings.Repeat("flood\n", linesBurst+1000))
			time.Sleep(time.Second) // fake time
			_, _ = io.WriteString(w, "later\n"+strings.Repeat("flood\n", linesPerSec+5)+"panic: at last\n")
		})
		if want := linesBurst + 1 + linesPerSec + 1; len(lines) != want {
			t.Errorf("%d lines, want %d", len(lines), want)
		}
		for at, want := range map[int]string{linesBurst: "[WARN] 1000 lines dropped", linesBurst + 1: "later", len(lines) - 1: "[WARN] 7 lines dropped"} {
			if !strings.HasPrefix(lines[at], want) {
				t.Errorf("line %d is %q, want %q", at, lines[at], want)
			}
		}
		if last := log.last(); len(last) != tailLines || last[tailLines-1] != "panic: at last" {
			t.Errorf("last lines %q: want those that were dropped, too", last)
		}
	})
}

func TestStderrRemembersWhyAProgramDied(t *testing.T) {
	_, log := passed(func(w io.WriteCloser) {
		_, _ = io.WriteString(w, "panic: "+strings.Repeat("é", maxTailBytes)+"\n"+strings.Repeat("\tat some line\n", 50))
	})
	last := log.last()
	if len(last) != tailLines+2 || !strings.HasPrefix(last[0], "panic: é") || len(last[0]) > maxTailBytes+3 || last[1] != "..." {
		t.Errorf("last lines %q", last)
	}
}

func FuzzStderr(f *testing.F) {
	for _, seed := range []string{"plain\n", `{"@message":1}`, "{\"@level\":[],\"\\u0000\":\"\\n\"}\n", "\xff\x00\x1b\r\n", "[ERROR] \u2028\n"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, written []byte, cut int) {
		cut = min(max(0, cut), len(written))
		lines, _ := passed(func(w io.WriteCloser) {
			_, _ = w.Write(written[:cut])
			_, _ = w.Write(written[cut:])
		})
		for _, line := range lines {
			for _, r := range line {
				if !unicode.IsPrint(r) {
					t.Fatalf("%q holds %q", line, r)
				}
			}
			var record map[string]any
			if json.Unmarshal([]byte(line), &record) != nil {
				continue
			}
			for _, key := range []string{"@message", "@level", "@timestamp"} {
				if v, ok := record[key]; ok {
					_ = v.(string) // as go-plugin does
				}
			}
		}
	})
}
