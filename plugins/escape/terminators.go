package escape

// addTerminators adds the states in which the beginning of a terminator is pending, so that m finds the terminator that
// ends first and, of several that end together, the longest. This is the automaton of Aho and Corasick ("Efficient string
// matching", 1975), with its failure function merged into the transitions. These states must be the first of m; the state
// in which no beginning is pending is text.
func (m *machine) addTerminators(terminators []string) {
	type node struct {
		child [256]int
		depth int
		ends  int // length of the longest terminator that ends here; 0: none does
		fail  int // the state of the longest beginning that this one ends in
	}
	trie := []*node{{}}
	for _, t := range terminators {
		at := 0
		for _, c := range []byte(t) {
			if trie[at].child[c] == 0 {
				trie[at].child[c] = len(trie)
				trie = append(trie, &node{depth: trie[at].depth + 1})
			}
			at = trie[at].child[c]
		}
		trie[at].ends = len(t)
	}
	// Breadth first, so that the transitions of shorter beginnings are known.
	queue := []int{0}
	for len(queue) > 0 {
		at := trie[queue[0]]
		root := queue[0] == 0
		queue = queue[1:]
		for c := range 256 {
			next := at.child[c]
			if next == 0 {
				if !root {
					at.child[c] = trie[at.fail].child[c]
				}
				continue
			}
			if !root {
				trie[next].fail = trie[at.fail].child[c]
			}
			if trie[next].ends == 0 {
				trie[next].ends = trie[trie[next].fail].ends
			}
			queue = append(queue, next)
		}
	}
	for _, n := range trie {
		s := state{in: n.depth, out: n.depth, hold: n.depth, whole: true}
		for c, next := range n.child {
			switch {
			case m.ignore.has[c]:
				s.next[c] = isDropped
			case trie[next].ends > 0:
				s.next[c] = endsFrame + uint16(trie[next].ends)
			default:
				s.next[c] = uint16(next)
			}
		}
		m.states = append(m.states, s)
	}
}
