package rpctest

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/framehost/framehost/codecs/codecrpc"
	"github.com/framehost/framehost/codecs/codecshm"
)

// A Plane is how calls travel to a plugin process.
type Plane int

// GRPC is what every process serves. SharedMemory is package codecshm.
const (
	GRPC Plane = iota
	SharedMemory
)

// Planes are all of them.
var Planes = []Plane{GRPC, SharedMemory}

// String returns the plane's name in configurations.
func (p Plane) String() string {
	if p == SharedMemory {
		return codecrpc.SharedMemory
	}
	return "grpc"
}

// EachPlane runs test for each plane, as a subtest of the plane's name.
func EachPlane(t *testing.T, test func(t *testing.T, plane Plane)) {
	t.Helper()
	for _, plane := range Planes {
		t.Run(plane.String(), func(t *testing.T) {
			plane.Require(t)
			test(t, plane)
		})
	}
}

// Require skips the test where this system doesn't have the plane. Where CI is set in the environment, a Linux system
// has them all: the test fails then.
func (p Plane) Require(t testing.TB) {
	t.Helper()
	if p != SharedMemory {
		return
	}
	if err := codecshm.Supported(); err != nil {
		if os.Getenv("CI") != "" && runtime.GOOS == "linux" {
			t.Fatalf("no shared memory: %v", err)
		}
		t.Skipf("no shared memory: %v", err)
	}
}

// offer makes command inherit what it takes to share memory, and returns the function that shares it with the process
// once that was started and described.
func offer(t testing.TB, command *exec.Cmd) (share func(*codecrpc.Client, *codecrpc.Description)) {
	t.Helper()
	plane, inherited, err := codecshm.New()
	if err != nil {
		t.Fatal(err)
	}
	const first = 3 // behind the standard three
	command.Env = append(command.Environ(), codecshm.Variable+"="+strconv.Itoa(first+len(command.ExtraFiles)))
	command.ExtraFiles = append(command.ExtraFiles, inherited)
	t.Cleanup(plane.Close) // which does nothing where the client has closed it
	return func(client *codecrpc.Client, description *codecrpc.Description) {
		t.Helper()
		inherited.Close()
		if !slices.Contains(description.DataPlanes, codecrpc.SharedMemory) {
			t.Fatalf("%s offers data planes %q, want shared memory too", command.Path, description.DataPlanes)
		}
		if err := client.Share(t.Context(), plane); err != nil {
			t.Fatalf("share memory with %s: %v", command.Path, err)
		}
	}
}
