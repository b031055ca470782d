package host

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
)

// A configured max_connections that exceeds the file descriptors is logged as a warning; the default value is not.
func TestTooFewDescriptors(t *testing.T) {
	const tooMany = 1 << 30
	tests := []struct {
		name, text string
		warned     bool
	}{
		{"asked for", "limits: {max_connections: 1073741824}\n", true},
		{"the default", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := config.Parse("test.yaml", "yaml", []byte(tt.text), config.LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			c.Limits.MaxConnections = tooMany // in both cases, because systems have enough descriptors for the default
			var log bytes.Buffer
			h := &Host{log: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Info})}
			if n := h.connectionsAllowed(c); n == tooMany {
				t.Skip("the system has as many descriptors as that")
			}
			if got := strings.Contains(log.String(), "too few file descriptors for limits.max_connections"); got != tt.warned {
				t.Errorf("got warned %t, want %t:\n%s", got, tt.warned, log.String())
			}
		})
	}
}
