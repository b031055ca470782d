package host

import (
	"bytes"
	"encoding/json"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// A logBook keeps the log as JSON lines.
type logBook struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines.Write(p)
}

func (b *logBook) logger(level hclog.Level) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: b, JSONFormat: true, Level: level})
}

func (b *logBook) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines.String()
}

// find returns the fields of all lines with that message.
func (b *logBook) find(t *testing.T, message string) (found []map[string]any) {
	t.Helper()
	for decoder := json.NewDecoder(bytes.NewBufferString(b.text())); decoder.More(); {
		line := map[string]any{}
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if line["@message"] == message {
			found = append(found, line)
		}
	}
	return found
}
