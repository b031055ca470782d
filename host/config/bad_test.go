package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files and schema.json anew")

// golden compares got with a file, or writes it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// Each file in testdata/bad is refused with exactly the messages of its golden file.
func TestBadConfigurations(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*")
	if err != nil {
		t.Fatal(err)
	}
	tested := 0
	for _, file := range files {
		if strings.HasSuffix(file, ".golden") {
			continue
		}
		tested++
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(file), formatOf(file), data, LoadOptions{})
			var errs Errors
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("got %v, want Errors", err)
			}
			for i, e := range errs {
				if e.Got == "" {
					t.Errorf("%#v says nothing", e)
				}
				if i > 0 && errs[i-1].position().before(e.position()) > 0 {
					t.Errorf("%v comes before %v", errs[i-1], e)
				}
			}
			golden(t, file+".golden", err.Error()+"\n")
		})
	}
	if tested < 30 {
		t.Errorf("%d files, want at least 30", tested)
	}
}
