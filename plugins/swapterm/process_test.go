package swapterm_test

import (
	"testing"

	"github.com/framehost/framehost/codecs/codecrpc/rpctest"
	"github.com/framehost/framehost/codecs/codectest"
	"github.com/framehost/framehost/plugins/swapterm"
)

func TestMain(m *testing.M) { rpctest.Main(m, swapterm.Codec) }

func TestProcess(t *testing.T) { codectest.RunCalls(t, rpctest.Start(t, nil), suite()...) }
