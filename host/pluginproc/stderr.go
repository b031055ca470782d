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

// Limits on what the host logs of a plugin's standard error.
const (
	maxLine      = 8 << 10 // bytes of a line; the rest is dropped
	linesBurst   = 200     // lines at once, such as the trace of a panic
	linesPerSec  = 50      // lines a second in the long run
	tailLines    = 10      // last lines, kept for the error when the process dies
	maxTailBytes = 300     // bytes kept of each of these
)

// A stderrLog filters the standard error of a process before it reaches go-plugin, which logs it. Without the filter, go-plugin
// parses a line of JSON as an hclog record, panics (and the host with it) if "@message", "@level" or "@timestamp" is not a string, and
// logs as many lines, of any bytes, as the plugin writes. A stderrLog passes on printable UTF-8 only, in lines of limited length
// and rate, in which those three values are strings.
//
// A stderrLog has two input streams: standard error itself; and, because in a plugin written in Go go-plugin replaces os.Stderr by a
// pipe, the lines that go-plugin reads from that pipe.
type stderrLog struct {
	to *io.PipeWriter

	mu      sync.Mutex // guards the fields below
	limiter *rate.Limiter
	dropped int      // lines dropped since the last that was passed on
	tail    []string // last lines, oldest first
	reason  string   // the last line with which a Go program says why it died ("panic: " or "fatal error: ")
}

func newStderrLog() *stderrLog { return &stderrLog{limiter: rate.NewLimiter(linesPerSec, linesBurst)} }

// stream returns a writer for one of the input streams.
func (l *stderrLog) stream() *stderrStream { return &stderrStream{log: l} }

// A stderrStream splits one stream into lines. Its Write never fails.
type stderrStream struct {
	log    *stderrLog
	line   []byte // the first maxLine bytes of the unfinished line
	longer int    // bytes of the unfinished line that were dropped
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

// Close passes on an unfinished line and closes the log. Call it when the process has ended and nothing will follow on any stream.
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

// finish passes on the current line and starts the next.
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

// logLine adds line to the tail and passes it on if the rate allows.
func (l *stderrLog) logLine(line string) {
	l.mu.Lock()
	l.remember(line)
	if !l.limiter.Allow() {
		l.dropped++
		l.mu.Unlock()
		return
	}
	notice := l.droppedNotice()
	l.mu.Unlock()
	// Outside the lock, because a logger may block. The write fails when go-plugin does not read any more.
	_, _ = io.WriteString(l.to, notice+line+"\n")
}

func (l *stderrLog) close() error {
	l.mu.Lock()
	notice := l.droppedNotice()
	l.mu.Unlock()
	_, _ = io.WriteString(l.to, notice)
	return l.to.Close()
}

// droppedNotice returns a line that says how many lines were dropped since the last notice, or "" if none were. l.mu is held.
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

// last returns the last lines. If the line that says why the process died is not among them, because a long trace followed it, last puts
// that line and "..." first.
func (l *stderrLog) last() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reason != "" && !slices.Contains(l.tail, l.reason) {
		return append([]string{l.reason, "..."}, l.tail...)
	}
	return slices.Clone(l.tail)
}

// cleanJSON returns line as an hclog record that go-plugin can parse, or "" if line is not a JSON object.
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
	// If it could not parse the timestamp, go-plugin would log the whole record as text.
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

// cleanValue makes all strings and names in a decoded JSON value printable, because hclog writes them unchanged.
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

// cleanLine replaces everything that is not printable UTF-8 by escapes, so that it can't end the line, move the cursor or forge log
// lines. A tab becomes a space.
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
