package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/framehost/framehost/codecs"
)

// A decodeCommand is `framehost decode`.
type decodeCommand struct {
	codecArg
	separator string
	asJSON    bool
	skip      bool
}

func newDecode() *cobra.Command {
	d := &decodeCommand{}
	cmd := &cobra.Command{
		Use:   "decode CODEC",
		Short: "Read frames from standard input, and print their payloads",
		Long: `Read frames from standard input and write their payloads to standard output, one after another, each followed
by a newline or by what --separator says.

` + codecArgHelp + `

With --json, each frame is a line:
  offset          of the frame's first byte in the input; bytes that belong to no frame, such as those
                  between frames, and empty frames that are skipped, lie in front of it
  length          of the payload, in bytes
  payload         as text, if it is valid UTF-8
  payload_base64  instead, if it is not
To find where each frame begins, --json makes two more calls of the codec for each frame.

If the input breaks the framing, the payloads before that are written first; then the place, the faulty frame's first
bytes and what was wanted are printed, and the exit code is 3. With --skip decoding goes on after each faulty frame, if the
framing allows to find its end; the exit code is still 3.`,
		Example: `  framehost decode octet-counting < syslog.bin
  framehost decode mllp --json < captured.bin
  framehost decode netstring --separator NUL < records.bin | xargs -0 -n 1 echo`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			write, err := d.printer()
			if err != nil {
				return err
			}
			return d.withCodec(ctx, args[0], func(codec *namedCodec) error {
				return d.decode(ctx, codec, interruptibly(ctx, cmd.InOrStdin()), cmd.OutOrStdout(), cmd.ErrOrStderr(), write)
			})
		},
	}
	d.addFlags(cmd)
	cmd.Flags().StringVar(&d.separator, "separator", "LF", "what follows each payload: `BYTES` such as NUL, 0x0D0A, or text; may be empty")
	cmd.Flags().BoolVar(&d.asJSON, "json", false, "one JSON object a frame")
	cmd.Flags().BoolVar(&d.skip, "skip", false, "go on after faulty frames")
	cmd.MarkFlagsMutuallyExclusive("json", "separator")
	return cmd
}

// decode reads frames from in, and writes each payload to out with write.
func (d *decodeCommand) decode(ctx context.Context, codec *namedCodec, in io.Reader, out, stderr io.Writer, write printer) error {
	w := bufio.NewWriterSize(out, readSize)
	faults := 0
	r := &frameReader{
		source: in, codec: codec, places: d.asJSON, settled: w.Flush,
		frame: func(offset int64, payload []byte) error { return write(w, offset, payload) },
	}
	if d.skip {
		r.faulty = func(fault *wireFault) {
			faults++
			fmt.Fprintf(stderr, "framehost: %v; skipped\n", fault)
		}
	}
	err := r.run(ctx)
	err = errors.Join(faultyOrFailed(err, nil), failed(w.Flush()))
	if err == nil && faults > 0 {
		err = faulty(fmt.Errorf("%s skipped, %s", count(faults, "fault"), count(int(r.skipped), "byte")))
	}
	return err
}

// A printer writes one payload, whose frame begins at offset.
type printer func(w *bufio.Writer, offset int64, payload []byte) error

func (d *decodeCommand) printer() (printer, error) {
	if d.asJSON {
		return printFrameJSON, nil
	}
	separator, err := codecs.ParseBytes(d.separator)
	var wrong *codecs.OptionError
	if errors.As(err, &wrong) {
		return nil, fmt.Errorf("--separator: got %s, want %s", wrong.Got, wrong.Want)
	}
	return func(w *bufio.Writer, _ int64, payload []byte) error {
		_, _ = w.Write(payload) // the next write returns the error again
		_, err := w.WriteString(string(separator))
		return err
	}, nil
}

// frameJSON is a frame as --json prints it.
type frameJSON struct {
	Offset  int64   `json:"offset"`
	Length  int     `json:"length"`
	Payload *string `json:"payload,omitempty"`
	Base64  []byte  `json:"payload_base64,omitempty"`
}

func printFrameJSON(w *bufio.Writer, offset int64, payload []byte) error {
	frame := frameJSON{Offset: offset, Length: len(payload)}
	if utf8.Valid(payload) {
		text := string(payload)
		frame.Payload = &text
	} else {
		frame.Base64 = payload
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(frame)
}
