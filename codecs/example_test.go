package codecs_test

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// Options of the bar codec: payloads end with a bar.
type Options struct {
	Bar codecs.Bytes `json:"bar" jsonschema_description:"ends each payload; 1 byte"`
}

type bar struct{ end byte }

// Bar is a whole codec. codecrpc.Serve(Bar) in a main function makes it a plugin.
var Bar = codecs.New(codecs.Info{Name: "bar", Version: "1.0.0", Description: "payloads end with a bar"},
	Options{Bar: "|"},
	func(o *Options, maxFrame int) (codecs.Framing, error) {
		if len(o.Bar) != 1 {
			return nil, &codecs.OptionError{Option: "bar", Got: fmt.Sprintf("%d bytes", len(o.Bar)), Want: "1 byte"}
		}
		return bar{o.Bar[0]}, nil
	})

func (b bar) MaxWire(maxFrame int) int { return maxFrame + 1 }

func (b bar) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	begin, from := 0, in.Examined
	for {
		i := bytes.IndexByte(in.Bytes[from:], b.end)
		if i < 0 {
			out.SetExamined(len(in.Bytes))
			if in.EOF && begin < len(in.Bytes) {
				return begin, &codecs.Fault{Offset: begin, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: "a bar", Resume: len(in.Bytes)}
			}
			return begin, nil
		}
		if err := out.Refer(begin, from+i); err != nil {
			return begin, err
		}
		begin, from = from+i+1, from+i+1
	}
}

func (b bar) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	for i := range in.Len() {
		payload := in.At(i)
		if at := bytes.IndexByte(payload, b.end); at >= 0 {
			return i, &codecs.Fault{At: at, Err: codecs.ErrUnrepresentable, Want: "no bar"}
		}
		wire, err := out.Grow(len(payload) + 1)
		if err != nil {
			return i, err
		}
		if err := out.Commit(append(append(wire, payload...), b.end)); err != nil {
			return i, err
		}
	}
	return in.Len(), nil
}

func Example() {
	framing, _, err := Bar.Configure(nil, 1024)
	if err != nil {
		fmt.Println(err)
		return
	}
	var found codeccall.Decoded
	var runner codeccall.Runner
	in := codeccall.Decode{Wire: []byte("hi|ho|a")}
	if err := runner.Decode(framing, 1024, &in, &found); err != nil {
		fmt.Println(err)
		return
	}
	for _, ref := range found.Refs {
		fmt.Printf("%s\n", in.Wire[ref.Off:ref.Off+ref.Len])
	}
	fmt.Println(found.Consumed, "bytes consumed")
	// Output:
	// hi
	// ho
	// 6 bytes consumed
}

// Lines of text from two functions: one finds a frame, the other writes one.
func ExampleFromFuncs() {
	lines := codecs.FromFuncs(codecs.Funcs{
		Split: func(data []byte, _ bool) (advance int, token []byte, err error) {
			if i := bytes.IndexByte(data, '\n'); i >= 0 {
				return i + 1, data[:i], nil
			}
			return 0, nil, nil
		},
		Append: func(dst, payload []byte) ([]byte, error) {
			if bytes.IndexByte(payload, '\n') >= 0 {
				return nil, errors.New("a newline in a line")
			}
			return append(append(dst, payload...), '\n'), nil
		},
		Overhead: 1,
		Want:     "a line that ends in a newline",
	})
	var found codeccall.Decoded
	var runner codeccall.Runner
	in := codeccall.Decode{Wire: []byte("hi\nho\na"), EOF: true}
	if err := runner.Decode(lines, 1024, &in, &found); err != nil {
		fmt.Println(err)
		return
	}
	for _, ref := range found.Refs {
		fmt.Printf("%s\n", in.Wire[ref.Off:ref.Off+ref.Len])
	}
	fmt.Println(found.Fault)
	// Output:
	// hi
	// ho
	// truncated frame at offset 7 (frame begins at 6): want a line that ends in a newline
}
