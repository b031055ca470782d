package intruder

import (
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// memory returns sealed memory, and a mapping of it.
func memory(t *testing.T, seals int) (*os.File, []byte) {
	t.Helper()
	const size = 1 << 16
	fd, err := unix.MemfdCreate("framehost", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Skipf("memfd_create: %v", err)
	}
	f := os.NewFile(uintptr(fd), "memory")
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	mapped, err := unix.Mmap(fd, 0, size, readWrite, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mapped) })
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	return f, mapped
}

// Attack finds the ways into memory that is not sealed. This shows that its finding none in sealed memory is meaningful.
func TestAttackFindsWhatIsOpen(t *testing.T) {
	const whole = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	tests := []struct {
		name  string
		seals int
		kind  File
		want  []string // some of the breaches found
	}{
		{"sealed whole, for reading", whole | unix.F_SEAL_FUTURE_WRITE, ReadOnly, nil},
		{"sealed whole, for writing", whole, Writable, nil},
		{"may shrink", unix.F_SEAL_GROW | unix.F_SEAL_SEAL, Writable, []string{"truncated to nothing", "opened again and truncated"}},
		{"may grow", unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL, Writable, []string{"made longer", "allocated after the end"}},
		{"may be sealed", unix.F_SEAL_SHRINK | unix.F_SEAL_GROW, Writable, []string{"sealed further"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, _ := memory(t, test.seals)
			if got := KindOf(f); got != test.kind {
				t.Errorf("kind %d, want %d", got, test.kind)
			}
			tried, breaches := Attack(f)
			for _, want := range test.want {
				if !slices.Contains(breaches, want) {
					t.Errorf("found %q, want %q too", breaches, want)
				}
			}
			if tried < 8 || test.want == nil && len(breaches) > 0 {
				t.Errorf("tried %d ways, and found %q", tried, breaches)
			}
		})
	}
}

// The ways to write, tried on memory that can be written.
func TestWaysToWrite(t *testing.T) {
	f, mapped := memory(t, unix.F_SEAL_SHRINK)
	barred := map[string]bool{
		"sent a file to":                       true, // some kernels can't send from what /proc/self/exe is
		"opened by its mapping and written to": os.Geteuid() != 0,
		"a hole punched":                       false,
	}
	fd := int(f.Fd())
	for _, way := range slices.Concat(byDescriptor(fd, len(mapped)), byMapping(mapped)) {
		if err := way.try(); err != nil && !barred[way.name] {
			t.Errorf("%s: %v", way.name, err)
		}
	}
}

func TestFlip(t *testing.T) {
	_, mapped := memory(t, unix.F_SEAL_SHRINK)
	regions, err := Regions()
	if err != nil || len(regions) != 1 || len(regions[0]) != len(mapped) || &regions[0][0] != &mapped[0] {
		t.Fatalf("found %d regions, %v", len(regions), err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	mapped[5000] = 1
	Flip(random, regions, 4)
	if slices.Equal(mapped[4992:5056], append(append(make([]byte, 8), 1), make([]byte, 55)...)) {
		t.Error("what was written is as it was")
	}
}
