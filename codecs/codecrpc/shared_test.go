package codecrpc

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecshm"
)

// serveShared is serveUnix for calls over shared memory. Both ends are in this process.
func serveShared(t *testing.T, codec codecs.Codec) *Client {
	t.Helper()
	if err := codecshm.Supported(); err != nil {
		if os.Getenv("CI") != "" && runtime.GOOS == "linux" {
			t.Fatalf("no shared memory: %v", err)
		}
		t.Skipf("no shared memory: %v", err)
	}
	plane, inherited, err := codecshm.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(codecshm.Variable, strconv.Itoa(duplicate(t, inherited)))
	client := serveUnix(t, codec)
	description, err := client.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(description.DataPlanes, SharedMemory) {
		t.Fatalf("data planes %q are offered, want shared memory too", description.DataPlanes)
	}
	if err := client.Share(t.Context(), plane); err != nil {
		plane.Close()
		t.Fatal(err)
	}
	return client
}
