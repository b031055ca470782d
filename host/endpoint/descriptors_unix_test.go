//go:build unix

package endpoint

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestConnectionsAllowed(t *testing.T) {
	tests := []struct {
		name        string
		want        int
		descriptors uint64
		effective   int
		limited     bool
	}{
		{"enough", 400, 1024, 400, false},
		{"just enough", 448, 1024, 448, false},
		{"too few", 10000, 1024, 448, true},
		{"hardly any", 10, 64, 1, true},
		{"no limit wanted", 0, 1024, 448, false},
		{"no limit anywhere", 0, 1<<64 - 1, 0, false},
		{"no limit in the system", 10000, 1<<63 - 1, 10000, false},
	}
	for _, test := range tests {
		effective, limited := connectionsAllowed(test.want, 2, test.descriptors)
		if effective != test.effective || limited != test.limited {
			t.Errorf("%s: got %d, %v, want %d, %v", test.name, effective, limited, test.effective, test.limited)
		}
	}
}

func TestTheSoftLimitIsRaised(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur+1 < limit.Max && limit.Max < 1<<20 { // a system may cap the soft limit below a larger hard limit
		t.Errorf("got a soft limit of %d, want the hard one, %d", limit.Cur, limit.Max)
	}
	if effective, _ := ConnectionsAllowed(1, 2); effective != 1 {
		t.Errorf("got %d, want 1", effective)
	}
}
