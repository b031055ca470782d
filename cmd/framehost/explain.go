package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecstream"
	"github.com/framehost/framehost/host/config"
)

func newExplain() *cobra.Command {
	var (
		arg     codecArg
		noColor bool
	)
	cmd := &cobra.Command{
		Use:   "explain CODEC",
		Short: "Show a codec's options, and its frames byte for byte",
		Long: `Show the options that are in force, and examples of frames byte for byte: which bytes are payload, which frame
it, and what a receiver gets. The examples are those of the profile, one with framing bytes inside, and the
empty payload.

` + codecArgHelp,
		Example: `  framehost explain mllp
  framehost explain escape -o terminator=0x7E -o style=xor -o escape=0x7D
  framehost explain scale -c relay.yaml`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, out := cmd.Context(), cmd.OutOrStdout()
			return arg.withCodec(ctx, args[0], func(codec *namedCodec) error {
				var page bytes.Buffer // printed whole, or not at all
				e := explainer{codec: codec, paint: paletteFor(out, noColor), out: &page}
				if err := e.explain(ctx); err != nil {
					return failed(err)
				}
				_, err := page.WriteTo(out)
				return failed(err)
			})
		},
	}
	arg.addFlags(cmd)
	cmd.Flags().BoolVar(&noColor, "no-color", false, "no colours, as with the variable NO_COLOR; without a terminal there are none")
	return cmd
}

// An explainer writes the page about a codec.
type explainer struct {
	codec *namedCodec
	paint palette
	out   io.Writer
}

func (e *explainer) explain(ctx context.Context) error {
	if err := e.head(); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "\n%s\n", e.paint.faint(pictureLegend))
	frames, err := e.ownExamples(ctx)
	if err != nil {
		return err
	}
	if inside, ok := insidePayload(frames); ok {
		if _, err := e.example(ctx, "with framing bytes inside", inside, ""); err != nil {
			return err
		}
	}
	if !shows(frames, "") {
		_, err = e.example(ctx, "empty", "", "")
	}
	return err
}

// head writes what the codec is, and its options.
func (e *explainer) head() error {
	p := e.codec.Properties()
	fmt.Fprintf(e.out, "%s: plugin %s %s\n", e.paint.title(e.codec.name), printableText(p.Info.Name), printableText(p.Info.Version))
	description := printableText(p.Info.Description)
	if profile := e.codec.profile; profile != nil {
		description = profile.Description
		if profile.Scope != "" {
			description += "; " + profile.Scope
		}
	}
	fmt.Fprintf(e.out, "%s\n\n", description)
	options, err := inOrder(p.Options)
	if err != nil {
		return fmt.Errorf("options in force: %w", err)
	}
	longest := fmt.Sprintf("%s (the longest frame has %d bytes)", config.Size(p.MaxFrame), p.MaxWire)
	for _, o := range append(options, option{name: "max_frame", fallback: longest}) {
		fmt.Fprintf(e.out, "  %-18s  %s\n", o.name, o.fallback)
	}
	return nil
}

// inOrder returns the options of a JSON object in their order, with their values in YAML.
func inOrder(object json.RawMessage) ([]option, error) {
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	var options []option
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		options = append(options, option{name: fmt.Sprint(name), fallback: flow(value)})
	}
	return options, nil
}

// flow returns a JSON value as one line of YAML, without quotes where YAML needs none.
func flow(value json.RawMessage) string {
	var text string
	var list []json.RawMessage
	switch {
	case json.Unmarshal(value, &text) == nil:
		if text == "" || strings.ContainsAny(text, " ,:[]{}'\"#&*!|>%@`\\") {
			return "'" + strings.ReplaceAll(text, "'", "''") + "'"
		}
		return text
	case json.Unmarshal(value, &list) == nil:
		texts := make([]string, len(list))
		for i, item := range list {
			texts[i] = flow(item)
		}
		return "[" + strings.Join(texts, ", ") + "]"
	}
	members, err := inOrder(value)
	if err != nil || !bytes.HasPrefix(value, []byte("{")) {
		return string(value)
	}
	texts := make([]string, len(members))
	for i, m := range members {
		texts[i] = flow(json.RawMessage(fmt.Sprintf("%q", m.name))) + ": " + m.fallback
	}
	return "{" + strings.Join(texts, ", ") + "}"
}

// A shownFrame is an example that has a frame.
type shownFrame struct {
	payload string
	parts   []part
}

// ownExamples shows the examples of the profile, or else a plain payload.
func (e *explainer) ownExamples(ctx context.Context) ([]shownFrame, error) {
	if e.codec.profile == nil {
		return e.example(ctx, "plain", "hello", "")
	}
	var frames []shownFrame
	for i := range e.codec.profile.Examples {
		x := &e.codec.profile.Examples[i]
		wire := ""
		if x.DecodeOnly {
			wire = string(x.Wire)
		}
		shown, err := e.example(ctx, exampleTitle(x), string(x.Payload), wire)
		if err != nil {
			return nil, err
		}
		frames = append(frames, shown...)
	}
	return frames, nil
}

// example shows a payload with its frame. wire is the frame; if it is "", example encodes the payload. If the payload has no frame,
// example returns none.
func (e *explainer) example(ctx context.Context, title, payload, wire string) ([]shownFrame, error) {
	fmt.Fprintf(e.out, "\n%s\n", e.paint.title(title))
	written := []byte(wire)
	if wire == "" {
		var err error
		if written, err = encodeOne(ctx, e.codec, payload); err != nil {
			return nil, e.refusal(payload, err)
		}
	}
	if len(written) == 0 {
		fmt.Fprintf(e.out, "  %-8s  %q\n  %-8s  nothing: the payload is skipped\n", "payload", payload, "wire")
		return nil, nil
	}
	received, at, err := decodeOne(ctx, e.codec, written)
	if err != nil {
		return nil, e.refusal(payload, err)
	}
	others, err := e.others(ctx)
	if err != nil {
		return nil, err
	}
	parts := align([]byte(payload), written, at, others)
	draw(e.out, e.paint, parts)
	fmt.Fprintf(e.out, "  %-8s  %s\n", "received", quotedAll(received))
	return []shownFrame{{payload, parts}}, nil
}

// refusal shows that a payload has no frame. It returns err if err is another error.
func (e *explainer) refusal(payload string, err error) error {
	if !errors.As(err, new(*payloadFault)) && !errors.As(err, new(*wireFault)) {
		return err
	}
	fmt.Fprintf(e.out, "  %-8s  %q\n  %-8s  %v\n", "payload", payload, "refused", err)
	return nil
}

// others returns frames of payloads that begin and end differently. The payloads are lines if the framing requires lines.
func (e *explainer) others(ctx context.Context) ([][]byte, error) {
	var frames [][]byte
	for _, payload := range []string{"a", "bc", "def", "a\r\n", "bc\r\n"} {
		frame, err := encodeOne(ctx, e.codec, payload)
		switch {
		case errors.As(err, new(*payloadFault)):
			continue
		case err != nil:
			return nil, err
		}
		frames = append(frames, frame)
	}
	return frames, nil
}

// insidePayload returns a payload that contains framing bytes of frames, if frames have any.
func insidePayload(frames []shownFrame) (payload string, ok bool) {
	const most = 4
	var found []byte
	for _, f := range frames {
		for _, b := range framingBytes(f.parts) {
			if bytes.IndexByte(found, b) < 0 && len(found) < most {
				found = append(found, b)
			}
		}
	}
	return "a" + string(found) + "b", len(found) > 0
}

func shows(frames []shownFrame, payload string) bool {
	for _, f := range frames {
		if f.payload == payload {
			return true
		}
	}
	return false
}

func quotedAll(payloads []string) string {
	if len(payloads) == 0 {
		return "nothing"
	}
	texts := make([]string, len(payloads))
	for i, p := range payloads {
		texts[i] = fmt.Sprintf("%q", p)
	}
	return strings.Join(texts, " ")
}

// encodeOne returns the wire of a stream with one payload.
func encodeOne(ctx context.Context, codec *namedCodec, payload string) ([]byte, error) {
	var wire bytes.Buffer
	w := newFrameWriter(&wire, codec)
	defer w.close()
	var p payloads
	p.add([]byte(payload))
	if err := w.write(ctx, &p); err != nil {
		return nil, err
	}
	err := w.end(ctx)
	return wire.Bytes(), err
}

// decodeOne returns the payloads of wire, which is short, and the position of the first payload in wire; -1: it is not a part of wire.
func decodeOne(ctx context.Context, codec codeccall.Codec, wire []byte) (received []string, at int, err error) {
	direction := codec.Open()
	defer direction.Close()
	var out codeccall.Decoded
	if err := codecstream.Probe(ctx, direction, &codeccall.Decode{Wire: wire, EOF: true, Room: readSize}, &out); err != nil {
		return nil, -1, err
	}
	if out.Fault != nil {
		return nil, -1, faultOnWire(&codecstream.Fault{Fault: out.Fault, Wire: wire})
	}
	at = -1
	batch := codecs.Batch{Wire: wire, Data: out.Data, Refs: out.Refs}
	for i, ref := range out.Refs {
		received = append(received, string(batch.At(i)))
		if i == 0 && ref.Len > 0 && int(ref.Off) < len(wire) {
			at = int(ref.Off)
		}
	}
	return received, at, nil
}
