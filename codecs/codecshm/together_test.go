//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/framehost/framehost/codecs/codeccall"
)

// randomWire returns about n bytes of wire for mixed, most of it frames.
func randomWire(r *rand.Rand, n int) []byte {
	var wire []byte
	for len(wire) < n {
		switch r.IntN(8) {
		case 0:
			wire = append(wire, '^')
		case 1:
			if r.IntN(20) == 0 {
				wire = append(wire, '!')
			}
		case 2:
			wire = append(wire, "%\n"...)
			continue
		}
		payload := 1 + r.IntN(1+n/(1+r.IntN(10)))
		for range min(payload, 64) {
			wire = append(wire, 'a'+byte(r.IntN(26)))
		}
		if payload > 64 {
			wire = append(wire, make([]byte, payload-64)...)
		}
		if r.IntN(30) > 0 {
			wire = append(wire, '\n')
		}
	}
	return wire
}

// randomSize returns a few large and many small numbers, up to 2 MiB.
func randomSize(r *rand.Rand) int {
	switch r.IntN(40) {
	case 0:
		return r.IntN(2 << 20)
	case 1, 2, 3:
		return r.IntN(100 << 10)
	default:
		return r.IntN(3000)
	}
}

// Many concurrent sessions get the same results as in this process: complete, and only their own.
func TestAsInProcess(t *testing.T) {
	const sessions, calls, maxFrame = 200, 15, 4 << 20
	e := start(t)
	ctx := context.Background()
	var all sync.WaitGroup
	session := func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 4))
		d, plain := e.open(mixed{}, maxFrame), local(t, mixedCodec, maxFrame)
		var out, want codeccall.Decoded
		var encoded, wantEncoded codeccall.Encoded
		defer out.Return()
		defer encoded.Return()
		for range calls {
			wire := randomWire(r, randomSize(r))
			in := &codeccall.Decode{
				Wire: wire, EOF: r.IntN(3) == 0, Borrow: r.IntN(2) == 0, Room: r.IntN(1 + 2*len(wire)),
				State: append([]byte(nil), want.State...),
			}
			if loan := e.Lend(len(wire)); r.IntN(2) == 0 {
				in.Wire = loan.Bytes()[:copy(loan.Bytes(), wire)]
				in.Lent = loan
				defer loan.End()
			} else {
				loan.End()
			}
			if err := errors.Join(d.Decode(ctx, in, &out), plain.Decode(ctx, in, &want)); err != nil {
				return err
			}
			if err := sameDecoded(&out, &want); err != nil {
				return fmt.Errorf("decode: %w", err)
			}
			back := &codeccall.Encode{
				Wire: in.Wire, Data: out.Data, Refs: out.Refs, EOF: in.EOF, Room: r.IntN(1 + 2*len(wire)), Lent: in.Lent,
				Borrow: r.IntN(2) == 0, State: append([]byte(nil), wantEncoded.State...),
			}
			if err := errors.Join(d.Encode(ctx, back, &encoded), plain.Encode(ctx, back, &wantEncoded)); err != nil {
				return err
			}
			if err := sameEncoded(&encoded, &wantEncoded); err != nil {
				return fmt.Errorf("encode: %w", err)
			}
		}
		return nil
	}
	seed := uint64(time.Now().UnixNano())
	for i := range uint64(sessions) {
		all.Go(func() {
			if err := session(seed + i); err != nil {
				t.Errorf("seed %d: %v", seed+i, err)
			}
		})
	}
	all.Wait()
	if e.in.lent != 0 || e.out.lent != 0 {
		t.Errorf("%d and %d blocks are lent", e.in.lent, e.out.lent)
	}
	for i := range e.lanes {
		if l := &e.lanes[i]; l.active != 0 || len(l.free) != slotCount || len(l.parked) != 0 {
			t.Errorf("lane %d: %d calls under way, %d slots free, %d parked", i, l.active, len(l.free), len(l.parked))
		}
	}
}

// If there are more calls than a lane has slots, the rest wait for one.
func TestMoreCallsThanSlots(t *testing.T) {
	const most = slotCount + 100
	full := make(chan struct{}) // a call in each slot
	goOn := make(chan struct{})
	d := impersonateLane(t, 0, func(d *double, l *serverLane) {
		var held []uint32
		d.eachCall(l, func(slot uint32) {
			if held = append(held, slot); len(held) < slotCount {
				return
			}
			if len(held) == slotCount {
				close(full)
				<-goOn
			}
			for i, slot := range held {
				if slot < slotCount {
					d.answer(l, slot)
				}
				held[i] = slotCount // answered
			}
		})
	})
	var all sync.WaitGroup
	for range most {
		all.Go(func() {
			var out codeccall.Decoded
			on := d.open(codeccall.Properties{MaxFrame: 10, MaxWire: 10})
			if err := on.Decode(context.Background(), &codeccall.Decode{}, &out); err != nil {
				t.Error(err)
			}
		})
	}
	<-full
	if submitted := d.lanes[0].control.head.Load(); submitted != slotCount {
		t.Errorf("%d calls were submitted, want %d", submitted, slotCount)
	}
	close(goOn)
	all.Wait()
	if submitted := d.lanes[0].control.head.Load(); submitted != most {
		t.Errorf("%d calls were submitted in all, want %d", submitted, most)
	}
}

// The bell is heard whenever it is rung, however the two sides alternate.
func TestOneCallAtATime(t *testing.T) {
	e := start(t)
	d := e.openOn(0, mixed{}, 100)
	var out codeccall.Decoded
	for range 3000 {
		if err := d.Decode(t.Context(), &codeccall.Decode{Wire: []byte("a\n")}, &out); err != nil || len(out.Refs) != 1 {
			t.Fatalf("got %+v, %v", out, err)
		}
	}
}
