package escape

import (
	"testing"

	"github.com/framehost/framehost/codecs/codecrpc/rpctest"
	"github.com/framehost/framehost/codecs/codectest"
)

func TestMain(m *testing.M) { rpctest.Main(m, Codec) }

// Every third case is enough, because a process adds the same to all of them.
func TestProcess(t *testing.T) {
	var some []codectest.Case
	for i, c := range suite() {
		if i%3 == 0 {
			some = append(some, c)
		}
	}
	rpctest.EachPlane(t, func(t *testing.T, plane rpctest.Plane) {
		codectest.RunCalls(t, plane.Start(t, nil), some...)
	})
}
