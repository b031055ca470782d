package main

import (
	"context"

	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecstream"
)

// A locator finds where frames begin. A result has only the number of bytes consumed for all of its payloads together, so
// the wire is decoded again in prefixes. A frame ends with the shortest prefix that yields its payload. It begins after the
// bytes that the prefix one byte shorter consumes: the frames before it, and bytes that belong to no frame.
type locator struct {
	ctx       context.Context // of the decoding
	direction codeccall.Direction
	out       codeccall.Decoded
	guess     int // length of the last frame, in bytes; the next frame probably has the same length
}

func newLocator(ctx context.Context, codec codeccall.Codec) *locator {
	return &locator{ctx: ctx, direction: codec.Open(), guess: 1}
}

func (l *locator) close() { l.direction.Close() }

// locate returns the positions in wire at which the first n frames begin. Decoding starts in state.
func (l *locator) locate(wire, state []byte, n int) ([]int, error) {
	begins := make([]int, 0, n)
	for at := 0; len(begins) < n; {
		f, err := l.first(wire[at:], state)
		if err != nil {
			return nil, err
		}
		for range f.payloads { // more than one if the next frame is needed to know where this one ends
			begins = append(begins, at+f.begin)
		}
		at += f.consumed
		state = f.state
	}
	return begins[:n], nil
}

// firstFrame is the result of decoding the shortest prefix that yields a payload.
type firstFrame struct {
	begin    int
	payloads int
	consumed int
	state    []byte
}

// first finds the first frame of wire, which must have one. It tries prefixes around the guess, in growing steps, and then searches by
// halving between a prefix that is too short and one that is not.
func (l *locator) first(wire, state []byte) (f firstFrame, err error) {
	short, long := 0, len(wire)
	for k, step := l.guess, 1; long-short > 1; step *= 2 {
		if k <= short || k >= long {
			k = (short + long) / 2
		}
		if err := l.show(wire[:k], state); err != nil {
			return f, err
		}
		if len(l.out.Refs) == 0 {
			f.begin = l.out.Consumed
			short, k = k, k+step
			continue
		}
		f.note(&l.out)
		long, k = k, k-step
	}
	if f.payloads == 0 { // the shortest prefix is the whole wire
		if err := l.show(wire, state); err != nil {
			return f, err
		}
		f.note(&l.out)
	}
	l.guess = long
	return f, nil
}

func (f *firstFrame) note(out *codeccall.Decoded) {
	f.payloads, f.consumed = len(out.Refs), out.Consumed
	f.state = append([]byte(nil), out.State...)
}

// show decodes wire.
func (l *locator) show(wire, state []byte) error {
	return codecstream.Probe(l.ctx, l.direction, &codeccall.Decode{Wire: wire, State: state, Room: readSize}, &l.out)
}
