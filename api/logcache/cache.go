package logcache

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/dewpaas/dew/api/egress"
	"github.com/dewpaas/dew/cf"
)

// Bounds of what is kept.
type Bounds struct {
	Lines int   // of one app
	Bytes int   // of one app
	Total int64 // bytes of all apps
	Apps  int
}

// DefaultBounds are enough for cf logs --recent of busy apps, and for a machine
// of 4 GiB.
func DefaultBounds() Bounds {
	return Bounds{Lines: 10_000, Bytes: 2 << 20, Total: 128 << 20, Apps: 20_000}
}

// maxLine is where Diego splits lines.
const maxLine = 60 << 10

// Cache keeps the newest lines of each app. It is safe for concurrent use.
type Cache struct {
	bounds Bounds
	now    func() time.Time
	mu     sync.Mutex // guards tails and shrinking
	tails  map[string]*tail
	total  atomic.Int64
	drains drains
	guard  egress.Guard
	files  *files // nil without a folder

	received atomic.Uint64 // lines
}

var _ cf.Logs = (*Cache)(nil)

// New makes a cache that is in memory only.
func New(b Bounds) *Cache {
	return &Cache{bounds: b, now: time.Now, tails: map[string]*tail{}}
}

// Figures are sums since the cache was made.
type Figures struct {
	Received, Undelivered uint64 // lines
	Bytes                 int64  // kept now
	Apps                  int
}

// Figures tells how much went through.
func (c *Cache) Figures() Figures {
	c.mu.Lock()
	apps := len(c.tails)
	c.mu.Unlock()
	return Figures{c.received.Load(), c.drains.lost.Load(), c.total.Load(), apps}
}

// Log keeps a line, in pieces if it is long.
func (c *Cache) Log(l cf.LogLine) {
	if l.AppGUID == "" {
		return
	}
	t := c.tail(l.AppGUID)
	for len(l.Text) > maxLine {
		piece := l
		piece.Text, l.Text = l.Text[:maxLine], l.Text[maxLine:]
		c.add(t, piece)
	}
	c.add(t, l)
}

func (c *Cache) add(t *tail, l cf.LogLine) {
	c.received.Add(1)
	if l.Time.IsZero() {
		l.Time = c.now()
	}
	kept, grown := t.add(l, c.bounds)
	if c.total.Add(int64(grown)) > c.bounds.Total {
		c.shrink()
	}
	c.drains.pass(l.AppGUID, kept)
	c.files.pass(l.AppGUID, kept)
}

func (c *Cache) tail(app string) *tail {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tails[app]
	if t == nil {
		if len(c.tails) >= c.bounds.Apps {
			c.forgetOldest()
		}
		t = newTail(c.files.load(app), c.bounds)
		c.total.Add(int64(t.bytes))
		c.tails[app] = t
	}
	return t
}

// forgetOldest drops the app that wrote least recently. The caller has c.mu.
func (c *Cache) forgetOldest() {
	var oldest string
	var when int64
	for app, t := range c.tails {
		if newest := t.stats().newest; oldest == "" || newest < when {
			oldest, when = app, newest
		}
	}
	c.total.Add(-int64(c.tails[oldest].halve(0)))
	delete(c.tails, oldest)
}

// shrink takes half of the lines of the largest app until all apps fit.
func (c *Cache) shrink() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.total.Load() > c.bounds.Total {
		var largest *tail
		size := 0
		for _, t := range c.tails {
			if n := t.stats().bytes; n > size {
				largest, size = t, n
			}
		}
		if largest == nil {
			return
		}
		c.total.Add(-int64(largest.halve(2)))
	}
}

// Close ends the drains and the writing of files. Lines that come later are kept
// in memory only.
func (c *Cache) Close() error {
	c.SetDrains(nil, time.Time{})
	return c.files.close()
}
