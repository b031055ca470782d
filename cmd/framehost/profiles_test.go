package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codectest"
	"github.com/framehost/framehost/host/config"
)

// profileMaxFrame is the limit for a profile that has none.
const profileMaxFrame = 1 << 16

// Each profile writes and reads its examples byte for byte: alone, one byte at a time, and one after another.
func TestProfileExamples(t *testing.T) {
	profiles := config.Profiles()
	for i := range profiles {
		p := &profiles[i]
		t.Run(p.Name, func(t *testing.T) {
			codec := configureProfile(t, p)
			for _, x := range p.Examples {
				if !x.DecodeOnly {
					if got := encodeAll(t, codec, string(x.Payload)); got != string(x.Wire) {
						t.Errorf("encode %q:\n got  % X\n want % X", x.Payload, got, x.Wire)
					}
				}
				twice := string(x.Wire) + string(x.Wire)
				for _, tt := range []struct {
					wire string
					want []string
				}{{string(x.Wire), []string{string(x.Payload)}}, {twice, []string{string(x.Payload), string(x.Payload)}}} {
					for _, step := range []int{len(tt.wire), 1} {
						if got := decodeAll(t, codec, tt.wire, step); !slices.Equal(got, tt.want) {
							t.Errorf("decode % X in reads of %d bytes:\n got  %q\n want %q", tt.wire, step, got, tt.want)
						}
					}
				}
			}
		})
	}
}

// The options of each profile pass the suite of codecs. The profiles' own payloads must be accepted.
func TestProfileSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("the suite for each profile takes seconds")
	}
	profiles := config.Profiles()
	for i := range profiles {
		p := &profiles[i]
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			c := codectest.Case{Name: "suite", Options: string(optionsOf(t, p)), MaxFrame: 1024}
			if p.MaxFrame > 0 {
				c.MaxFrame = min(c.MaxFrame, int(p.MaxFrame))
			}
			for _, x := range p.Examples {
				c.Wires = append(c.Wires, codectest.Wire{Wire: string(x.Wire), Want: []string{string(x.Payload)}})
				if !x.DecodeOnly {
					c.Accept = append(c.Accept, string(x.Payload))
					c.Frames = append(c.Frames, codectest.Frame{Payload: string(x.Payload), Wire: string(x.Wire)})
				}
			}
			c.Sized = sizedOf(t, p)
			codec, _ := builtinCodec(p.Plugin)
			codectest.RunCalls(t, func(options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
				return codeccall.Configure(codec, options, maxFrame)
			}, c)
		})
	}
}

// sizedOf returns a function that makes payloads of any size, if the payloads of p have a header with their length: the header of p's
// first example, with another length. Otherwise sizedOf returns nil.
func sizedOf(t *testing.T, p *config.Profile) func(n int) []byte {
	t.Helper()
	var o struct {
		KeepHeader     bool `json:"keep_header"`
		Offset, Width  int
		Adjust         int
		Format, Counts string
	}
	if err := json.Unmarshal(configureProfile(t, p).Properties().Options, &o); err != nil {
		t.Fatal(err)
	}
	if !o.KeepHeader {
		return nil
	}
	header := p.Examples[0].Payload[:o.Offset+o.Width]
	return func(n int) []byte {
		payload := make([]byte, n)
		field := payload[o.Offset:copy(payload, header)]
		announced := n + o.Adjust
		if o.Counts == "payload" {
			announced -= len(header)
		}
		switch o.Format {
		case "be", "le":
			for i := range field {
				field[i] = byte(announced >> (8 * i))
			}
			if o.Format == "be" {
				slices.Reverse(field)
			}
		case "ascii_hex":
			copy(field, fmt.Sprintf("%0*x", len(field), announced))
		default:
			t.Fatalf("profile %s: a kept header in format %s, of which this test knows nothing", p.Name, o.Format)
		}
		return payload
	}
}

func optionsOf(t *testing.T, p *config.Profile) json.RawMessage {
	t.Helper()
	options, err := profileOptions(p)
	if err != nil {
		t.Fatal(err)
	}
	return options
}

func configureProfile(t *testing.T, p *config.Profile) codeccall.Codec {
	t.Helper()
	maxFrame := profileMaxFrame
	if p.MaxFrame > 0 {
		maxFrame = int(p.MaxFrame)
	}
	return configure(t, p.Plugin, string(optionsOf(t, p)), maxFrame)
}

// configure returns a built-in codec that runs in this process.
func configure(t *testing.T, plugin, options string, maxFrame int) codeccall.Codec {
	t.Helper()
	codec, ok := builtinCodec(plugin)
	if !ok {
		t.Fatalf("plugin %s is not built in", plugin)
	}
	c, err := codeccall.Configure(codec, json.RawMessage(options), maxFrame)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// encodeAll returns the wire of a stream.
func encodeAll(t *testing.T, codec codeccall.Codec, all ...string) string {
	t.Helper()
	var wire bytes.Buffer
	w := newFrameWriter(&wire, codec)
	defer w.close()
	var p payloads
	for _, payload := range all {
		p.add([]byte(payload))
	}
	if err := w.write(context.Background(), &p); err != nil {
		t.Fatal(err)
	}
	if err := w.end(context.Background()); err != nil {
		t.Fatal(err)
	}
	return wire.String()
}

// decodeAll returns the payloads of a stream that arrives in reads of step bytes.
func decodeAll(t *testing.T, codec codeccall.Codec, wire string, step int) []string {
	t.Helper()
	var got []string
	r := frameReader{codec: codec, source: inReads(wire, step), frame: func(_ int64, payload []byte) error {
		got = append(got, string(payload))
		return nil
	}}
	if err := r.run(context.Background()); err != nil {
		t.Errorf("decode % X: %v", wire, err)
	}
	return got
}
