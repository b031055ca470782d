package config

import (
	"slices"
	"strings"
)

// Nearest returns the candidate that text is probably a misspelling of, or "" if none is close.
func Nearest(text string, candidates []string) string {
	best, least := "", max(1, len(text)/3)+1
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if d := distance(strings.ToLower(text), strings.ToLower(c)); d < least && d < len(c) {
			best, least = c, d
		}
	}
	return best
}

// distance returns the number of bytes to insert, delete, replace or swap with their neighbor to turn a into b, or 64 if a or b is
// longer than 64 bytes.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var prev2 []int
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev = prev, row
	}
	return prev[len(b)]
}

// oneOf describes choices for an error, and adds the one that text is probably a misspelling of.
func oneOf(text string, choices []string) string {
	want := "one of " + strings.Join(choices, ", ")
	switch {
	case len(choices) == 0:
		want = "none, for there are none"
	case len(choices) == 1:
		want = choices[0]
	}
	if near := Nearest(text, choices); near != "" && len(choices) > 1 {
		want += "; did you mean " + near + "?"
	}
	return want
}
