//go:build unix

package host

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/control"
)

// A default directory for the control socket that other users can change is not used; framehost then runs without the socket.
func TestControlSocketWhereOthersCanChangeIt(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(dir string) error
		used    bool
	}{
		{"nothing is there", func(string) error { return nil }, true},
		{"the user's directory", func(dir string) error { return os.Mkdir(dir, 0o700) }, true},
		{"a directory that everybody can change", func(dir string) error {
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			return os.Chmod(dir, 0o777) // overrides the umask
		}, false},
		{"the directory of another user", func(dir string) error {
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			if os.Getuid() != 0 { // only root can give the directory away
				return os.Chmod(dir, 0o777)
			}
			return os.Chown(dir, 1, 1)
		}, false},
		{"a symbolic link", func(dir string) error { return os.Symlink(os.TempDir(), dir) }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var book logBook
			dir := filepath.Join(t.TempDir(), "run")
			if err := test.prepare(dir); err != nil {
				t.Fatal(err)
			}
			t.Setenv("XDG_RUNTIME_DIR", dir)
			h, err := Start(t.Context(), parse(t, "routes: []"), Options{Logger: book.logger(hclog.Info), Control: true})
			if err != nil {
				t.Fatal(err)
			}
			_, err = control.QueryStatus(t.Context(), control.DefaultSocket())
			if used := err == nil; used != test.used {
				t.Errorf("used: got %v (%v), want %v", used, err, test.used)
			}
			if err := h.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			lines := book.find(t, "framehost status will not find this process")
			if told := len(lines) == 1 && strings.Contains(lines[0]["error"].(string), dir); told == test.used {
				t.Errorf("got lines %v about it", lines)
			}
		})
	}
}
