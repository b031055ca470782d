package lenprefix

import (
	"testing"

	"github.com/framehost/framehost/codecs/codecrpc/rpctest"
	"github.com/framehost/framehost/codecs/codectest"
)

func TestMain(m *testing.M) { rpctest.Main(m, Codec) }

func TestProcess(t *testing.T) { codectest.RunCalls(t, rpctest.Start(t, nil), suite()...) }
