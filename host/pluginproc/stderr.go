package pluginproc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/time/rate"
)

// Bounds of what is logged of a plugin's standard error.
const (
	maxLine      = 8 << 10 // bytes of a line; the rest is dropped
	linesBurst   = 200     // lines at once, such as the trace of a panic
	linesPerSec  = 50      // lines a second in the long run
	tailLines    = 10      // lines that are kept to tell what happened when the process dies
	maxTailBytes = 300     // of each of those
)

// A stderrLog is what stands between a process's standard error and go-plugin, which logs it. go-plugin takes a
// line that is JSON for a record of hclog's, panics (and the host with it) when its "@message", "@level" or
// "@timestamp" is anything but a string, and passes on as many lines, of any bytes, as the plugin cares to write. What
// gets past a stderrLog is harmless: printable UTF-8 in lines of bounded length and rate, in which those three are
// strings.
//
// Two streams end in it. Standard error itself; and, since go-plugin exchanges os.Stderr in a plugin written in Go
// for a pipe that it reads itself, what comes by way of go-plugin.
type stderrLog struct {
	to *io.PipeWriter

	mu      sync.Mutex // guards what follows
	limiter *rate.Limiter
	dropped int // lines since the last that was passed on
	tail    []string
	reason  string // the line in which a Go program says why it died
}

func newStderrLog() *stderrLog { return &stderrLog{limiter: rate.NewLimiter(linesPerSec, linesBurst)} }

// stream returns a writer for one of the streams.
func (l *stderrLog) stream() *stderrStream { return &stderrStream{log: l} }

// A stderrStream takes one stream apart into lines. Its Write never fails.
type stderrStream struct {
	log    *stderrLog
	line   []byte // unfinished, at most maxLine bytes of it
	longer int    // bytes of it that were dropped
}

func (s *stderrStream) Write(p []byte) (int, error) {
	n := len(p)
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			s.keep(p)
			return n, nil
		}
		s.keep(p[:end])
		s.finish()
		p = p[end+1:]
	}
}

// Close says that the process has ended, and nothing will follow on any stream. An unfinished line is passed on for
// what it is.
func (s *stderrStream) Close() error {
	if len(s.line) > 0 {
		s.finish()
	}
	return s.log.close()
}

func (s *stderrStream) keep(p []byte) {
	room := min(len(p), maxLine-len(s.line))
	s.line = append(s.line, p[:room]...)
	s.longer += len(p) - room
}

// finish passes on the line that has been kept.
func (s *stderrStream) finish() {
	line := bytes.TrimSuffix(s.line, []byte("\r"))
	clean := ""
	if s.longer == 0 {
		clean = cleanJSON(line)
	}
	if clean == "" {
		clean = cleanLine(line)
	}
	if s.longer > 0 {
		clean = fmt.Sprintf("%s... (%d bytes more)", clean, s.longer)
	}
	s.line, s.longer = s.line[:0], 0
	s.log.logLine(clean)
}

// logLine remembers a line and passes it on, if the rate allows.
func (l *stderrLog) logLine(line string) {
	l.mu.Lock()
	l.remember(line)
	if !l.limiter.Allow() {
		l.dropped++
		l.mu.Unlock()
		return
	}
	confession := l.droppedNotice()
	l.mu.Unlock()
	// Not under the lock, for a logger may block. It fails when go-plugin has lost interest.
	_, _ = io.WriteString(l.to, confession+line+"\n")
}

func (l *stderrLog) close() error {
	l.mu.Lock()
	confession := l.droppedNotice()
	l.mu.Unlock()
	_, _ = io.WriteString(l.to, confession)
	return l.to.Close()
}

// droppedNotice returns a line that says how many lines were dropped since the last one; "" if none was.
func (l *stderrLog) droppedNotice() string {
	if l.dropped == 0 {
		return ""
	}
	n := l.dropped
	l.dropped = 0
	return fmt.Sprintf("[WARN] %d lines dropped: the plugin writes more than %d lines a second to standard error\n",
		n, linesPerSec)
}

func (l *stderrLog) remember(line string) {
	if len(line) > maxTailBytes {
		line = strings.ToValidUTF8(line[:maxTailBytes], "") + "..."
	}
	if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
		l.reason = line
	}
	if len(l.tail) == tailLines {
		l.tail = slices.Delete(l.tail, 0, 1)
	}
	l.tail = append(l.tail, line)
}

// last returns the last lines; before them, where a trace has pushed it out, the one that says why the process died.
func (l *stderrLog) last() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reason != "" && !slices.Contains(l.tail, l.reason) {
		return append([]string{l.reason, "..."}, l.tail...)
	}
	return slices.Clone(l.tail)
}

// cleanJSON returns line as a record of hclog's that go-plugin can take, or "" if it is no JSON object.
func cleanJSON(line []byte) string {
	var record map[string]any
	if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &record) != nil {
		return ""
	}
	record = cleanValue(record).(map[string]any)
	for _, key := range []string{"@message", "@level", "@timestamp"} {
		value, ok := record[key]
		if _, isString := value.(string); ok && !isString {
			record[key] = fmt.Sprint(value)
		}
	}
	// A timestamp that is none would make go-plugin log the whole record as text.
	if at, ok := record["@timestamp"].(string); ok {
		if _, err := time.Parse("2006-01-02T15:04:05.000000Z07:00", at); err != nil {
			delete(record, "@timestamp")
			record["timestamp_as_written"] = at
		}
	}
	clean, err := json.Marshal(record)
	if err != nil {
		return ""
	}
	return string(clean)
}

// cleanValue makes the strings of a decoded JSON value printable, the names in it too: hclog writes them as they are.
func cleanValue(v any) any {
	switch v := v.(type) {
	case string:
		return cleanLine([]byte(v))
	case []any:
		for i := range v {
			v[i] = cleanValue(v[i])
		}
	case map[string]any:
		for _, key := range slices.Collect(maps.Keys(v)) {
			value := cleanValue(v[key])
			delete(v, key)
			v[cleanLine([]byte(key))] = value
		}
	}
	return v
}

// cleanLine writes bytes that are not printable UTF-8 as escapes, so that they can't end the line, move the cursor, or
// make up log lines of their own. A tab becomes a blank.
func cleanLine(line []byte) string {
	var clean strings.Builder
	for len(line) > 0 {
		r, size := utf8.DecodeRune(line)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&clean, `\x%02x`, line[0])
		case r == '\t':
			clean.WriteByte(' ')
		case unicode.IsPrint(r):
			clean.WriteRune(r)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&clean, `\x%02x`, r)
		default:
			fmt.Fprintf(&clean, `\u%04x`, r)
		}
		line = line[size:]
	}
	return clean.String()
}
