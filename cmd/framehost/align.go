package main

import (
	"bytes"
	"math"
	"slices"
)

// A part is a run of wire bytes of the same kind.
type part struct {
	kind    partKind
	wire    []byte
	payload []byte // the payload bytes that the wire bytes are, or stand for
}

type partKind int

const (
	framing   partKind = iota // bytes that frame a payload
	plain                     // payload bytes as they are
	standsFor                 // bytes that stand for other payload bytes
)

// The costs of explaining wire bytes. They are chosen so that the cheapest explanation is the one that the author of the framing would
// give: framing surrounds a payload, and the bytes inside belong to the payload.
const (
	costFraming = 2 // of a byte before or after the payload that all frames have there
	costDoubled = 4 // of a byte that is doubled
	costEscaped = 5 // of an escape and a byte that stand for another byte
	costEscape  = 6 // of an escape and another byte that stand for the escape
	costStray   = 9 // of a byte of framing elsewhere
)

// align finds which bytes of a frame are its payload and which are framing. If the payload is a part of the wire, at is its position. If
// at < 0, align looks for the cheapest explanation in which each payload byte is a byte of the wire, or an escape and a byte stand for
// it. If there is no such explanation, the framing transforms the payload as a whole.
//
// others are frames of payloads that begin and end differently. Bytes with which all frames begin or end are framing.
func align(payload, wire []byte, at int, others [][]byte) []part {
	if at >= 0 {
		return joinParts([]part{
			{kind: framing, wire: wire[:at]},
			{kind: plain, wire: wire[at : at+len(payload)], payload: payload},
			{kind: framing, wire: wire[at+len(payload):]},
		})
	}
	front, back := commonEnds(wire, others)
	if parts, ok := cheapest(payload, wire, front, back); ok {
		return joinParts(parts)
	}
	back = min(back, len(wire)-front)
	return joinParts([]part{
		{kind: framing, wire: wire[:front]},
		{kind: standsFor, wire: wire[front : len(wire)-back], payload: payload},
		{kind: framing, wire: wire[len(wire)-back:]},
	})
}

// commonEnds returns how many bytes wire has in common with all others at its front, and at its back. Without others, it returns the
// length of wire for both.
func commonEnds(wire []byte, others [][]byte) (front, back int) {
	front, back = len(wire), len(wire)
	for _, other := range others {
		n := 0
		for n < min(front, len(other)) && wire[n] == other[n] {
			n++
		}
		front = n
		n = 0
		for n < min(back, len(other)) && wire[len(wire)-1-n] == other[len(other)-1-n] {
			n++
		}
		back = n
	}
	return front, back
}

// cheapest explains a wire by its payload, with the escape byte that makes the explanation cheapest.
func cheapest(payload, wire []byte, front, back int) (parts []part, ok bool) {
	least := impossible
	for i, escape := range wire {
		if bytes.IndexByte(wire[:i], escape) >= 0 {
			continue
		}
		a := alignment{payload: payload, wire: wire, front: front, back: back, escape: escape}
		if cost := a.run(); cost < least {
			least, parts = cost, a.parts()
		}
	}
	return parts, least < impossible
}

// An alignment explains a wire by its payload.
type alignment struct {
	payload, wire []byte
	front, back   int // bytes at the ends of wire that are likely to be framing
	escape        byte
	cost          [][]int // of explaining wire[j:] by payload[i:]
}

const impossible = math.MaxInt / 2

// run fills in the table of costs, and returns the least cost of the whole wire.
func (a *alignment) run() int {
	n, m := len(a.payload), len(a.wire)
	a.cost = make([][]int, n+1)
	for i := n; i >= 0; i-- {
		a.cost[i] = make([]int, m+1)
		for j := m; j >= 0; j-- {
			a.cost[i][j], _ = a.best(i, j)
		}
	}
	return a.cost[0][0]
}

func (a *alignment) parts() []part {
	n, m := len(a.payload), len(a.wire)
	var parts []part
	for i, j := 0, 0; i < n || j < m; {
		_, next := a.best(i, j)
		parts = append(parts, next)
		i, j = i+len(next.payload), j+len(next.wire)
	}
	return parts
}

// best returns the least cost of explaining wire[j:] by payload[i:], and the first step of that explanation.
func (a *alignment) best(i, j int) (int, part) {
	n, m := len(a.payload), len(a.wire)
	least, first := impossible, part{}
	if i == n && j == m {
		return 0, first
	}
	try := func(cost int, p part) {
		if rest := a.cost[i+len(p.payload)][j+len(p.wire)]; rest < impossible && cost+rest < least {
			least, first = cost+rest, p
		}
	}
	if i < n && j < m && a.payload[i] == a.wire[j] {
		try(0, part{plain, a.wire[j : j+1], a.payload[i : i+1]})
	}
	if j < m {
		cost := costStray
		if i == 0 && j < a.front || i == n && j >= m-a.back {
			cost = costFraming
		}
		try(cost, part{framing, a.wire[j : j+1], nil})
	}
	if n > 1 && i < n && j+1 < m && a.wire[j] == a.escape {
		try(a.costEscaped(j, a.payload[i]), part{standsFor, a.wire[j : j+2], a.payload[i : i+1]})
	}
	return least, first
}

// costEscaped returns the cost when the escape at j and the byte after it stand for payload.
func (a *alignment) costEscaped(j int, payload byte) int {
	switch {
	case a.escape != payload:
		return costEscaped
	case a.wire[j+1] == payload:
		return costDoubled
	default:
		return costEscape
	}
}

// joinParts leaves out empty parts, and joins neighbours of the same kind, except those of the kind standsFor.
func joinParts(parts []part) []part {
	var joined []part
	for _, p := range parts {
		last := len(joined) - 1
		switch {
		case len(p.wire) == 0:
		case last >= 0 && joined[last].kind == p.kind && p.kind != standsFor:
			joined[last].wire = slices.Concat(joined[last].wire, p.wire)
			joined[last].payload = slices.Concat(joined[last].payload, p.payload)
		default:
			joined = append(joined, p)
		}
	}
	return joined
}

// framingBytes returns the distinct bytes of framing in parts.
func framingBytes(parts []part) []byte {
	var found []byte
	for _, p := range parts {
		if p.kind != framing {
			continue
		}
		for _, b := range p.wire {
			if !bytes.Contains(found, []byte{b}) {
				found = append(found, b)
			}
		}
	}
	return found
}
