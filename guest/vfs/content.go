package vfs

import (
	"syscall"
	"unsafe"
)

const pageSize = 4096

// maxFile is the longest file in bytes: what an index of pages may cost is
// bounded by it, holes included.
const maxFile = 1 << 40

type page = [pageSize]byte

// content is the bytes of a regular file. Pages that were written stand in
// pages; elsewhere, up to len(base), base shines through; the rest is zero.
// Its methods want Node.mu.
type content struct {
	fs    *FS
	base  []byte // in the mapped image, never written
	size  int64
	pages map[int64]*page
	maps  []*mapping
	seals uint32 // of a memfd
}

// mapping is memory that the program got from mmap(MAP_SHARED): the pages of
// the file in its range are this memory.
type mapping struct {
	first int64 // page
	count int64
	mem   unsafe.Pointer
	refs  int
}

func (m *mapping) page(i int64) *page { return (*page)(unsafe.Add(m.mem, (i-m.first)*pageSize)) }

// readAt copies from the file; 0 at or behind its end.
func (c *content) readAt(p []byte, off int64) int {
	if off >= c.size {
		return 0
	}
	p = p[:min(int64(len(p)), c.size-off)]
	done := 0
	for done < len(p) {
		i, in := (off+int64(done))/pageSize, (off+int64(done))%pageSize
		part := p[done:]
		if pg := c.pages[i]; pg != nil {
			done += copy(part, pg[in:])
			continue
		}
		// Untouched: read on to the next page that was written, or the end of the page.
		limit := len(part)
		if len(c.pages) > 0 {
			limit = min(limit, int(pageSize-in))
		}
		done += c.readBase(part[:limit], off+int64(done))
	}
	return done
}

// readBase fills p from the image, and with zeros behind its end.
func (c *content) readBase(p []byte, off int64) int {
	n := 0
	if off < int64(len(c.base)) {
		n = copy(p, c.base[off:])
	}
	clear(p[n:])
	return len(p)
}

// writable returns page i for writing; it is made from the image if need be.
func (c *content) writable(i int64) (*page, syscall.Errno) {
	if pg := c.pages[i]; pg != nil {
		return pg, 0
	}
	if err := c.fs.charge(pageSize); err != 0 {
		return nil, err
	}
	pg := new(page)
	c.readBase(pg[:], i*pageSize)
	c.put(i, pg)
	return pg, 0
}

func (c *content) put(i int64, pg *page) {
	if c.pages == nil {
		c.pages = map[int64]*page{}
	}
	c.pages[i] = pg
}

// writeAt copies to the file, as much as the quota allows.
func (c *content) writeAt(p []byte, off int64) (int, syscall.Errno) {
	if off > maxFile-int64(len(p)) {
		return 0, syscall.EFBIG
	}
	done := 0
	for done < len(p) {
		i, in := (off+int64(done))/pageSize, (off+int64(done))%pageSize
		pg, err := c.writable(i)
		if err != 0 {
			if done == 0 {
				return 0, err
			}
			break
		}
		done += copy(pg[in:], p[done:])
		c.size = max(c.size, off+int64(done))
	}
	return done, 0
}

// truncate sets the length. What is cut off is zero when the file grows again.
func (c *content) truncate(size int64) syscall.Errno {
	if size > maxFile {
		return syscall.EFBIG
	}
	if size < c.size {
		c.cut(size)
	}
	c.size = size
	return 0
}

func (c *content) cut(size int64) {
	keep := (size + pageSize - 1) / pageSize
	for i := range c.pages {
		if i >= keep {
			c.drop(i)
		}
	}
	if pg := c.pages[keep-1]; pg != nil && size%pageSize != 0 {
		clear(pg[size%pageSize:])
	}
	if size < int64(len(c.base)) {
		c.base = c.base[:size:size]
	}
}

// drop forgets page i; mapped memory is cleared and stays.
func (c *content) drop(i int64) {
	for _, m := range c.maps {
		if i >= m.first && i < m.first+m.count {
			*m.page(i) = page{}
			return
		}
	}
	delete(c.pages, i)
	c.fs.refund(pageSize)
}

// punch makes a range zero (FALLOC_FL_PUNCH_HOLE).
func (c *content) punch(off, length int64) syscall.Errno {
	end := min(off+length, c.size)
	var zero page
	for off < end {
		n := min(pageSize-off%pageSize, end-off)
		if c.pages[off/pageSize] == nil && off >= int64(len(c.base)) {
			off += n
			continue
		}
		if _, err := c.writeAt(zero[:n], off); err != 0 {
			return err
		}
		off += n
	}
	return 0
}

// reserve makes a range present, so that later writes cannot run out of space.
func (c *content) reserve(off, length int64) syscall.Errno {
	if off > maxFile-length {
		return syscall.EFBIG
	}
	first, last := off/pageSize, (off+length-1)/pageSize
	if uint64(last-first+1) > c.fs.quota/pageSize { // before a loop that a quota would end late
		return syscall.ENOSPC
	}
	for i := first; i <= last; i++ {
		if _, err := c.writable(i); err != 0 {
			return err
		}
	}
	return 0
}

// blocks returns how many 512-byte blocks the file takes.
func (c *content) blocks() int64 {
	return (int64(len(c.base))+511)/512 + int64(len(c.pages))*(pageSize/512)
}

// share makes mem, which holds count pages, the file's memory from page first
// on. It fails where a page is in another mapping already, unless it is the
// same range.
func (c *content) share(first, count int64, mem unsafe.Pointer) syscall.Errno {
	for _, m := range c.maps {
		if first < m.first+m.count && m.first < first+count {
			return syscall.EBUSY
		}
	}
	missing := uint64(0)
	for i := first; i < first+count; i++ {
		if c.pages[i] == nil {
			missing++
		}
	}
	if err := c.fs.charge(missing * pageSize); err != 0 {
		return err
	}
	m := &mapping{first: first, count: count, mem: mem, refs: 1}
	for i := first; i < first+count; i++ {
		pg := m.page(i)
		if old := c.pages[i]; old != nil {
			*pg = *old
		} else {
			c.readBase(pg[:], i*pageSize)
		}
		c.put(i, pg)
	}
	c.maps = append(c.maps, m)
	return 0
}

// unshare ends the mapping at mem: its pages go back to memory of our own.
func (c *content) unshare(mem unsafe.Pointer) {
	for k, m := range c.maps {
		if m.mem != mem {
			continue
		}
		c.maps = append(c.maps[:k:k], c.maps[k+1:]...)
		end := (c.size + pageSize - 1) / pageSize
		for i := m.first; i < m.first+m.count; i++ {
			if i >= end {
				delete(c.pages, i)
				c.fs.refund(pageSize)
				continue
			}
			own := *m.page(i)
			c.pages[i] = &own
		}
		return
	}
}
