package syscall

import (
	"syscall"
	"unsafe"

	"github.com/dewpaas/dew/guest/fd"
)

// Call is one system call of the program.
type Call struct {
	A [6]uintptr        // arguments
	P [6]unsafe.Pointer // those that are pointers, else nil
}

// maxBytes is the longest read or write (MAX_RW_COUNT of include/linux/fs.h).
const maxBytes = 0x7ffff000

// int reads an argument of C type int.
func (c *Call) int(n int) int { return int(int32(c.A[n])) }

// bytes is the memory at argument n, size bytes long. EFAULT for nil, unless
// there is nothing to point to.
func (c *Call) bytes(n int, size uintptr) ([]byte, syscall.Errno) {
	if size == 0 {
		return nil, 0
	}
	if c.P[n] == nil {
		return nil, syscall.EFAULT
	}
	return unsafe.Slice((*byte)(c.P[n]), int(min(size, maxBytes))), 0
}

// pathMax is PATH_MAX of include/uapi/linux/limits.h.
const pathMax = 4096

// path copies the NUL-terminated string at argument n.
func (c *Call) path(n int) (string, syscall.Errno) {
	p := c.P[n]
	if p == nil {
		return "", syscall.EFAULT
	}
	for length := range pathMax {
		if *(*byte)(unsafe.Add(p, length)) == 0 {
			return string(unsafe.Slice((*byte)(p), length)), 0
		}
	}
	return "", syscall.ENAMETOOLONG
}

// at is the T that argument n points to, nil for a null pointer.
func at[T any](c *Call, n int) *T { return (*T)(c.P[n]) }

// file takes a reference to the file whose number is argument n.
func (c *Call) file(n int) (fd.Ref, syscall.Errno) {
	r, ok := Files.Get(c.int(n))
	if !ok {
		return r, syscall.EBADF
	}
	return r, 0
}

// Files is the guest's descriptor table.
var Files fd.Table
