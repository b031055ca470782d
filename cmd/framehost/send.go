package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/framehost/framehost/host/config"
)

// A sender is `framehost send`.
type sender struct {
	codecArg
	replyCodec string
	file       string
	lines      bool
	timeout    time.Duration
}

func newSend() *cobra.Command {
	s := &sender{}
	cmd := &cobra.Command{
		Use:   "send CODEC ADDRESS [TEXT...]",
		Short: "Send strings through a codec, and print what comes back",
		Long: `Connect to ADDRESS, which is tcp://HOST:PORT, HOST:PORT or unix://PATH, and send each TEXT as a frame. Without TEXT,
send a file (--file) or standard input, as one payload or, with --lines, each line as a payload. Then end that
direction, and print each payload that comes back, followed by a newline, until the peer ends its direction too.

` + codecArgHelp + ` What comes back is
decoded with the same codec, unless --reply-codec names another.

The exit code is 3 if the framing can't carry a payload, or if the reply breaks its framing, and 1 if the connection
fails.`,
		Example: `  framehost send escaped tcp://127.0.0.1:7001 "hello"
  framehost send mllp hl7.example:2575 --file admission.hl7
  framehost send newline unix:///run/scale.sock --lines < readings.txt`,
		Args: arguments(2, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.run(cmd, args[0], args[1], args[2:])
		},
	}
	s.addFlags(cmd)
	cmd.Flags().StringVar(&s.replyCodec, "reply-codec", "", "the `CODEC` of what comes back, with its own options; -o does not apply to it")
	cmd.Flags().StringVar(&s.file, "file", "", "send what `FILE` holds")
	cmd.Flags().BoolVar(&s.lines, "lines", false, "of a file or standard input, each line is a payload")
	cmd.Flags().DurationVar(&s.timeout, "timeout", 10*time.Second,
		"the longest `DURATION` to connect, without the peer taking a byte, and, once all is sent, without a byte from it; 0s: no limit")
	_ = cmd.MarkFlagFilename("file") // fails for unknown flags only
	_ = cmd.RegisterFlagCompletionFunc("reply-codec", s.complete)
	return cmd
}

func (s *sender) run(cmd *cobra.Command, name, address string, texts []string) error {
	ctx := cmd.Context()
	if s.timeout < 0 {
		return fmt.Errorf("--timeout: got %s, want 0s or more", s.timeout)
	}
	to, err := parseTarget(address)
	if err != nil {
		return err
	}
	encode, done, err := s.content(ctx, cmd.InOrStdin(), texts)
	if err != nil {
		return err
	}
	defer done()
	return s.withCodec(ctx, name, func(out *namedCodec) error {
		if s.replyCodec == "" {
			return s.exchange(ctx, to, encode, out, out, cmd.OutOrStdout())
		}
		other := codecArg{source: s.source, maxFrame: s.maxFrame}
		return other.withCodec(ctx, s.replyCodec, func(back *namedCodec) error {
			return s.exchange(ctx, to, encode, out, back, cmd.OutOrStdout())
		})
	})
}

func (s *sender) exchange(ctx context.Context, to *config.Address, encode encodeFunc, out, back *namedCodec, stdout io.Writer) error {
	network, address := to.Network()
	conn, err := (&net.Dialer{Timeout: s.timeout}).DialContext(ctx, network, address)
	if err != nil {
		return failed(err)
	}
	x := &exchange{conn: conn.(halfCloser), peer: to.String(), timeout: s.timeout} // tcp and unix connections are half-closers
	return x.run(ctx, encode, out, back, stdout)
}

// parseTarget reads an ADDRESS.
func parseTarget(text string) (*config.Address, error) {
	url := text
	if !strings.Contains(text, "://") {
		url = "tcp://" + text
	}
	address, err := config.ParseAddress(url, "", false)
	if err != nil {
		return nil, fmt.Errorf("address %s: %w", text, err)
	}
	if address.Scheme != "tcp" && address.Scheme != "unix" {
		return nil, fmt.Errorf("address %s: got %s://, want tcp:// or unix://", text, address.Scheme)
	}
	return address, nil
}

// content returns the function that writes the payloads. The function calls done when they were written.
func (s *sender) content(ctx context.Context, stdin io.Reader, texts []string) (encode encodeFunc, done func(), err error) {
	done = func() {}
	switch {
	case len(texts) > 0 && s.file != "":
		return nil, nil, fmt.Errorf("send: got --file and %s, want one of them", count(len(texts), "text"))
	case len(texts) > 0 && s.lines:
		return nil, nil, errors.New("send: got --lines and a text, want --lines only for a file or standard input")
	case len(texts) > 0:
		return func(ctx context.Context, w *frameWriter) error { return encodeTexts(ctx, w, texts) }, done, nil
	}
	in := input{source: stdin, lines: s.lines}
	if s.file != "" {
		f, err := os.Open(s.file)
		if err != nil {
			return nil, nil, failed(err)
		}
		in.source, done = f, func() { _ = f.Close() }
	}
	in.source = interruptibly(ctx, in.source)
	return in.encode, done, nil
}

// encodeFunc writes payloads and the end of their stream.
type encodeFunc func(context.Context, *frameWriter) error

func encodeTexts(ctx context.Context, w *frameWriter, texts []string) error {
	var p payloads
	for _, text := range texts {
		p.add([]byte(text))
	}
	err := w.write(ctx, &p)
	if err == nil {
		err = w.end(ctx)
	}
	return faultyOrFailed(err, func(index int64) string { return fmt.Sprintf("text %d", index+1) })
}
