package tcp

import (
	"syscall"
	"unsafe"
)

// queue is a stream of bytes in chunks. An empty queue holds no memory, and
// its first small chunk comes from a reserve that the connection has paid for
// when it was made: so every connection can go on, one small chunk at a time,
// when others hold all the rest.
type queue struct {
	head, tail *Chunk
	size       int
	reserved   bool // the reserve is in use
}

// Reserve is what a connection takes from the bound for its two queues.
const reserve = 2 * (smallChunk + chunkOverhead)

// push copies as much of p as the memory bound allows and returns how much.
func (q *queue) push(m *Memory, p []byte) int {
	done := 0
	for done < len(p) {
		if q.tail == nil || q.tail.w == len(q.tail.buf) {
			c := q.grow(m, len(p)-done)
			if c == nil {
				break
			}
			q.link(c)
		}
		n := copy(q.tail.room(), p[done:])
		q.tail.w += n
		q.size += n
		done += n
	}
	return done
}

// grow returns a chunk for the next n bytes: small for small streams, so that
// an idle or slow connection costs little, larger for those that flow.
func (q *queue) grow(m *Memory, n int) *Chunk {
	class := smallClass
	switch {
	case n >= LargeChunk/2 || q.size >= 4*mediumChunk:
		class = largeClass
	case n > smallChunk || q.size >= 2*smallChunk:
		class = mediumClass
	}
	for ; class > smallClass; class-- {
		if c := m.chunk(class); c != nil {
			return c
		}
	}
	if !q.reserved {
		q.reserved = true
		return m.spare(smallClass)
	}
	return m.chunk(smallClass)
}

func (q *queue) link(c *Chunk) {
	if q.tail == nil {
		q.head = c
	} else {
		q.tail.next = c
	}
	q.tail = c
}

// pushChunk appends a chunk with its data.
func (q *queue) pushChunk(c *Chunk) {
	q.link(c)
	q.size += c.w - c.r
}

// splice appends all of another queue, whose chunks are counted.
func (q *queue) splice(o *queue) {
	if o.head == nil {
		return
	}
	q.link(o.head)
	q.tail = o.tail
	q.size += o.size
	*o = queue{}
}

// peek copies from the front without taking.
func (q *queue) peek(p []byte) int {
	done := 0
	for c := q.head; c != nil && done < len(p); c = c.next {
		done += copy(p[done:], c.buf[c.r:c.w])
	}
	return done
}

// read copies from the front and takes what it copied.
func (q *queue) read(m *Memory, p []byte) int {
	done := 0
	for q.head != nil && done < len(p) {
		n := copy(p[done:], q.head.buf[q.head.r:q.head.w])
		done += n
		q.skip(m, n)
	}
	return done
}

// skip takes n bytes, which are there, from the front.
func (q *queue) skip(m *Memory, n int) {
	q.size -= n
	for q.head != nil {
		c := q.head
		k := min(n, c.w-c.r)
		c.r += k
		n -= k
		if c.r < c.w {
			return
		}
		q.head = c.next
		if q.head == nil {
			q.tail = nil
		}
		q.free(m, c)
	}
}

func (q *queue) free(m *Memory, c *Chunk) {
	if c.held == 0 {
		q.reserved = false
	}
	m.Free(c)
}

// clear gives everything back.
func (q *queue) clear(m *Memory) {
	for c := q.head; c != nil; {
		next := c.next
		q.free(m, c)
		c = next
	}
	*q = queue{}
}

// pieces tells where n bytes at off lie, in as many pieces as fit into out,
// and returns their number and how many bytes they are.
func (q *queue) pieces(off, n int, out []syscall.Iovec) (count, bytes int) {
	c := q.head
	for ; c != nil && off >= c.w-c.r; c = c.next {
		off -= c.w - c.r
	}
	for ; c != nil && bytes < n && count < len(out); c = c.next {
		k := min(n-bytes, c.w-c.r-off)
		out[count] = syscall.Iovec{Base: (*byte)(unsafe.Pointer(&c.buf[c.r+off])), Len: uint64(k)}
		count++
		bytes += k
		off = 0
	}
	return count, bytes
}

// span is how many of the n bytes at off lie in at most limit pieces.
func (q *queue) span(off, n, limit int) int {
	c := q.head
	for ; c != nil && off >= c.w-c.r; c = c.next {
		off -= c.w - c.r
	}
	bytes := 0
	for ; c != nil && bytes < n && limit > 0; c = c.next {
		bytes += min(n-bytes, c.w-c.r-off)
		off = 0
		limit--
	}
	return bytes
}
