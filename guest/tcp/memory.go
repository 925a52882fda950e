package tcp

import (
	"sync"
	"sync/atomic"
)

// Chunk sizes in bytes. A large chunk holds any frame that the host delivers,
// and any segment that it cuts for us.
const (
	smallChunk  = 2 << 10
	mediumChunk = 16 << 10
	LargeChunk  = 72 << 10 // nine pages of the Go heap; abi.MaxFrame and the header in front of it fit
)

// chunkOverhead is what the memory bound counts beyond the bytes of a chunk.
const chunkOverhead = 64

// Chunk is a piece of pooled memory in a queue. Data is buf[r:w].
type Chunk struct {
	next *Chunk
	buf  []byte
	r, w int
	held int // bytes taken from the bound for it; 0: out of a queue's reserve
}

// Bytes is the whole memory of the chunk.
func (c *Chunk) Bytes() []byte { return c.buf }

// Fill says that the first n bytes are data.
func (c *Chunk) Fill(n int) { c.r, c.w = 0, n }

// Filled is the data.
func (c *Chunk) Filled() []byte { return c.buf[c.r:c.w] }

// Cost is what the chunk counts in the memory bound.
func (c *Chunk) Cost() int { return c.held }

// room is what can be appended.
func (c *Chunk) room() []byte { return c.buf[c.w:] }

// Memory is what all endpoints of a stack may hold together, and the pool it
// comes from. Bytes are taken from the bound before they are allocated, so that
// no peer can make a guest hold more.
//
// Free chunks are in sync.Pools: the garbage collector takes what a quiet
// guest does not use.
type Memory struct {
	limit int64
	used  atomic.Int64
	pools [3]sync.Pool
}

// NewMemory makes a bound of so many bytes.
func NewMemory(limit int) *Memory {
	m := &Memory{limit: int64(limit)}
	for i, size := range chunkSizes {
		m.pools[i].New = func() any { return &Chunk{buf: make([]byte, size)} }
	}
	return m
}

var chunkSizes = [3]int{smallChunk, mediumChunk, LargeChunk}

// Used is how many bytes are held.
func (m *Memory) Used() int { return int(m.used.Load()) }

// Limit is how many bytes may be held.
func (m *Memory) Limit() int { return int(m.limit) }

// Take takes n bytes from the bound, or tells that they are not there.
func (m *Memory) Take(n int) bool {
	if m.used.Add(int64(n)) <= m.limit {
		return true
	}
	m.used.Add(int64(-n))
	return false
}

// Give gives n bytes back.
func (m *Memory) Give(n int) { m.used.Add(int64(-n)) }

// Tight tells that less than a quarter is left: buffers do not grow any more.
func (m *Memory) Tight() bool { return m.used.Load() > m.limit/4*3 }

// chunk returns an empty chunk of a size class, nil when the bound is reached.
func (m *Memory) chunk(class int) *Chunk {
	n := chunkSizes[class] + chunkOverhead
	if !m.Take(n) {
		return nil
	}
	c := m.spare(class)
	c.held = n
	return c
}

// spare returns a chunk that is not counted.
func (m *Memory) spare(class int) *Chunk { return m.pools[class].Get().(*Chunk) }

// Frame returns a large chunk that is not counted: its owner holds a bounded
// number of them.
func (m *Memory) Frame() *Chunk { return m.spare(largeClass) }

// Buffer returns a counted chunk for n bytes, nil when the bound is reached.
func (m *Memory) Buffer(n int) *Chunk {
	switch {
	case n <= smallChunk:
		return m.chunk(smallClass)
	case n <= mediumChunk:
		return m.chunk(mediumClass)
	case n <= LargeChunk:
		return m.chunk(largeClass)
	}
	return nil
}

// Adopt counts a chunk of Frame as held from now on, or tells that there is no
// room for it.
func (m *Memory) Adopt(c *Chunk) bool {
	if c.held > 0 {
		return true
	}
	if !m.Take(LargeChunk + chunkOverhead) {
		return false
	}
	c.held = LargeChunk + chunkOverhead
	return true
}

// Free gives a chunk back.
func (m *Memory) Free(c *Chunk) {
	if c.held > 0 {
		m.Give(c.held)
	}
	c.next, c.r, c.w, c.held = nil, 0, 0, 0
	switch len(c.buf) {
	case smallChunk:
		m.pools[smallClass].Put(c)
	case mediumChunk:
		m.pools[mediumClass].Put(c)
	default:
		m.pools[largeClass].Put(c)
	}
}

const (
	smallClass = iota
	mediumClass
	largeClass
)
