package codectest

import (
	"bufio"
	"bytes"
	"errors"
	"testing"

	"github.com/framehost/framehost/codecs"
)

func TestLines(t *testing.T) {
	lines := codecs.New(codecs.Info{Name: "lines", Version: "1.0.0", Description: "lines"}, struct{}{},
		func(*struct{}, int) (codecs.Framing, error) {
			return codecs.FromFuncs(codecs.Funcs{
				Split: bufio.ScanLines,
				Append: func(dst, payload []byte) ([]byte, error) {
					if bytes.IndexByte(payload, '\n') >= 0 || bytes.HasSuffix(payload, []byte("\r")) {
						return nil, errors.New("no")
					}
					return append(append(dst, payload...), '\n'), nil
				},
				Overhead: 2,
				Want: "a line",
			}), nil
		})
	Run(t, lines, Case{Accept: []string{"hi"}, Refuse: []string{"a\n"}, EndDelivers: true, Rescans: true})
}
