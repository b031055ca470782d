package codecrpc

import (
	"encoding/json"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codectest"
)

func TestSuite(t *testing.T) {
	t.Run("grpc", func(t *testing.T) { testSuite(t, serveUnix(t, lines)) })
	t.Run("shm", func(t *testing.T) {
		client := serveShared(t, lines)
		testSuite(t, client)
		if len(client.lanes) > 0 {
			t.Errorf("calls were made on %d streams of gRPC too", len(client.lanes))
		}
	})
}

func testSuite(t *testing.T, client *Client) {
	description, err := client.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	configure := func(options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
		return client.Configure(t.Context(), description.Info, options, maxFrame)
	}
	codectest.RunCalls(t, configure,
		codectest.Case{
			Accept: []string{"hi", ""}, Refuse: []string{"a\nb"},
			Wires: []codectest.Wire{
				{Wire: "hi\nho\na", Want: []string{"hi", "ho"}, Fault: &codecs.Fault{Offset: 6, At: 7, Err: codecs.ErrTruncated}},
			},
		},
		// Frames long enough that the process keeps their bytes while they arrive.
		codectest.Case{Options: `{"terminator": "~"}`, MaxFrame: keepFrom + 4000, Accept: []string{"\n"}})
}
