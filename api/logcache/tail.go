package logcache

import (
	"sort"
	"sync"

	"github.com/dewpaas/dew/cf"
)

// line is a kept line. at is in nanoseconds and larger than that of every older
// line of the app, because readers continue after the last time they saw.
type line struct {
	at               int64
	source, instance string
	err              bool
	text             []byte
}

const lineOverhead = 96 // the struct, and what the allocator adds to a small text

func (l line) cost() int { return lineOverhead + len(l.text) }

// tail is the newest lines of one app, in a ring.
type tail struct {
	mu      sync.Mutex // guards the rest
	ring    []line
	head    int // the oldest
	n       int
	bytes   int
	newest  int64
	expired uint64
}

func newTail(old []line, b Bounds) *tail {
	t := &tail{}
	for _, l := range old {
		t.push(l, b)
	}
	return t
}

func (t *tail) add(l cf.LogLine, b Bounds) (kept line, grown int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.bytes
	kept = line{max(l.Time.UnixNano(), t.newest+1), l.Source, l.Instance, l.Err, l.Text}
	t.push(kept, b)
	return kept, t.bytes - before
}

func (t *tail) push(l line, b Bounds) {
	if t.n == len(t.ring) {
		t.grow(b.Lines)
	}
	for t.n > 0 && (t.n == len(t.ring) || t.bytes+l.cost() > b.Bytes) {
		t.drop()
	}
	t.ring[(t.head+t.n)%len(t.ring)] = l
	t.n++
	t.bytes += l.cost()
	t.newest = l.at
}

func (t *tail) grow(most int) {
	size := min(max(16, 2*len(t.ring)), max(most, 1))
	if size == len(t.ring) {
		return
	}
	ring := make([]line, size)
	for i := range t.n {
		ring[i] = *t.at(i)
	}
	t.ring, t.head = ring, 0
}

// at is the i-th oldest line.
func (t *tail) at(i int) *line { return &t.ring[(t.head+i)%len(t.ring)] }

func (t *tail) drop() {
	old := t.at(0)
	t.bytes -= old.cost()
	*old = line{}
	t.head = (t.head + 1) % len(t.ring)
	t.n--
	t.expired++
}

// halve drops all but an n-th of the lines, or all for 0, and returns how many
// bytes that freed.
func (t *tail) halve(n int) (freed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, keep := t.bytes, 0
	if n > 0 {
		keep = t.n / n
	}
	for t.n > keep {
		t.drop()
	}
	return before - t.bytes
}

type tailStats struct {
	n, bytes       int
	oldest, newest int64
	expired        uint64
}

func (t *tail) stats() tailStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := tailStats{n: t.n, bytes: t.bytes, newest: t.newest, expired: t.expired}
	if t.n > 0 {
		s.oldest = t.at(0).at
	}
	return s
}

// read copies at most limit lines with from <= at < to: the oldest, or newest
// first.
func (t *tail) read(from, to int64, limit int, newestFirst bool) []line {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := sort.Search(t.n, func(i int) bool { return t.at(i).at >= from })
	end := sort.Search(t.n, func(i int) bool { return t.at(i).at >= to })
	out := make([]line, 0, max(0, min(limit, end-first)))
	for i := range cap(out) {
		if newestFirst {
			out = append(out, *t.at(end - 1 - i))
		} else {
			out = append(out, *t.at(first + i))
		}
	}
	return out
}
