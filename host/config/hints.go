package config

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/framehost/framehost/codecs"
)

// Typing mistakes are often valid YAML with another meaning. The functions in this file recognize such mistakes.

// brokenByBackslash matches "\", which was meant to be a text of one backslash. In YAML, \" is an escaped quote, and the text goes on to
// the next quote.
var brokenByBackslash = regexp.MustCompile(`(?:^|[:,\[{\s])("\\")(?:[\s,}\]#]|$)`)

// backslashes adds an error for each line with "\" in it, and reports whether there is any such line. Call it after a syntax error.
func (s *source) backslashes() bool {
	found := false
	for i, line := range strings.Split(string(s.data), "\n") {
		if at := brokenByBackslash.FindStringSubmatchIndex(line); at != nil && !commented(line, at[2]) {
			column := len([]rune(line[:at[2]])) + 1
			s.addError(Position{Line: i + 1, Column: column},
				`"\", in which \ escapes the second quote: the text does not end here`, `'\' in single quotes`)
			found = true
		}
	}
	return found
}

// commented reports whether offset is in a comment: after a # that begins one. It does not recognize quotes.
func commented(line string, offset int) bool {
	hash := strings.Index(line, "#")
	return hash == 0 || hash > 0 && hash < offset && strings.ContainsAny(line[hash-1:hash], " \t")
}

// blanks are characters that look like a space but that YAML reads as letters.
var blanks = map[rune]string{
	'\u00a0': "a no-break space", '\u2007': "a figure space", '\u202f': "a narrow no-break space",
	'\u3000': "an ideographic space", '\u200b': "a zero-width space", '\ufeff': "a byte order mark",
}

// oddBlanks returns an error for the first of these blanks in each line, outside of quotes and comments. Call it only if the file has
// other errors: in a correct file such a blank is part of a text.
func oddBlanks(file string, data []byte) (errs Errors) {
	for i, line := range strings.Split(string(data), "\n") {
		column, quote := 0, rune(0)
		for offset, r := range line {
			column++
			switch {
			case quote != 0:
				if r == quote {
					quote = 0
				}
				continue
			case r == '"' || r == '\'':
				quote = r
			}
			if r == '#' && commented(line, offset+1) {
				break
			}
			if name, ok := blanks[r]; ok {
				errs = append(errs, Position{File: file, Line: i + 1, Column: column}.Error(
					fmt.Sprintf("%s (U+%04X)", name, r), "a plain one: to YAML it is a letter"))
				break
			}
		}
	}
	return errs
}

// withoutBlank recognizes a key and its value without the blank that YAML requires after the colon, such as "name:line".
func withoutBlank(text string, keys []string) (got, want string, ok bool) {
	key, value, found := strings.Cut(text, ":")
	if !found || value == "" || !slices.Contains(keys, key) {
		return "", "", false
	}
	return fmt.Sprintf("the text %s", quote(text)), fmt.Sprintf("a blank after the colon: %s: %s", key, value), true
}

// variableText matches ${NAME}, and $NAME/ at the beginning of a path.
var variableText = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*\}|^\$[A-Za-z_][A-Za-z0-9_]*/`)

const notSubstituted = "%s is taken as it is written: variables are not substituted in a file"

// variables handles values that contain a variable, as ${HOME}/x and $HOME/x do. It adds to each error about such a value that
// variables are not substituted, and returns a warning for each such value without an error.
func variables(root *node, errs Errors) (warnings []Warning) {
	seen := map[*node]bool{}
	var walk func(n *node, key string)
	walk = func(n *node, key string) {
		if seen[n] {
			return
		}
		seen[n] = true
		if found := variableText.FindString(n.text); n.kind == scalar && found != "" && n.syntax != syntaxArgument {
			text, wrong := fmt.Sprintf(notSubstituted, found), false
			for _, e := range errs {
				if e.Line == n.line && e.Column == n.column {
					wrong = true
					if e.Want == "" {
						e.Got += "; " + text
					} else {
						e.Want += "; " + text
					}
				}
			}
			if !wrong {
				warnings = append(warnings, Warning{n.at(key), text})
			}
		}
		for _, e := range n.entries {
			walk(e.value, childKey(key, e.key))
		}
		for i, item := range n.items {
			walk(item, itemKey(key, i))
		}
	}
	walk(root, "")
	return warnings
}

// inDays returns the text for an error about a duration in days, such as 2d, for which Go's syntax has no unit. It returns false if text
// is not such a duration.
func inDays(text string) (string, bool) {
	digits, ok := strings.CutSuffix(text, "d")
	days, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil {
		return "", false
	}
	return fmt.Sprintf("%dh, for there is no unit for days", 24*days), true
}

var (
	escapedByte  = regexp.MustCompile(`\\x[0-9A-Fa-f]{2}|\\[0-3][0-7]{2}|\\[nrt0]|\^[@-_]`)
	escapedBytes = regexp.MustCompile(`^(?:` + escapedByte.String() + `)+$`)
	joinedNames  = regexp.MustCompile(`^[A-Za-z0-9]{2,4}(?:[ ,+]+[A-Za-z0-9]{2,4})+$`)
	hexDigits    = regexp.MustCompile(`^(?:[0-9A-Fa-f]{2})+$`)
	hexMarked    = regexp.MustCompile(`^(?:0X|\\x|x|\$|#)((?:[0-9A-Fa-f]{2})+)$|^((?:[0-9A-Fa-f]{2})+)[hH]$`)
	bracketed    = regexp.MustCompile(`^[<\[]([A-Za-z]{2,4})[>\]]$`)
)

// intendedBytes returns the bytes value that text was probably meant to be, and whether that differs from text. For example \n, lf and 0A
// are texts of two characters, but were probably meant as one byte.
func intendedBytes(text string) (string, bool) {
	b, err := codecs.ParseBytes(text)
	if err != nil || string(b) != text {
		return "", false
	}
	named := func(name string) (string, bool) {
		b, err := codecs.ParseBytes(strings.ToUpper(name))
		if err != nil || b == codecs.Bytes(strings.ToUpper(name)) {
			return "", false
		}
		return b.String(), true
	}
	if name, ok := named(text); ok {
		return name, true
	}
	if m := bracketed.FindStringSubmatch(text); m != nil {
		return named(m[1])
	}
	if joinedNames.MatchString(text) {
		var joined codecs.Bytes
		for _, name := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,+", r) }) {
			b, err := codecs.ParseBytes(strings.ToUpper(name))
			if err != nil || string(b) == strings.ToUpper(name) {
				return "", false
			}
			joined += b
		}
		return joined.String(), true
	}
	if escapedBytes.MatchString(text) {
		var bytes []byte
		for _, one := range escapedByte.FindAllString(text, -1) {
			bytes = append(bytes, unescaped(one))
		}
		return codecs.Bytes(bytes).String(), true
	}
	if m := hexMarked.FindStringSubmatch(text); m != nil {
		return "0x" + strings.ToUpper(m[1]+m[2]), true
	}
	if hexDigits.MatchString(text) && strings.ContainsAny(text, "0123456789") {
		b, _ := hex.DecodeString(text) // the expression ensures pairs of hex digits
		for _, c := range b {
			if c >= ' ' && c < 0x7f {
				return "", false // probably meant as text
			}
		}
		return codecs.Bytes(b).String(), true
	}
	return "", false
}

// unescaped returns the byte that one match of escapedByte stands for.
func unescaped(text string) byte {
	switch named := strings.IndexByte("nrt0", text[1]); {
	case text[0] == '^':
		return text[1] - '@'
	case text[1] == 'x':
		b, _ := strconv.ParseUint(text[2:], 16, 8) // the expression ensures two hex digits
		return byte(b)
	case len(text) == 4:
		b, _ := strconv.ParseUint(text[1:], 8, 8) // the expression ensures three octal digits, of at most 255
		return byte(b)
	default:
		return "\n\r\t\x00"[named]
	}
}

// bytesWarning returns a warning if text, a bytes value, was probably meant as another one.
func bytesWarning(text string) (string, bool) {
	other, ok := intendedBytes(text)
	if !ok {
		return "", false
	}
	return fmt.Sprintf("%s is a text of %d characters; did you mean %s?", quote(text), len(text), other), true
}
