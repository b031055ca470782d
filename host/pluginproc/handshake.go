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

// A handshakeFilter is what stands between a process's standard output and go-plugin: it lets the first line pass, which
// is the handshake, and drops everything behind it. go-plugin itself stops reading at a line of more than 64 KiB, and a
// plugin that goes on writing would hang.
type handshakeFilter struct {
	log hclog.Logger
	to  *io.PipeWriter

	mu      sync.Mutex // guards line, which is asked for after the process failed to start
	line    []byte
	passed  bool
	dropped bool
}

// Write never fails.
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
		_, _ = f.to.Write(append(line[:len(line):len(line)], '\n')) // fails when go-plugin has lost interest
		f.drop(p[min(end+1, len(p)):])
	}
	return n, nil
}

// Close says that the process has ended. An unfinished line is passed on for what it is.
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

// first returns the first line, as far as it was received.
func (f *handshakeFilter) first() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.TrimSpace(string(f.line))
}
