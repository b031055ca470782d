package pluginproc

import (
	"testing"

	"github.com/framehost/framehost/codecs/codecshm"
)

// onPlanes runs a test for each data plane that this system supports.
func onPlanes(t *testing.T, test func(t *testing.T, plane DataPlane)) {
	t.Helper()
	for _, plane := range []DataPlane{GRPC, SHM} {
		t.Run(string(plane), func(t *testing.T) {
			if plane == SHM {
				needsSharedMemory(t)
			}
			test(t, plane)
		})
	}
}

func needsSharedMemory(t *testing.T) {
	t.Helper()
	if err := codecshm.Supported(); err != nil {
		t.Skip(err)
	}
}

// by returns spec with the data plane.
func by(plane DataPlane, spec Spec) Spec {
	spec.DataPlane = plane
	return spec
}
