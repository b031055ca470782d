//go:build linux

package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
)

// longestPayload is the length of the longest payloads, which are rare, in bytes.
const longestPayload = 200 << 10

// headLen is the length of the head of every payload, in bytes; see payloads.append.
const headLen = 16 + 1 + 1 + 1 + 8 + 1

// alphabet has the bytes of payloads: those with a meaning in the framings, and others. It lacks '~', which is a terminator.
const alphabet = "\n\\n\x1b\r\x00\xff\xfeabcdefghijklmmopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \t"

// Payloads makes the payloads of all sessions from one seed.
type payloads struct {
	seed uint64
	text []byte // payloads contain pieces of this text
}

func newPayloads(seed uint64) *payloads {
	random := rand.New(rand.NewPCG(seed, 1))
	p := &payloads{seed: seed, text: make([]byte, 2*longestPayload)}
	for i := range p.text {
		p.text[i] = alphabet[random.IntN(len(alphabet))]
	}
	return p
}

// append appends payload n of one direction of a session: 'u' is the direction to the upstream, 'd' the one to the downstream.
func (p *payloads) append(b []byte, session uint64, direction byte, n int) []byte {
	b = fmt.Appendf(b, "%016x %c %08d ", session, direction, n)
	var key [16]byte
	binary.LittleEndian.PutUint64(key[:], session<<1|uint64(direction)&1)
	binary.LittleEndian.PutUint64(key[8:], uint64(n))
	random := rand.NewPCG(p.seed^binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint64(key[8:]))
	x := random.Uint64()
	size := int(x % 400)
	switch x >> 48 % 1000 {
	case 0:
		size = int(x>>8) % longestPayload
	case 1, 2, 3, 4, 5:
		size = int(x>>8) % (20 << 10)
	}
	from := int(random.Uint64() % uint64(len(p.text)-longestPayload))
	return append(b, p.text[from:from+max(size-headLen, 0)]...)
}

// sessionOf returns the number of the session that a payload belongs to, and its letter: a direction, or a command to the server. ok is
// false for payloads that a neighbor invented.
func sessionOf(payload []byte) (id uint64, letter byte, ok bool) {
	if len(payload) < headLen {
		return 0, 0, false
	}
	var head [8]byte
	_, err := hex.Decode(head[:], payload[:16])
	return binary.BigEndian.Uint64(head[:]), payload[17], err == nil
}
