package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newEncode() *cobra.Command {
	var (
		arg   codecArg
		lines bool
	)
	cmd := &cobra.Command{
		Use:   "encode CODEC",
		Short: "Write standard input as frames",
		Long: `Write standard input, as one payload, as a frame to standard output. With --lines, each line is a payload,
without the LF that ends it, and is written as soon as it was read.

` + codecArgHelp + `

A payload that the framing can't carry is a fault: what precedes it is written, the place and the reason are
printed, and the exit code is 3.`,
		Example: `  printf 'hello' | framehost encode octet-counting
  framehost encode lenprefix -o width=4 -o format=ascii_dec --lines < orders.txt
  framehost encode scale -c relay.yaml < reading.bin | xxd`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			in := input{source: interruptibly(ctx, cmd.InOrStdin()), lines: lines}
			return arg.withCodec(ctx, args[0], func(codec *namedCodec) error {
				return encode(ctx, codec, &in, cmd)
			})
		},
	}
	arg.addFlags(cmd)
	cmd.Flags().BoolVar(&lines, "lines", false, "each line is a payload")
	return cmd
}

func encode(ctx context.Context, codec *namedCodec, in *input, cmd *cobra.Command) error {
	w := newFrameWriter(cmd.OutOrStdout(), codec)
	defer w.close()
	return in.encode(ctx, w)
}
