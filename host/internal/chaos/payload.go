//go:build linux

package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
)

// longestPayload is that of the rare long ones, in bytes.
const longestPayload = 200 << 10

// headLen is the length of what every payload begins with: see appendPayload.
const headLen = 16 + 1 + 1 + 1 + 8 + 1

// alphabet is what payloads are made of: what framings give a meaning to, and other bytes; but for '~', which is left for
// a terminator.
const alphabet = "\n\\n\x1b\r\x00\xff\xfeabcdefghijklmmopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \t"

// Payloads are those of all sessions of one seed.
type payloads struct {
	seed uint64
	text []byte // of which payloads are pieces
}

func newPayloads(seed uint64) *payloads {
	random := rand.New(rand.NewPCG(seed, 1))
	p := &payloads{seed: seed, text: make([]byte, 2*longestPayload)}
	for i := range p.text {
		p.text[i] = alphabet[random.IntN(len(alphabet))]
	}
	return p
}

// append appends frame n that an end of a session sends: 'u' is what goes to the upstream, 'd' what goes to the downstream.
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

// sessionOf returns which session a payload is of, and what it is for. It is not ok for what a neighbor made up.
func sessionOf(payload []byte) (id uint64, letter byte, ok bool) {
	if len(payload) < headLen {
		return 0, 0, false
	}
	var head [8]byte
	_, err := hex.Decode(head[:], payload[:16])
	return binary.BigEndian.Uint64(head[:]), payload[17], err == nil
}
