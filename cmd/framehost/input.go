package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// An interruptible reader returns an error when ctx ends, even while a read waits. The waiting read goes on by itself, since nothing can
// wake a read from standard input, and the process is about to end.
type interruptible struct {
	ctx    context.Context
	source io.Reader
	buffer []byte
}

func interruptibly(ctx context.Context, source io.Reader) *interruptible {
	return &interruptible{ctx: ctx, source: source}
}

func (r *interruptible) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	if len(r.buffer) < len(p) {
		r.buffer = make([]byte, len(p))
	}
	buffer, done := r.buffer[:len(p)], make(chan result, 1)
	go func() {
		n, err := r.source.Read(buffer)
		done <- result{n, err}
	}()
	select {
	case got := <-done:
		return copy(p, buffer[:got.n]), got.err
	case <-r.ctx.Done():
		r.buffer = nil // the read may still write to it
		return 0, r.ctx.Err()
	}
}

// An input is the data that a command encodes: all of it as one payload, or each line as a payload.
type input struct {
	source io.Reader
	lines  bool
}

// encode writes the payloads of the input, and the end of the stream.
func (in *input) encode(ctx context.Context, w *frameWriter) error {
	encode, what := in.whole, func(int64) string { return "payload" }
	if in.lines {
		encode, what = in.eachLine, func(index int64) string { return fmt.Sprintf("line %d", index+1) }
	}
	err := encode(ctx, w)
	if err == nil {
		err = w.end(ctx)
	}
	return faultyOrFailed(err, what)
}

func (in *input) whole(ctx context.Context, w *frameWriter) error {
	data, err := io.ReadAll(io.LimitReader(in.source, int64(w.encoder.MaxFrame)+1)) // one byte more shows that the payload is too long
	if err != nil {
		return err
	}
	var p payloads
	p.add(data)
	return w.write(ctx, &p)
}

// eachLine encodes each line. It encodes everything that has arrived before it waits for more.
func (in *input) eachLine(ctx context.Context, w *frameWriter) error {
	source := bufio.NewReaderSize(in.source, readSize)
	var p payloads
	for {
		line, err := readLine(source, w.encoder.MaxFrame)
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return errors.Join(err, w.write(ctx, &p))
		}
		if !end || len(line) > 0 {
			p.add(line)
		}
		if end || p.full() || !holdsLine(source) {
			if err := w.write(ctx, &p); err != nil || end {
				return err
			}
			p.reset()
		}
	}
}

func holdsLine(source *bufio.Reader) bool {
	held, _ := source.Peek(source.Buffered()) // can't fail: it peeks only at buffered bytes
	return bytes.IndexByte(held, '\n') >= 0
}

// readLine returns the next line without its LF, with io.EOF if the line ends with the input. Of a line of more than most bytes, it returns
// the first most+1 bytes, since the codec refuses such a line.
func readLine(source *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		part, err := source.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			line = line[:len(line)-1]
			return line[:min(len(line), most+1)], nil
		case len(line) > most:
			return line[:most+1], nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
}
