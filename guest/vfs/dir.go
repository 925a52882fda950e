package vfs

import (
	"slices"
	"syscall"
	"unsafe"
)

// dirEntry is one line of a directory listing.
type dirEntry struct {
	name string
	ino  uint64
	kind uint8 // DT_
}

// empty tells whether a directory has no names but "." and "..". f.mu is held.
func (n *Node) empty() bool {
	for _, c := range n.entries {
		if c != nil {
			return false
		}
	}
	if n.below == nil || n.fs.image == nil {
		return true
	}
	for i := range n.below.Size {
		e, err := n.fs.image.Entry(*n.below, i)
		if err != nil {
			return true
		}
		if _, changed := n.entries[string(e.Name)]; !changed {
			return false
		}
	}
	return true
}

// list returns what the directory holds now, names in order. f.mu is held.
func (n *Node) list() []dirEntry {
	all := []dirEntry{{".", n.ino, syscall.DT_DIR}, {"..", n.parent.ino, syscall.DT_DIR}}
	if n.synth != nil && n.synth.List != nil {
		for _, name := range n.synth.List() {
			if s, ok := n.synth.Find(name); ok {
				all = append(all, dirEntry{name, n.ino + uint64(len(all)), uint8(s.Mode >> 12)})
			}
		}
		return all
	}
	for name, c := range n.entries {
		if c != nil {
			all = append(all, dirEntry{name, c.ino, uint8(c.mode >> 12)})
		}
	}
	if n.below != nil && n.fs.image != nil {
		all = n.listImage(all)
	}
	slices.SortFunc(all[2:], func(a, b dirEntry) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return all
}

func (n *Node) listImage(all []dirEntry) []dirEntry {
	for i := range n.below.Size {
		e, err := n.fs.image.Entry(*n.below, i)
		if err != nil {
			break
		}
		if _, changed := n.entries[string(e.Name)]; changed {
			continue
		}
		info, err := n.fs.image.Stat(e.Ino)
		if err != nil {
			break
		}
		all = append(all, dirEntry{string(e.Name), uint64(e.Ino) + 1, uint8(info.Mode >> 12)})
	}
	return all
}

// Dirents fills p as getdents64(2). The listing is taken when the reading
// begins, so that files made or removed meanwhile neither hide nor repeat
// others.
func (h *Handle) Dirents(p []byte) (int, syscall.Errno) {
	if !h.node.isDir() {
		return 0, syscall.ENOTDIR
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listing == nil || h.pos == 0 {
		f := h.node.fs
		f.mu.Lock()
		if h.node.dead {
			f.mu.Unlock()
			return 0, syscall.ENOENT
		}
		h.listing = h.node.list()
		f.mu.Unlock()
	}
	done := 0
	for h.pos < int64(len(h.listing)) {
		size := putDirent(p[done:], h.listing[h.pos], h.pos+1)
		if size == 0 {
			if done == 0 {
				return 0, syscall.EINVAL
			}
			break
		}
		done += size
		h.pos++
	}
	return done, 0
}

// putDirent writes a linux_dirent64 (include/linux/dirent.h), 0 if it does not fit.
func putDirent(p []byte, e dirEntry, next int64) int {
	const header = 19
	size := (header + len(e.name) + 1 + 7) &^ 7
	if size > len(p) {
		return 0
	}
	clear(p[:size])
	*(*uint64)(unsafe.Pointer(&p[0])) = e.ino
	*(*int64)(unsafe.Pointer(&p[8])) = next
	*(*uint16)(unsafe.Pointer(&p[16])) = uint16(size)
	p[18] = e.kind
	copy(p[header:], e.name)
	return size
}
