package logcache

import (
	"sync"
	"time"
)

// queue holds the lines that wait for one drain, and for a moment those that
// were sent: a connection that breaks does not tell what had arrived.
type queue struct {
	ready chan struct{} // holds a token when there may be lines

	mu    sync.Mutex // guards lines
	lines []line     // oldest first

	sent []sentLine // of the last moment; of the sender alone
}

type sentLine struct {
	line
	when time.Time
}

const (
	batchBytes = 64 << 10
	sentBytes  = 64 << 10
	// sentFor is how long a sent line may be on its way, or unread at its end.
	sentFor = time.Second
)

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

// put adds a line, unless there are many.
func (q *queue) put(l line) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.lines) >= drainQueue {
		return false
	}
	q.lines = append(q.lines, l)
	q.signal()
	return true
}

func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take removes lines for one batch, at most n.
func (q *queue) take(n int) (batch []line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for size := 0; len(q.lines) > 0 && len(batch) < n && size < batchBytes; q.lines = q.lines[1:] {
		batch = append(batch, q.lines[0])
		size += len(q.lines[0].text)
		q.lines[0] = line{}
	}
	if len(q.lines) > 0 {
		q.signal()
	}
	return batch
}

// putBack lets lines that did not arrive be first again.
func (q *queue) putBack(batch []line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lines = append(batch, q.lines...)
	q.signal()
}

// note remembers what was sent.
func (q *queue) note(batch []line, now time.Time) {
	for _, l := range batch {
		q.sent = append(q.sent, sentLine{l, now})
	}
	size := 0
	for i := len(q.sent) - 1; i >= 0; i-- {
		if size += len(q.sent[i].text); size > sentBytes || now.Sub(q.sent[i].when) > sentFor {
			q.sent = append([]sentLine(nil), q.sent[i+1:]...)
			return
		}
	}
}

// unsure forgets what was sent, and returns what may not have arrived.
func (q *queue) unsure(now time.Time) (batch []line) {
	q.note(nil, now)
	for _, s := range q.sent {
		batch = append(batch, s.line)
	}
	q.sent = nil
	return batch
}
