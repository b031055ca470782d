//go:build unix

package endpoint

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestProbe(t *testing.T) {
	dir, err := os.MkdirTemp("", "fh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	path := filepath.Join(dir, "in-use")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	_, port, err := net.SplitHostPort(tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		addr  Address
		inUse bool
		want  string // the message of an error other than ErrInUse
	}{
		{"tcp, in use", Address{Network: "tcp", Address: tcp.Addr().String()}, true, ""},
		{"tcp, all addresses, one in use", Address{Network: "tcp", Address: ":" + port}, true, ""},
		{"tcp, free", Address{Network: "tcp", Address: "127.0.0.1:0"}, false, ""},
		{"tcp, an address of another machine", Address{Network: "tcp", Address: "192.0.2.1:7001"}, false, "listen tcp://192.0.2.1:7001: bind: cannot assign requested address"},
		{"udp, in use", Address{Network: "udp", Address: udp.LocalAddr().String()}, true, ""},
		{"udp, free", Address{Network: "udp", Address: "127.0.0.1:0"}, false, ""},
		{"unix, in use", Address{Network: "unix", Address: path}, true, ""},
		{"unix, free", Address{Network: "unix", Address: filepath.Join(dir, "free")}, false, ""},
		{"unix, a file", Address{Network: "unix", Address: file}, false,
			"listen unix://" + file + ": got a regular file there, want nothing or a socket that no process listens on"},
		{"unix, a directory that is not there", Address{Network: "unix", Address: filepath.Join(dir, "no", "s")}, false,
			"listen unix://" + filepath.Join(dir, "no", "s") + ": stat " + filepath.Join(dir, "no") + ": no such file or directory"},
	}
	for _, tt := range tests {
		err := Probe(t.Context(), tt.addr)
		switch {
		case tt.inUse && !errors.Is(err, ErrInUse):
			t.Errorf("%s: got %v, want %v", tt.name, err, ErrInUse)
		case !tt.inUse && tt.want == "" && err != nil:
			t.Errorf("%s: got %v", tt.name, err)
		case tt.want != "" && (err == nil || errors.Is(err, ErrInUse) || err.Error() != tt.want):
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
	// The listeners still work after Probe.
	if conn, err := net.Dial("tcp", tcp.Addr().String()); err != nil {
		t.Error(err)
	} else {
		_ = conn.Close()
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}
