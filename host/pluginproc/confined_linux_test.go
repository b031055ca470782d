//go:build linux && (amd64 || arm64)

package pluginproc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/framehost/framehost/codecs/codeccall"
)

// The system calls that forbid can forbid.
const (
	creation    = "memfd_create"
	sharing     = "mmap, shared, of a MiB and more"
	more        = "mmap, shared, of 4 MiB" // not needed before the first call
	unknownCall = "memfd_create, as a kernel that does not have it"
)

// forbid makes the kernel refuse system calls of this process and of its children, as sandboxes do.
func forbid(what string) {
	const number, secondArgument, fourthArgument = 0, 16 + 1*8, 16 + 3*8 // offsets in struct seccomp_data
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	unless := func(test uint16, k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k, Jf: skip}
	}
	end := func(with uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: with} }
	refuse := func(with unix.Errno) unix.SockFilter { return end(unix.SECCOMP_RET_ERRNO | uint32(with)) }
	allow := end(unix.SECCOMP_RET_ALLOW)
	filter := map[string][]unix.SockFilter{
		creation:    {load(number), unless(unix.BPF_JEQ, unix.SYS_MEMFD_CREATE, 1), refuse(unix.EPERM), allow},
		unknownCall: {load(number), unless(unix.BPF_JEQ, unix.SYS_MEMFD_CREATE, 1), refuse(unix.ENOSYS), allow},
		more: {
			load(number), unless(unix.BPF_JEQ, unix.SYS_MMAP, 5),
			load(fourthArgument), unless(unix.BPF_JSET, unix.MAP_SHARED, 3),
			load(secondArgument), unless(unix.BPF_JEQ, 4<<20, 1),
			refuse(unix.EPERM), allow,
		},
		sharing: {
			load(number), unless(unix.BPF_JEQ, unix.SYS_MMAP, 5),
			load(fourthArgument), unless(unix.BPF_JSET, unix.MAP_SHARED, 3),
			load(secondArgument), unless(unix.BPF_JGE, 1<<20, 1),
			refuse(unix.EPERM), allow,
		},
	}[what]
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // one thread must make both calls; the second applies to all threads
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		panic(errno)
	}
}

// tellThePlane runs a host in confinement that prints the data plane in use.
func tellThePlane() {
	forbid(os.Getenv("FORBID"))
	p, err := Start(context.Background(), Spec{Name: "numbered", DataPlane: DataPlane(os.Getenv("PLANE"))}, Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	c, err := p.Configure(context.Background(), nil, 100)
	if err == nil {
		err = newTalk(c).say(context.Background(), "hi")
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	s := p.Status()
	fmt.Printf("%s (%s)\n", s.DataPlane, s.DataPlaneReason)
}

func TestHostInConfinement(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		forbidden string
		plane     DataPlane
		want      string
	}{
		{creation, Auto, "grpc (memfd_create: operation not permitted)\n"},
		{unknownCall, Auto, "grpc (memfd_create: " + unix.ENOSYS.Error() + ")\n"},
		{creation, GRPC, "grpc ()\n"},
		{creation, SHM, "plugin numbered (built in): data plane shm: memfd_create: operation not permitted; it "},
		{sharing, Auto, "grpc (mmap: operation not permitted)\n"},
	}
	for _, test := range tests {
		t.Run(test.forbidden+"/"+string(test.plane), func(t *testing.T) {
			cmd := exec.CommandContext(testContext(t), path, programCommand, "confined-host")
			cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "FORBID="+test.forbidden, "PLANE="+string(test.plane))
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil || !strings.HasPrefix(string(out), test.want) {
				t.Errorf("got %q and %v, want %q", out, err, test.want)
			}
		})
	}
}

func TestPluginWithoutSharedMemory(t *testing.T) {
	needsSharedMemory(t)
	confined := func(what string) Spec {
		spec := program(t, "confined")
		spec.Env = map[string]string{"FORBID": what}
		return spec
	}
	tests := []struct{ name, reason string }{
		{creation, "the plugin does not offer shared memory"},
		{sharing, "the process: mmap: operation not permitted"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			warmUp(t)
			before := takeStock(t)
			p := mustStart(t, by(Auto, confined(test.name)), quick(newJournal()))
			if err := newTalk(mustConfigure(t, p)).say(testContext(t), "hi"); err != nil {
				t.Error(err)
			}
			if s := p.Status(); s.DataPlane != "grpc" || s.DataPlaneReason != test.reason || s.Restarts != 0 {
				t.Errorf("status %+v, want grpc because %s", s, test.reason)
			}
			expectStock(t, p, before)
			p, err := Start(testContext(t), by(SHM, confined(test.name)), Options{})
			if err == nil {
				p.Close()
				t.Fatal("it started")
			}
			if want := "data plane shm: " + test.reason + "; it "; !strings.Contains(err.Error(), want) {
				t.Errorf("got %q, want %q", err, want)
			}
		})
	}
}

// A plugin that was written from PROTOCOL.md does not know shared memory.
func TestPluginFromTheProtocolAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bareplugin")
	const source = "github.com/framehost/framehost/codecs/codecrpc/internal/bareplugin"
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, source).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	spec := Spec{Name: "bare", Path: path}
	p := mustStart(t, by(Auto, spec), quick(newJournal()))
	var decoded codeccall.Decoded
	err := mustConfigure(t, p).Open().Decode(testContext(t), &codeccall.Decode{Wire: []byte("hi\nho\nh"), Room: 100, Borrow: true}, &decoded)
	if err != nil || len(decoded.Refs) != 2 || decoded.Consumed != 6 {
		t.Errorf("got %+v, %v", decoded, err)
	}
	const reason = "the plugin does not offer shared memory"
	if s := p.Status(); s.DataPlane != "grpc" || s.DataPlaneReason != reason {
		t.Errorf("status %+v", s)
	}
	p, err = Start(testContext(t), by(SHM, spec), Options{})
	if err == nil {
		p.Close()
		t.Fatal("it started")
	}
	if want := "data plane shm: " + reason + "; it "; !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q", err, want)
	}
}

// A process that can't map memory that it gets later ends and says why. It does not leave calls without an answer.
func TestPluginThatCanMapNoMore(t *testing.T) {
	needsSharedMemory(t)
	spec := by(SHM, program(t, "confined"))
	spec.Env = map[string]string{"FORBID": more}
	options := quick(newJournal())
	options.CallTimeout = 0 // no limit
	p := mustStart(t, spec, options)
	err := newTalk(mustConfigure(t, p)).say(testContext(t), "hi")
	if !errors.Is(err, codeccall.ErrCodecFailed) {
		t.Errorf("got %v, want %v", err, codeccall.ErrCodecFailed)
	}
	const want = "shared memory: plane is broken: mmap: operation not permitted"
	if s := p.Status(); s.LastError == nil || !strings.Contains(s.LastError.Error(), want) {
		t.Errorf("the last error is %v, want %q in it", s.LastError, want)
	}
}
