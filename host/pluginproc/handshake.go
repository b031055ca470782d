package pluginproc

import (
	"bytes"
	"io"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
)

// maxHandshake bounds the first line of a plugin's standard output, in bytes.
const maxHandshake = 4096

// A handshakeFilter filters the standard output of a process before it reaches go-plugin: it passes on the first line, the handshake,
// and drops everything after it. Without the filter, go-plugin would stop reading at a line of more than 64 KiB, and a plugin that
// goes on writing would hang.
type handshakeFilter struct {
	log hclog.Logger
	to  *io.PipeWriter

	mu      sync.Mutex // guards line, which diagnose reads
	line    []byte
	passed  bool
	dropped bool
}

// Write adds p to the first line, passes the line on when it is complete or has maxHandshake bytes, and drops the rest. It never fails.
func (f *handshakeFilter) Write(p []byte) (int, error) {
	n := len(p)
	if f.passed {
		f.drop(p)
		return n, nil
	}
	f.mu.Lock()
	room := maxHandshake - len(f.line)
	end := bytes.IndexByte(p[:min(len(p), room)], '\n')
	whole := end >= 0 || len(p) >= room
	if end < 0 {
		end = min(len(p), room)
	}
	f.line = append(f.line, p[:end]...)
	line := f.line
	f.mu.Unlock()
	if whole {
		f.passed = true
		_, _ = f.to.Write(append(line[:len(line):len(line)], '\n')) // fails when go-plugin does not read any more
		f.drop(p[min(end+1, len(p)):])
	}
	return n, nil
}

// Close passes on an unfinished first line and closes the output. Call it when the process has ended.
func (f *handshakeFilter) Close() error {
	if line := f.first(); !f.passed && line != "" {
		_, _ = f.to.Write([]byte(line + "\n"))
	}
	return f.to.Close()
}

func (f *handshakeFilter) drop(p []byte) {
	if len(p) > 0 && !f.dropped {
		f.dropped = true
		f.log.Debug("what the plugin writes to standard output is dropped", "first", cleanLine(p[:min(len(p), 80)]))
	}
}

// first returns the part of the first line that has been received, without spaces at its ends.
func (f *handshakeFilter) first() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.TrimSpace(string(f.line))
}
