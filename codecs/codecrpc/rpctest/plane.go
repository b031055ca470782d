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

// A Plane is a way in which calls travel to a plugin process.
type Plane int

// GRPC is the plane that every process serves. SharedMemory is the plane of package codecshm.
const (
	GRPC Plane = iota
	SharedMemory
)

// Planes are all planes.
var Planes = []Plane{GRPC, SharedMemory}

// String returns the plane's name in configurations.
func (p Plane) String() string {
	if p == SharedMemory {
		return codecrpc.SharedMemory
	}
	return "grpc"
}

// EachPlane runs test for each plane, as a subtest with the plane's name.
func EachPlane(t *testing.T, test func(t *testing.T, plane Plane)) {
	t.Helper()
	for _, plane := range Planes {
		t.Run(plane.String(), func(t *testing.T) {
			plane.Require(t)
			test(t, plane)
		})
	}
}

// Require skips the test if this system does not have the plane. If CI is set in the environment and the system is Linux,
// the test fails instead: there every plane must exist.
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

// offer makes command inherit the descriptor for shared memory. It returns the function that shares memory with the
// process after the process was started and described.
func offer(t testing.TB, command *exec.Cmd) (share func(*codecrpc.Client, *codecrpc.Description)) {
	t.Helper()
	plane, inherited, err := codecshm.New()
	if err != nil {
		t.Fatal(err)
	}
	const first = 3 // descriptors 0 to 2 are the standard ones
	command.Env = append(command.Environ(), codecshm.Variable+"="+strconv.Itoa(first+len(command.ExtraFiles)))
	command.ExtraFiles = append(command.ExtraFiles, inherited)
	t.Cleanup(plane.Close) // does nothing if the client has closed it
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
