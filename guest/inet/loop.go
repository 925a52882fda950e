package inet

import (
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/dewpaas/dew/guest/tcp"
)

// loop is the loopback: frames from the guest to itself. They are put here
// under the sender's lock and delivered by whoever comes to drain next, one
// goroutine at a time and holding no lock of an endpoint.
type loop struct {
	mu       sync.Mutex // guards all below
	list     []*tcp.Chunk
	first    int // list[:first] was taken
	held     int // bytes in list
	draining bool
	waiting  atomic.Int32 // frames in list

	receiver receiver // of the goroutine that drains
}

// maxLoop bounds what waits, in bytes. It is drained at once, so it only ever
// holds what one call has sent.
const maxLoop = 1 << 20

// put queues a frame, and tells whether there was room.
func (l *loop) put(s *Stack, pieces []syscall.Iovec) bool {
	size := 0
	for _, v := range pieces {
		size += int(v.Len)
	}
	c := s.memory.Buffer(size)
	if c == nil {
		s.Counters.NoMemory.Add(1)
		return false
	}
	c.Fill(gather(c.Bytes(), pieces))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held+c.Cost() > maxLoop {
		s.memory.Free(c)
		return false
	}
	l.held += c.Cost()
	l.list = append(l.list, c)
	l.waiting.Add(1)
	return true
}

// take returns the next frame, nil when there is none or another goroutine
// delivers them.
func (l *loop) take(mine *bool) *tcp.Chunk {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining && !*mine {
		return nil
	}
	*mine = l.first < len(l.list)
	l.draining = *mine
	if !*mine {
		return nil
	}
	c := l.list[l.first]
	l.list[l.first] = nil
	if l.first++; l.first == len(l.list) {
		l.list, l.first = l.list[:0], 0
	}
	l.held -= c.Cost()
	l.waiting.Add(-1)
	return c
}

// drain delivers what waits on the loopback, and what that gives rise to. No
// lock of an endpoint may be held.
func (s *Stack) drain() {
	if s.loop.waiting.Load() == 0 {
		return
	}
	mine := false
	r := &s.loop.receiver
	for c := s.loop.take(&mine); c != nil; c = s.loop.take(&mine) {
		r.now = s.clock.Now()
		s.input(r, c.Filled(), nil, true)
		s.memory.Free(c)
		if len(r.touched) == maxBatch || s.loop.waiting.Load() == 0 {
			s.flush(r) // may put more
		}
	}
}
