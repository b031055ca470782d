package config

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Reading any file ends, and returns either a configuration or errors.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.*", "testdata/bad/*.yaml", "testdata/bad/*.toml", "testdata/bad/*.json", "*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(formatOf(file), data)
		}
	}
	schema := json.RawMessage(`{"type": "object", "additionalProperties": {"type": ["string", "integer"]}}`)
	f.Fuzz(func(t *testing.T, format string, data []byte) {
		c, err := Parse("fuzz", format, data, LoadOptions{})
		var errs Errors
		switch {
		case err == nil:
			for i := range c.Codecs {
				_, _ = c.Codecs[i].OptionsJSON(schema) // may fail, but must not panic
			}
		case !errors.As(err, &errs) || len(errs) == 0 || err.Error() == "":
			t.Errorf("got %v, want Errors", err)
		}
	})
}
