package codecrpc

import (
	"encoding/json"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codectest"
)

func TestSuite(t *testing.T) {
	client := serveUnix(t, lines)
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
		// Frames so long that the process keeps them while they arrive.
		codectest.Case{Options: `{"terminator": "~"}`, MaxFrame: keepFrom + 4000, Accept: []string{"\n"}})
}
