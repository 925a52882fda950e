package syscall

import (
	"sync"
	"syscall"
	"unsafe"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/guest/host"
	"github.com/dewpaas/dew/guest/vfs"
)

// shared has the mappings that are the memory of a file (MAP_SHARED), by their
// first byte. Others need no record: unmapping them is the tender's affair.
var shared struct {
	mu sync.Mutex
	at map[unsafe.Pointer]sharedMapping
}

type sharedMapping struct {
	file   *vfs.Node
	length uintptr
}

const page = 4096

func mmap(c Call) (uintptr, syscall.Errno) {
	const fixed = syscall.MAP_FIXED | 0x100000 // MAP_FIXED_NOREPLACE
	flags := c.int(3)
	switch {
	case c.A[1] == 0:
		return 0, syscall.EINVAL
	case c.A[2]&syscall.PROT_EXEC != 0:
		return 0, syscall.EACCES // a guest runs what it was linked with
	case flags&syscall.MAP_ANON != 0:
		return host.Memory(syscall.SYS_MMAP, c.A[0], c.A[1], c.A[2], anonymous(flags), ^uintptr(0), 0)
	case flags&fixed != 0:
		return 0, syscall.EOPNOTSUPP
	case c.A[5]%page != 0:
		return 0, syscall.EINVAL
	}
	h, done, err := c.handle(4, syscall.ENODEV)
	if err != 0 {
		return 0, err
	}
	defer done()
	if at, ok := imagePart(h, &c); ok {
		return host.Memory(syscall.SYS_MMAP, 0, c.A[1], syscall.PROT_READ, syscall.MAP_PRIVATE, abi.FDImage, at)
	}
	return mapCopy(h, &c, flags&syscall.MAP_TYPE != syscall.MAP_PRIVATE)
}

// anonymous drops the flags that would need another process or more than a
// tender gives.
func anonymous(flags int) uintptr {
	const keep = syscall.MAP_FIXED | syscall.MAP_NORESERVE | 0x100000
	return uintptr(flags&keep | syscall.MAP_PRIVATE | syscall.MAP_ANON)
}

// imagePart tells where in the image to map a file from that is only read and
// was never written to. Writes that come later do not show in such a mapping.
func imagePart(h *vfs.Handle, c *Call) (uintptr, bool) {
	if c.A[2]&syscall.PROT_WRITE != 0 {
		return 0, false
	}
	inside := false
	at, ok := h.Content(func(size int64) {
		end := (uint64(size) + page - 1) &^ (page - 1)
		inside = uint64(c.A[5]) <= end && uint64(c.A[1]) <= end-uint64(c.A[5])
	})
	return uintptr(at) + c.A[5], ok && inside
}

// mapCopy maps memory with the file's content. Where share is set it becomes
// the file's own memory, and is writable whatever was asked for.
func mapCopy(h *vfs.Handle, c *Call, share bool) (uintptr, syscall.Errno) {
	length := (c.A[1] + page - 1) &^ (page - 1)
	p, err := host.Memory(syscall.SYS_MMAP, 0, length, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON, ^uintptr(0), 0)
	if err != 0 {
		return 0, err
	}
	mem := address(p)
	if share {
		if err = h.Share(int64(c.A[5]), int64(length), mem); err == 0 {
			shared.mu.Lock()
			if shared.at == nil {
				shared.at = map[unsafe.Pointer]sharedMapping{}
			}
			shared.at[mem] = sharedMapping{h.Node(), length}
			shared.mu.Unlock()
		}
	} else {
		_, err = h.Read(unsafe.Slice((*byte)(mem), length), int64(c.A[5]))
	}
	if err != 0 {
		host.Memory(syscall.SYS_MUNMAP, p, length, 0, 0, 0, 0)
		return 0, err
	}
	return p, 0
}

// address turns what mmap returned into a pointer: memory outside the Go heap.
func address(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

func munmap(c Call) (uintptr, syscall.Errno) {
	length := (c.A[1] + page - 1) &^ (page - 1)
	shared.mu.Lock()
	m, ok := shared.at[address(c.A[0])]
	if ok && m.length != length {
		shared.mu.Unlock()
		return 0, syscall.EINVAL
	}
	delete(shared.at, address(c.A[0]))
	shared.mu.Unlock()
	if ok {
		m.file.Unshare(address(c.A[0]))
	}
	return host.Memory(syscall.SYS_MUNMAP, c.A[0], c.A[1], 0, 0, 0, 0)
}

// madvise keeps DONTNEED away from a file's memory, which it would empty.
func madvise(c Call) (uintptr, syscall.Errno) {
	shared.mu.Lock()
	_, ok := shared.at[address(c.A[0])]
	shared.mu.Unlock()
	if ok {
		return 0, 0
	}
	return host.Memory(syscall.SYS_MADVISE, c.A[0], c.A[1], c.A[2], 0, 0, 0)
}

// msync has nothing to do: a shared mapping is the file.
func msync(Call) (uintptr, syscall.Errno) { return 0, 0 }
