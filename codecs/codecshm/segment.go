//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The seals of a memfd. The size is fixed, so that no access can fault. Memory that the plugin may only read can't be
// written through any mapping made later. The kernel can't take back single pages of a file sealed against writing.
const (
	sizeSeals     = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	readOnlySeals = sizeSeals | unix.F_SEAL_FUTURE_WRITE
)

// newMemory creates a memfd of size bytes and maps it. With readOnly the plugin may only read it: the host maps it for
// writing, and then seals it against any further writable mapping. Otherwise the plugin writes, and the host maps it
// read-only.
func newMemory(size int, readOnly bool) (memory []byte, fd int, err error) {
	fd, err = unix.MemfdCreate("framehost", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // a kernel before 6.3
		fd, err = unix.MemfdCreate("framehost", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, -1, fmt.Errorf("memfd_create: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if err = unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, -1, fmt.Errorf("ftruncate: %w", err)
	}
	protection, seals := unix.PROT_READ, sizeSeals
	if readOnly {
		protection, seals = unix.PROT_READ|unix.PROT_WRITE, readOnlySeals
	}
	if memory, err = unix.Mmap(fd, 0, size, protection, unix.MAP_SHARED); err != nil {
		return nil, -1, fmt.Errorf("mmap: %w", err)
	}
	if _, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		_ = unix.Munmap(memory)
		return nil, -1, fmt.Errorf("sealing memory: %w", err)
	}
	_ = unix.Madvise(memory, unix.MADV_DONTDUMP) // keeps core dumps small; not essential
	return memory, fd, nil
}

// mapMemory maps memory that newMemory created, in the plugin process. It takes ownership of fd.
func mapMemory(fd, size int, readOnly bool) ([]byte, error) {
	defer func() { _ = unix.Close(fd) }()
	protection := unix.PROT_READ
	if !readOnly {
		protection |= unix.PROT_WRITE
	}
	memory, err := unix.Mmap(fd, 0, size, protection, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	return memory, nil
}

// Supported returns nil, or the reason why this system can't have shared memory.
func Supported() error {
	memory, fd, err := newMemory(smallestBlock, true)
	if err != nil {
		return err
	}
	_ = unix.Close(fd)
	return unix.Munmap(memory)
}
