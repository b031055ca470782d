package relay

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// Whatever members join, leave, stall and send: receivers get whole frames of each sender, in order and none twice. They get all
// frames if none may be dropped; otherwise the dropped frames are counted.
func TestHubProperty(t *testing.T) {
	for range 15 {
		seed := rand.Uint64()
		synctest.Test(t, func(t *testing.T) { hubProperty(t, rand.New(rand.NewPCG(seed, 0))) })
		if t.Failed() {
			t.Fatalf("seed %#x", seed)
		}
	}
}

type participant struct {
	*peer
	framing codecs.Framing
	policy  QueuePolicy
	number  int
	sent    int
	stays   bool
	got     []byte
	result  MemberResult
}

func hubProperty(t *testing.T, r *rand.Rand) {
	memory := NewMemory(256<<20, time.Minute)
	h := NewHub(memory)
	framings := []codecs.Framing{lines{}, counted{}, counted{built: true}}
	var inForce []codeccall.Codec
	for _, f := range framings {
		inForce = append(inForce, codec(t, f, 100_000))
	}
	policies := []QueuePolicy{DropOldest, DropNewest, Disconnect, Block}
	var all []*participant
	var work sync.WaitGroup
	add := func(stays bool) *participant {
		which, policy := r.IntN(len(framings)), policies[r.IntN(len(policies))]
		config := with(inForce[which])
		config.Queue = Queue{Frames: 1 + r.IntN(200), Bytes: 1 + r.IntN(200_000), Policy: policy}
		p := &participant{peer: join(t, h, config, 1+r.IntN(100_000)), framing: framings[which], policy: policy, number: len(all), stays: stays}
		all = append(all, p)
		work.Go(func() { p.got, _ = p.receive() })
		return p
	}
	for range 2 + r.IntN(6) {
		add(true)
	}
	synctest.Wait()
	var sending sync.WaitGroup
	send := func(p *participant, r *rand.Rand) {
		for range 1 + r.IntN(20) {
			var batch []byte
			for range 1 + r.IntN(50) {
				payload := fmt.Appendf(nil, "%d %d %s", p.number, p.sent, strings.Repeat("x", r.IntN(1<<r.IntN(12))))
				p.sent++
				batch = append(batch, wire(t, p.framing, payload)...)
			}
			if p.send(batch) != nil {
				return
			}
		}
	}
	for _, p := range all {
		seed := r.Uint64()
		sending.Go(func() { send(p, rand.New(rand.NewPCG(seed, 0))) })
	}
	for range r.IntN(10) {
		visitor := add(false)
		seed := r.Uint64()
		sending.Go(func() {
			r := rand.New(rand.NewPCG(seed, 0))
			send(visitor, r)
			if r.IntN(2) == 0 {
				_ = visitor.Reset()
			} else {
				visitor.member.End(Drained)
			}
		})
	}
	sending.Wait()
	synctest.Wait()
	h.End(Drained)
	for _, p := range all {
		_ = p.CloseWrite()
	}
	work.Wait()
	for _, p := range all {
		p.result = <-p.peer.result
	}
	for _, p := range all {
		check(t, p, all)
	}
	if used := memory.Used(); used != 0 {
		t.Errorf("%d bytes of memory are still in use", used)
	}
}

// check checks the frames that p got.
func check(t *testing.T, p *participant, all []*participant) {
	t.Helper()
	next, frames := make([]int, len(all)), make([]int, len(all))
	for _, payload := range decoded(t, p.framing, p.got) {
		words := strings.SplitN(string(payload), " ", 3)
		sender, _ := strconv.Atoi(words[0])
		number, _ := strconv.Atoi(words[1])
		if len(words) != 3 || sender == p.number || number < next[sender] {
			t.Fatalf("member %d got %.20q, want number %d or higher of sender %d", p.number, payload, next[sender], sender)
		}
		next[sender] = number + 1
		frames[sender]++
	}
	if !p.stays || p.result.Reason != Drained {
		return
	}
	missing, cut := 0, false
	for _, sender := range all {
		// Frames that a sender had not queued yet when it was cut are lost for the receivers it waited for, and counted.
		cut = cut || sender != p && sender.result.Reason != Drained
		// How many frames of a sender arrived that was over at the end is unknown; only their order is checked.
		if sender != p && sender.stays && sender.result.Reason == Drained {
			missing += sender.sent - frames[sender.number]
		}
	}
	dropped := int(p.result.Stats.DroppedFrames)
	if missing > dropped || p.policy == Block && (missing > 0 || dropped > 0 && !cut) {
		t.Errorf("member %d (%s): %d frames are missing, %d were dropped", p.number, p.policy, missing, dropped)
	}
}

// decoded returns the payloads of whole frames.
func decoded(t *testing.T, f codecs.Framing, stream []byte) [][]byte {
	t.Helper()
	direction := codec(t, f, 1<<20).Open()
	defer direction.Close()
	var all [][]byte
	for len(stream) > 0 {
		in := codeccall.Decode{Wire: stream, Room: len(stream) + 1}
		var out codeccall.Decoded
		if err := direction.Decode(context.Background(), &in, &out); err != nil || out.Fault != nil {
			t.Fatalf("decode: %v, %v", err, out.Fault)
		}
		payloads := codeccall.Encode{Wire: in.Wire, Data: out.Data, Refs: out.Refs}
		for i := range out.Refs {
			all = append(all, bytes.Clone(payloads.At(i)))
		}
		if stream = stream[out.Consumed:]; !out.More {
			break // a reset has cut the last frame
		}
	}
	return all
}
