package intruder

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A File is a kind of file that the host passes to the plugin.
type File int

// The kinds of files that a host passes to the plugin.
const (
	Other    File = iota // a pipe, say
	Writable             // memory that this process may write
	ReadOnly             // memory that this process may only read
)

// KindOf returns the kind of f.
func KindOf(f *os.File) File {
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	switch {
	case err != nil:
		return Other
	case seals&(unix.F_SEAL_WRITE|unix.F_SEAL_FUTURE_WRITE) != 0:
		return ReadOnly
	default:
		return Writable
	}
}

// Attack tries every way to change the size of the memory in f or to loosen its seals and, if this process may only read the memory, every
// way to write to it. It returns how many ways it tried, and which of them succeeded.
func Attack(f *os.File) (tried int, breaches []string) {
	fd := int(f.Fd())
	size, err := f.Seek(0, 2)
	if err != nil {
		return 0, []string{err.Error()}
	}
	ways := anyMemory(fd, size)
	if KindOf(f) == ReadOnly {
		mapped, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return 0, []string{err.Error()}
		}
		defer func() { _ = unix.Munmap(mapped) }()
		ways = slices.Concat(ways, byDescriptor(fd, int(size)), byMapping(mapped))
	}
	for _, way := range ways {
		if err := way.try(); err == nil {
			breaches = append(breaches, way.name)
		}
	}
	return len(ways), breaches
}

// A way is one attack. If try returns an error, the attack failed.
type way struct {
	name string
	try  func() error
}

func anyMemory(fd int, size int64) []way {
	again := fmt.Sprintf("/proc/self/fd/%d", fd)
	return []way{
		{"truncated to nothing", func() error { return unix.Ftruncate(fd, 0) }},
		{"truncated a little", func() error { return unix.Ftruncate(fd, size-1) }},
		{"made longer", func() error { return unix.Ftruncate(fd, size+1) }},
		{"allocated after the end", func() error { return unix.Fallocate(fd, 0, size, 4096) }},
		{"opened again and truncated", func() error { return openedAgain(again, unix.O_RDWR|unix.O_TRUNC, nil) }},
		{"truncated by name", func() error { return unix.Truncate(again, 0) }},
		{"sealed further", func() error {
			_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_FUTURE_WRITE)
			return err
		}},
		{"seals lifted", func() error {
			before, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
			if err != nil {
				return err
			}
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, 0)
			if after, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil || after == before {
				return errBarred
			}
			return nil
		}},
	}
}

var errBarred = errors.New("barred")

func openedAgain(name string, flags int, then func(fd int) error) error {
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if then == nil {
		return nil
	}
	return then(fd)
}

// mapFor succeeds if fd can be mapped with protection and then changed to the protection then.
func mapFor(fd, size, protection, then int) error {
	memory, err := unix.Mmap(fd, 0, size, protection, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(memory) }()
	return unix.Mprotect(memory, then)
}

const readWrite = unix.PROT_READ | unix.PROT_WRITE

func byDescriptor(fd, size int) []way {
	again := fmt.Sprintf("/proc/self/fd/%d", fd)
	writeTo := func(fd int) error { _, err := unix.Pwrite(fd, []byte{1}, 0); return err }
	return []way{
		{"written to", func() error { return writeTo(fd) }},
		{"opened again and written to", func() error { return openedAgain(again, unix.O_RDWR, writeTo) }},
		{"opened for writing and written to", func() error { return openedAgain(again, unix.O_WRONLY, writeTo) }},
		{"mapped for writing", func() error { return mapFor(fd, size, readWrite, readWrite) }},
		{"mapped for writing alone", func() error { return mapFor(fd, size, unix.PROT_WRITE, unix.PROT_WRITE) }},
		{"mapped, then made writable", func() error { return mapFor(fd, size, unix.PROT_READ, readWrite) }},
		{"mapped without access, then made writable", func() error { return mapFor(fd, size, unix.PROT_NONE, readWrite) }},
		{"opened again and mapped for writing", func() error {
			return openedAgain(again, unix.O_RDWR, func(fd int) error { return mapFor(fd, size, readWrite, readWrite) })
		}},
		{"a hole punched", func() error {
			return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, int64(size))
		}},
		{"sent a file to", func() error {
			return openedAgain("/proc/self/exe", unix.O_RDONLY, func(file int) error {
				if _, err := unix.Seek(fd, 0, 0); err != nil {
					return err
				}
				_, err := unix.Sendfile(fd, file, nil, 16)
				return err
			})
		}},
	}
}

func byMapping(memory []byte) []way {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(memory)))
	return []way{
		{"stored into", func() error { return store(memory) }},
		{"made writable", func() error { return unix.Mprotect(memory, readWrite) }},
		{"removed", func() error { return unix.Madvise(memory, unix.MADV_REMOVE) }},
		{"written to by way of /proc/self/mem", func() error {
			return openedAgain("/proc/self/mem", unix.O_RDWR, func(fd int) error {
				_, err := unix.Pwrite(fd, []byte{1}, int64(from))
				return err
			})
		}},
		{"written to by way of process_vm_writev", func() error {
			one := []byte{1}
			local := []unix.Iovec{{Base: &one[0], Len: 1}}
			_, err := unix.ProcessVMWritev(os.Getpid(), local, []unix.RemoteIovec{{Base: from, Len: 1}}, 0)
			return err
		}},
		{"read into by the kernel", func() error {
			return openedAgain("/proc/self/exe", unix.O_RDONLY, func(file int) error {
				_, err := unix.Read(file, memory[:1])
				return err
			})
		}},
		{"opened by its mapping and written to", func() error {
			name := fmt.Sprintf("/proc/self/map_files/%x-%x", from, from+uintptr(len(memory)))
			return openedAgain(name, unix.O_RDWR, func(fd int) error { _, err := unix.Pwrite(fd, []byte{1}, 0); return err })
		}},
	}
}

// store writes to memory with an ordinary assignment.
func store(memory []byte) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = errBarred
		}
	}()
	memory[0] = 1
	return nil
}
