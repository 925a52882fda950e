package vfs

import (
	"sync"
	"syscall"

	"github.com/dewpaas/dew/guest/fd"
)

// Handle is an open file description of a Node.
type Handle struct {
	node  *Node
	write bool
	read  bool

	mu      sync.Mutex // guards pos and listing
	pos     int64      // bytes; in a directory: entries
	listing []dirEntry
	text    []byte // of a synthetic file
}

var (
	_ fd.File   = (*Handle)(nil)
	_ fd.Seeker = (*Handle)(nil)
)

// oTmpfile is the bit of O_TMPFILE beside O_DIRECTORY, oPath is O_PATH
// (include/uapi/asm-generic/fcntl.h).
const (
	oTmpfile = 0o20000000
	oPath    = 0o10000000
)

// Open is open(2). mode has the umask taken off.
func (f *FS) Open(base *Node, path string, flags int, mode uint32) (fd.File, syscall.Errno) {
	f.mu.Lock()
	n, err := f.openNode(base, path, flags, mode)
	if err == 0 {
		n.opens++
	}
	f.mu.Unlock()
	if err != 0 {
		return nil, err
	}
	file, err := n.open(flags)
	if err != 0 || !isHandle(file) {
		n.close()
	}
	return file, err
}

func isHandle(f fd.File) bool {
	_, ok := f.(*Handle)
	return ok
}

// openNode finds or makes the file. f.mu is held.
func (f *FS) openNode(base *Node, path string, flags int, mode uint32) (*Node, syscall.Errno) {
	const create, exclusive = syscall.O_CREAT, syscall.O_EXCL
	if flags&(oTmpfile|syscall.O_DIRECTORY) == oTmpfile|syscall.O_DIRECTORY {
		return f.openTmpfile(base, path, flags, mode)
	}
	follow := flags&syscall.O_NOFOLLOW == 0 && flags&(create|exclusive) != create|exclusive
	p, err := f.walk(base, path, follow)
	if err != 0 {
		return nil, err
	}
	writes := flags&syscall.O_ACCMODE != syscall.O_RDONLY
	switch {
	case p.node == nil && flags&create == 0:
		return nil, syscall.ENOENT
	case p.node == nil && p.slash:
		return nil, syscall.EISDIR
	case p.node == nil && flags&syscall.O_DIRECTORY != 0:
		return nil, syscall.EINVAL
	case p.node == nil:
		return f.add(p, syscall.S_IFREG|mode&0o7777)
	case flags&(create|exclusive) == create|exclusive:
		return nil, syscall.EEXIST
	case p.node.isLink() && (p.node.synth == nil || !follow) && flags&oPath == 0:
		return nil, syscall.ELOOP
	case flags&syscall.O_DIRECTORY != 0 && !p.node.isDir():
		return nil, syscall.ENOTDIR
	case p.node.isDir() && flags&oPath == 0 && (writes || flags&create != 0):
		return nil, syscall.EISDIR
	case p.node.kind() == syscall.S_IFSOCK && flags&oPath == 0:
		return nil, syscall.ENXIO
	}
	return p.node, 0
}

// openTmpfile makes a file without a name.
func (f *FS) openTmpfile(base *Node, path string, flags int, mode uint32) (*Node, syscall.Errno) {
	if flags&syscall.O_ACCMODE == syscall.O_RDONLY {
		return nil, syscall.EINVAL
	}
	dir, err := f.existing(base, path, true)
	if err != 0 {
		return nil, err
	}
	if !dir.isDir() {
		return nil, syscall.ENOTDIR
	}
	return f.nameless(syscall.S_IFREG|mode&0o7777, dir)
}

// nameless makes a file that no directory has. f.mu is held.
func (f *FS) nameless(mode uint32, dir *Node) (*Node, syscall.Errno) {
	if err := f.charge(nodeCost); err != 0 {
		return nil, err
	}
	n := f.make(mode)
	n.data.fs = f
	n.links, n.parent, n.name = 0, dir, "#"
	return n, 0
}

// Memfd makes a file for memfd_create(2).
func (f *FS) Memfd(name string, sealable bool) (*Handle, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.nameless(syscall.S_IFREG|0o777, f.root)
	if err != 0 {
		return nil, err
	}
	n.name = "memfd:" + name
	n.opens = 1
	if !sealable {
		n.data.seals = SealSeal
	}
	return &Handle{node: n, read: true, write: true}, 0
}

// open makes the description. The caller has counted it in n.opens.
func (n *Node) open(flags int) (fd.File, syscall.Errno) {
	access := flags & syscall.O_ACCMODE
	h := &Handle{node: n, read: access != syscall.O_WRONLY, write: access != syscall.O_RDONLY}
	if flags&oPath != 0 {
		h.read, h.write = false, false
		return h, 0
	}
	if s := n.synth; s != nil {
		switch {
		case s.Open != nil:
			return s.Open(flags)
		case h.write && s.Store == nil && !n.isDir():
			return nil, syscall.EACCES
		case s.Text != nil:
			h.text = s.Text()
		}
		return h, 0
	}
	if flags&syscall.O_TRUNC != 0 && h.write && n.isRegular() {
		if err := n.Truncate(0); err != 0 {
			return nil, err
		}
	}
	return h, 0
}

// close takes back one of n.opens.
func (n *Node) close() {
	n.fs.mu.Lock()
	n.opens--
	n.release()
	n.fs.mu.Unlock()
}

// Node returns the file.
func (h *Handle) Node() *Node { return h.node }

// Read implements fd.File.
func (h *Handle) Read(p []byte, off int64) (int, syscall.Errno) {
	switch {
	case !h.read:
		return 0, syscall.EBADF
	case h.node.isDir():
		return 0, syscall.EISDIR
	case off != fd.AtPosition:
		return h.readAt(p, off), 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.readAt(p, h.pos)
	h.pos += int64(n)
	return n, 0
}

func (h *Handle) readAt(p []byte, off int64) int {
	if h.node.synth != nil {
		return copy(p, h.text[min(off, int64(len(h.text))):])
	}
	h.node.mu.RLock()
	defer h.node.mu.RUnlock()
	return h.node.data.readAt(p, off)
}

// Write implements fd.File.
func (h *Handle) Write(p []byte, off int64) (int, syscall.Errno) {
	if !h.write {
		return 0, syscall.EBADF
	}
	if s := h.node.synth; s != nil {
		return len(p), s.Store(p)
	}
	if off != fd.AtPosition {
		return h.writeAt(p, off)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n, err := h.writeAt(p, h.pos)
	h.pos += int64(n)
	return n, err
}

func (h *Handle) writeAt(p []byte, off int64) (int, syscall.Errno) {
	h.node.mu.Lock()
	n, err := h.node.data.sealedWrite(p, off)
	h.node.mu.Unlock()
	if n > 0 {
		h.node.changed()
	}
	return n, err
}

// Append writes at the end of the file, as O_APPEND asks for.
func (h *Handle) Append(p []byte) (int, syscall.Errno) {
	if !h.write {
		return 0, syscall.EBADF
	}
	if h.node.synth != nil {
		return h.Write(p, fd.AtPosition)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.node.mu.Lock()
	n, err := h.node.data.sealedWrite(p, h.node.data.size)
	h.pos = h.node.data.size
	h.node.mu.Unlock()
	if n > 0 {
		h.node.changed()
	}
	return n, err
}

// Truncate is ftruncate(2).
func (h *Handle) Truncate(size int64) syscall.Errno {
	if !h.write || h.node.isDir() {
		return syscall.EINVAL
	}
	return h.node.Truncate(size)
}

// seekData and seekHole are SEEK_DATA and SEEK_HOLE.
const (
	seekData = 3
	seekHole = 4
)

// SeekTo implements fd.Seeker. Every file is one run of data to SEEK_DATA and
// SEEK_HOLE, which is allowed (lseek(2)).
func (h *Handle) SeekTo(off int64, whence int) (int64, syscall.Errno) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch whence {
	case 0:
	case 1:
		off += h.pos
	case 2:
		off += h.size()
	case seekData, seekHole:
		if off < 0 || off >= h.size() {
			return 0, syscall.ENXIO
		}
		if whence == seekHole {
			off = h.size()
		}
	default:
		return 0, syscall.EINVAL
	}
	if off < 0 {
		return 0, syscall.EINVAL
	}
	h.pos = off
	return off, 0
}

func (h *Handle) size() int64 {
	switch {
	case h.node.synth != nil:
		return 0 // as in procfs: nobody knows before reading
	case h.node.isDir():
		return 1 << 31
	}
	h.node.mu.RLock()
	defer h.node.mu.RUnlock()
	return h.node.data.size
}

// Stat implements fd.File.
func (h *Handle) Stat(st *syscall.Stat_t) syscall.Errno {
	h.node.Stat(st)
	return 0
}

// Close implements fd.File.
func (h *Handle) Close() {
	h.node.unlock(h)
	h.node.close()
}

// Modes of fallocate(2) (include/uapi/linux/falloc.h).
const (
	keepSize  = 0x01
	punchHole = 0x02
	zeroRange = 0x10
)

// Allocate is fallocate(2).
func (h *Handle) Allocate(mode int, off, length int64) syscall.Errno {
	switch {
	case !h.write:
		return syscall.EBADF
	case off < 0 || length <= 0:
		return syscall.EINVAL
	case !h.node.isRegular() || h.node.synth != nil:
		return syscall.ENODEV
	}
	n := h.node
	n.mu.Lock()
	defer n.mu.Unlock()
	switch mode {
	case 0, keepSize:
		size := n.data.size
		if err := n.data.reserve(off, length); err != 0 {
			return err
		}
		n.data.size = size
		if mode == 0 {
			n.data.size = max(size, off+length)
		}
		return 0
	case punchHole | keepSize, zeroRange | keepSize:
		return n.data.punch(off, length)
	}
	return syscall.EOPNOTSUPP
}

// Content calls use with the bytes of the image that the file still is, for
// mapping it: at is their offset in the image. It returns false for a file
// that was changed or never was in the image.
func (h *Handle) Content(use func(size int64)) (at uint64, ok bool) {
	n := h.node
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.below == nil || len(n.data.pages) > 0 || int64(len(n.data.base)) != n.data.size {
		return 0, false
	}
	use(n.data.size)
	return n.fs.image.Offset(*n.below), true
}
