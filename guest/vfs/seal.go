package vfs

import (
	"syscall"
	"unsafe"
)

// Seals of a memfd (include/uapi/linux/fcntl.h).
const (
	SealSeal   = 1
	sealShrink = 2
	sealGrow   = 4
	sealWrite  = 8
)

// Seals returns the seals; EINVAL for what is not a memfd is the caller's.
func (h *Handle) Seals() uint32 {
	h.node.mu.RLock()
	defer h.node.mu.RUnlock()
	return h.node.data.seals
}

// AddSeals is F_ADD_SEALS.
func (h *Handle) AddSeals(seals uint32) syscall.Errno {
	h.node.mu.Lock()
	defer h.node.mu.Unlock()
	c := &h.node.data
	switch {
	case c.seals&SealSeal != 0 || !h.write:
		return syscall.EPERM
	case seals&^(SealSeal|sealShrink|sealGrow|sealWrite) != 0:
		return syscall.EINVAL
	case seals&sealWrite != 0 && len(c.maps) > 0:
		return syscall.EBUSY
	}
	c.seals |= seals
	return 0
}

func (c *content) sealedWrite(p []byte, off int64) (int, syscall.Errno) {
	if c.seals&sealWrite != 0 || c.seals&sealGrow != 0 && off+int64(len(p)) > c.size {
		return 0, syscall.EPERM
	}
	return c.writeAt(p, off)
}

func (c *content) resize(size int64) syscall.Errno {
	if c.seals&sealShrink != 0 && size < c.size || c.seals&sealGrow != 0 && size > c.size {
		return syscall.EPERM
	}
	return c.truncate(size)
}

// Share makes the memory at mem the file's from a page-aligned offset on, for
// mmap(MAP_SHARED). EBUSY: part of the range is in another such mapping.
func (h *Handle) Share(off, length int64, mem unsafe.Pointer) syscall.Errno {
	switch {
	case !h.node.isRegular() || h.node.synth != nil:
		return syscall.ENODEV
	case off < 0 || off%pageSize != 0 || off > maxFile-length:
		return syscall.EINVAL
	}
	h.node.mu.Lock()
	defer h.node.mu.Unlock()
	return h.node.data.share(off/pageSize, (length+pageSize-1)/pageSize, mem)
}

// Unshare ends Share: the content goes back to memory of the file's own.
func (n *Node) Unshare(mem unsafe.Pointer) {
	n.mu.Lock()
	n.data.unshare(mem)
	n.mu.Unlock()
}
