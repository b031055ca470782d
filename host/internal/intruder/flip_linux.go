package intruder

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strings"
	"unsafe"
)

// lineSize is the size of the pieces in which Flip searches for data to overwrite, in bytes.
const lineSize = 64

// Regions returns the memory of the host that is mapped in this process and writable. It may be unmapped at any time.
func Regions() ([][]byte, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	var regions [][]byte
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		var access string
		if !strings.Contains(line, "/memfd:framehost") {
			continue
		}
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &access); err != nil {
			return nil, err
		}
		if strings.HasPrefix(access, "rw") {
			regions = append(regions, unsafe.Slice(*(**byte)(unsafe.Pointer(&from)), to-from))
		}
	}
	return regions, nil
}

// Flip overwrites n random bytes of regions, half of them in places that hold data.
func Flip(random *rand.Rand, regions [][]byte, n int) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { _ = recover() }() // memory may have been unmapped in the meantime
	var used [][]byte
	for _, region := range regions {
		for at := 0; at+lineSize <= len(region); at += lineSize {
			if line := region[at : at+lineSize]; !bytes.Equal(line, nothing[:]) {
				used = append(used, line)
			}
		}
	}
	for i := range n {
		where := regions[random.IntN(len(regions))]
		if i%2 == 0 && len(used) > 0 {
			where = used[random.IntN(len(used))]
		}
		where[random.IntN(len(where))] ^= byte(1 + random.IntN(255))
	}
}

var nothing [lineSize]byte
