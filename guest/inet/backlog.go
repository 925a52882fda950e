package inet

import (
	"sync"
	"sync/atomic"

	"github.com/dewpaas/dew/guest/tcp"
)

// backlog is what came for a connection while a goroutine held it: a peer near
// by answers a segment while the call that sends it is still under way. Whoever
// reads frames does not wait for the connection but leaves them here, and
// whoever holds it takes them, at the latest right after letting go (as with
// the backlog of a socket on Linux).
type backlog struct {
	waiting atomic.Bool // there is something below

	mu          sync.Mutex // guards all below; no other lock is taken under it
	first, last *late
	count       int
	flush       bool // the batch that these came in is complete
}

// late is a segment in a backlog.
type late struct {
	next    *late
	flow    flow
	segment tcp.Segment // its Chunk is counted in the memory bound
	copied  *tcp.Chunk  // where the payload lies otherwise, counted too
}

// maxLate bounds the segments of a backlog. Who brings one more has to wait.
const maxLate = 64

var lates = sync.Pool{New: func() any { return new(late) }}

// leave puts a segment into the backlog, and tells whether there was room. It
// takes the segment's chunk where payload fills it well.
func (b *backlog) leave(m *tcp.Memory, g *tcp.Segment, f flow) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count == maxLate {
		return false
	}
	l := lates.Get().(*late)
	if !l.keep(m, g, f) {
		lates.Put(l)
		return false
	}
	if b.first == nil {
		b.first = l
	} else {
		b.last.next = l
	}
	b.last = l
	b.count++
	b.waiting.Store(true)
	return true
}

// keep makes l the segment, with a payload that is its own.
func (l *late) keep(m *tcp.Memory, g *tcp.Segment, f flow) bool {
	*l = late{flow: f, segment: *g}
	n := len(g.Payload)
	if n >= tcp.LargeChunk/2 && g.Chunk != nil && m.Adopt(g.Chunk) {
		g.Chunk = nil
		return true
	}
	l.segment.Chunk, l.segment.Payload = nil, nil
	if n > 0 {
		if l.copied = m.Buffer(n); l.copied == nil {
			return false
		}
		l.segment.Payload = l.copied.Bytes()[:copy(l.copied.Bytes(), g.Payload)]
	}
	return true
}

// leaveFlush says that a batch is complete.
func (b *backlog) leaveFlush() {
	b.mu.Lock()
	b.flush = true
	b.waiting.Store(true)
	b.mu.Unlock()
}

// take empties the backlog.
func (b *backlog) take() (first *late, flush bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	first, flush = b.first, b.flush
	b.first, b.last, b.count, b.flush = nil, nil, 0, false
	b.waiting.Store(false)
	return first, flush
}

// catchUp gives the connection what came while it was held, and returns the
// time. t.mu is held.
func (t *TCP) catchUp(now int64) int64 {
	if !t.backlog.waiting.Load() {
		return now
	}
	now = t.time(t.stack.clock.Now())
	l, flush := t.backlog.take()
	for l != nil {
		if t.is(l.flow) { // else as if lost: what matters comes again
			t.take(&l.segment, now)
		}
		for _, c := range [...]*tcp.Chunk{l.segment.Chunk, l.copied} {
			if c != nil {
				t.stack.memory.Free(c)
			}
		}
		next := l.next
		*l = late{}
		lates.Put(l)
		l = next
	}
	if flush {
		t.touched = false
	}
	t.conn.Flush(now)
	return now
}

// help takes what was left in the backlog if nobody holds the connection any
// more: who did may have looked before it was there.
func (t *TCP) help() {
	for t.backlog.waiting.Load() && t.mu.TryLock() {
		t.part(t.time(t.stack.clock.Now()))
	}
}

// letGo gives t.mu back where nothing was changed.
func (t *TCP) letGo() {
	t.mu.Unlock()
	t.help()
}
