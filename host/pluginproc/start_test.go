package pluginproc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStartTellsWhatIsWrong(t *testing.T) {
	tests := []struct {
		program string
		want    []string // in this order
	}{
		{"exits", []string{"exit status 7 before its handshake", "loading", `cannot find the \x1b[31mconfiguration\x1b[0m`}},
		{"prints-garbage", []string{`wrote "hello, world" first`, "want the handshake line"}},
		{"prints-garbage-hastily", []string{`wrote "hello, world" first`}},
		{"closes-stdout", []string{"closed its standard output before its handshake"}},
		{"endless-line", []string{`wrote "xxxxxxxx`, "want the handshake line"}},
		{"other-cookie", []string{"exit status 1 before its handshake", "This binary is a plugin"}},
		{"other-version", []string{`speaks version "9" of the codec protocol, want 1`}},
		{"other-core", []string{"handshake", "core API version"}},
		{"not-grpc", []string{"handshake", `"netrpc"`}},
		{"elsewhere", []string{"handshake", `listens at unix "/tmp/anyone's"`, "PLUGIN_UNIX_SOCKET_DIR"}},
		{"far-away", []string{"handshake", `listens at tcp "192.0.2.1:80", want a loopback address`}},
		{"dies-after-handshake", []string{"exit status 4", "now what?"}},
	}
	for _, test := range tests {
		t.Run(test.program, func(t *testing.T) {
			p, err := Start(testContext(t), program(t, test.program), Options{})
			if err == nil {
				p.Close()
				t.Fatal("it started")
			}
			rest := err.Error()
			t.Log(rest)
			for _, want := range append([]string{"plugin " + test.program + " (/"}, test.want...) {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Fatalf("error %q\nhas no %q where it belongs", err, want)
				}
				rest = after
			}
		})
	}
}

func TestStartOfWhatIsNoProgram(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct{ name, path, want string }{
		{"there is none", filepath.Join(dir, "none"), "can't be executed: no such file or directory"},
		{"not executable", write("text", "hello", 0o600),
			"can't be executed: permission denied: its mode is -rw-------, want one with x: chmod +x " + filepath.Join(dir, "text")},
		{"a directory", dir, "can't be executed: permission denied: got a directory, want a program"},
		{"not a format that the system knows", write("data", "\x01\x02\x03", 0o700), "can't be executed: exec format error"},
		{"its interpreter does not exist", write("script", "#!/no/such/interpreter\n", 0o700), "its interpreter or loader: no such file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := Start(testContext(t), Spec{Name: "x", Path: test.path}, Options{})
			if err == nil {
				p.Close()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), "plugin x ("+test.path+"): ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want %q", err, test.want)
			}
		})
	}
}

func TestStartTimeout(t *testing.T) {
	for name, want := range map[string]string{
		"silent":          "did not come up in time (50ms): wrote no handshake line",
		"does-not-answer": "did not come up in time (300ms)",
	} {
		timeout := 50 * time.Millisecond
		if name == "does-not-answer" {
			timeout = 300 * time.Millisecond
		}
		p, err := Start(testContext(t), program(t, name), Options{StartTimeout: timeout})
		if err == nil {
			p.Close()
			t.Fatal("it started")
		}
		if !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "did not come up in time") {
			t.Errorf("%s: got %q, want %q", name, err, want)
		}
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(testContext(t))
	reason := errors.New("changed my mind")
	spec := program(t, "silent")
	launched := make(chan struct{})
	go func() { <-launched; cancel(reason) }()
	im, err := newImage(&spec)
	if err != nil {
		t.Fatal(err)
	}
	options := Options{}.withDefaults()
	_, err = start(ctx, spec, options, func(ctx context.Context) (process, error) {
		close(launched)
		return launch(ctx, &spec, im, options)
	})
	if !errors.Is(err, reason) {
		t.Errorf("got %v, want %v", err, reason)
	}
}

func TestStartRefusesSpecs(t *testing.T) {
	for want, spec := range map[string]Spec{
		"plugin: got no name":             {Path: "x"},
		"without a path":                  {Name: "x", SHA256: strings.Repeat("0", 64)},
		`got "00", want 64 hex digits`:    {Name: "x", Path: "/x", SHA256: "00"},
		"plugin nosuch (built in): ended": {Name: "nosuch"},
		`got "shmem", want one of auto`:   {Name: "x", DataPlane: "shmem"},
	} {
		p, err := Start(testContext(t), spec, Options{})
		if err == nil {
			p.Close()
			t.Fatal("it started")
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}

// Status gives the reason for the data plane only if the spec does not choose it.
func TestStatusTellsTheDataPlane(t *testing.T) {
	for asked, reasoned := range map[DataPlane]bool{"": true, Auto: true, GRPC: false} {
		s := mustStart(t, Spec{Name: "numbered", DataPlane: asked}, Options{}).Status()
		if s.DataPlane == "" || asked == GRPC && s.DataPlane != "grpc" || (s.DataPlaneReason != "") != reasoned {
			t.Errorf("asked for %q: got %q because of %q", asked, s.DataPlane, s.DataPlaneReason)
		}
	}
}

func TestPluginEnvironment(t *testing.T) {
	t.Setenv("FRAMEHOST_TEST_SECRET", "of the host")
	t.Setenv("TZ", "Antarctica/Troll")
	spec := program(t, "asks-environment")
	spec.Env = map[string]string{"OWN": "1", "LANG": "C"}
	_, err := Start(testContext(t), spec, Options{})
	if err == nil {
		t.Fatal("it started")
	}
	for _, want := range []string{"OWN=1", "LANG=C", "TZ=Antarctica/Troll", "PATH=", "PLUGIN_UNIX_SOCKET_DIR="} {
		if !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "...") {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
	if strings.Contains(err.Error(), "SECRET") {
		t.Errorf("the host's environment was passed on: %q", err)
	}
	got := strings.Join(environ(spec.Env, []string{"COOKIE=x"}), "\n")
	for _, want := range []string{"OWN=1", "TZ=Antarctica/Troll", "COOKIE=x"} {
		if !strings.Contains(got, want) {
			t.Errorf("environment lacks %s:\n%s", want, got)
		}
	}
	if strings.Contains(got, "SECRET") || strings.LastIndex(got, "LANG=C") < strings.Index(got, "LANG=") {
		t.Errorf("environment:\n%s", got)
	}
}

func TestSocketDirectoryIsShort(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	t.Setenv("XDG_RUNTIME_DIR", "")
	p := mustStart(t, Spec{Name: "numbered"}, Options{})
	if err := newTalk(mustConfigure(t, p)).say(testContext(t), "hi"); err != nil {
		t.Error(err)
	}
	dir, err := newSocketDir()
	if err != nil {
		t.Fatal(err)
	}
	defer dir.remove()
	if info, err := os.Stat(dir.path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s: %v, %v", dir.path, info.Mode(), err)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "left")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	t.Setenv("TMPDIR", dir)
	p, err := Start(testContext(t), Spec{Name: "numbered"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"prints-garbage", "exits", "dies-after-handshake"} {
		if _, err := Start(testContext(t), program(t, name), Options{}); err == nil {
			t.Fatal("it started")
		}
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Once a plugin is connected, a host that is killed leaves nothing to remove, and neither do its plugins.
func TestNothingToRemoveOnceConnected(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "none")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	t.Setenv("TMPDIR", dir)
	p := mustStart(t, Spec{Name: "numbered"}, quick(newJournal()))
	if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 {
		t.Errorf("there are %v while the plugin runs", left)
	}
	if err := newTalk(mustConfigure(t, p)).say(testContext(t), "hi"); err != nil {
		t.Error(err)
	}
}

// sweep removes the directories of hosts that are gone, and nothing else.
func TestSweep(t *testing.T) {
	base := t.TempDir()
	old := time.Now().Add(-time.Hour)
	for name, mode := range map[string]os.FileMode{
		"framehost-12": 0o700, "framehost-plugin-34": 0o700, // left behind
		"framehost-5": 0o700,                                                                                        // locked, below
		"framehost-":  0o700, "framehost-a1": 0o700, "framehost-1a": 0o700, "other-12": 0o700, "framehost-6": 0o755, // of others
	} {
		path := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Join(path, "plugin-dir1"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Chmod(path, mode), os.Chtimes(path, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	lock := lockDir(filepath.Join(base, "framehost-5"))
	if lock == nil {
		t.Skip("directories can't be locked here")
	}
	defer lock.Close()
	young, err := newPrivateDir(base, socketPattern)
	if err != nil {
		t.Fatal(err)
	}
	defer young.remove()
	if err := os.WriteFile(filepath.Join(base, "framehost-7"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	sweep(base, time.Now().Add(-leftFor))
	entries, err := os.ReadDir(base)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, entry := range entries {
		if entry.Name() != filepath.Base(young.path) {
			left = append(left, entry.Name())
		}
	}
	if got, want := strings.Join(left, " "), "framehost- framehost-1a framehost-5 framehost-6 framehost-7 framehost-a1 other-12"; got != want {
		t.Errorf("left are %s, want %s", got, want)
	}
	if len(entries) != len(left)+1 {
		t.Error("the one that was just made is gone")
	}
}
