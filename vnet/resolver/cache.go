package resolver

import (
	"container/list"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// cacheTotal is what the caches of all apps hold together, in bytes of
	// answers on the wire.
	cacheTotal = 32 << 20
	// cacheMost is what the cache of one app holds.
	cacheMost = 256 << 10
	// maxTTL: an hour is long enough to spare the upstreams, and short enough
	// for a wrong answer to be forgotten.
	maxTTL = time.Hour
	// maxNegativeTTL bounds how long a name stays missing (RFC 2308 section 5
	// finds up to hours in use; a deploy should not wait for that).
	maxNegativeTTL = 5 * time.Minute
	// failureTTL: a failure is remembered for at least a second (RFC 9520
	// section 3.2), so that a broken zone is not hammered.
	failureTTL = 2 * time.Second
)

// cacheShare is how much each of n apps may keep.
func cacheShare(n int) int { return min(cacheMost, cacheTotal/max(n, 1)) }

// question is a dns.Question of class IN with a canonical name.
type question struct {
	name string
	kind uint16
}

// cache holds the answers to one app's questions, the least recently used of
// which make room for new ones. The records in it are never changed.
type cache struct {
	mu      sync.Mutex
	limit   int // bytes
	used    int
	entries map[question]*list.Element
	recent  list.List // of *kept, the last used in front
}

type kept struct {
	question question
	reply    *reply
	from     time.Time
	until    time.Time
	size     int
}

func newCache(limit int) *cache { return &cache{limit: limit, entries: map[question]*list.Element{}} }

// get finds an answer that is still good, and its age.
func (c *cache) get(q question) (*reply, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[q]
	if e == nil {
		return nil, 0
	}
	k, now := e.Value.(*kept), time.Now()
	if !now.Before(k.until) {
		c.drop(e)
		return nil, 0
	}
	c.recent.MoveToFront(e)
	return k.reply, now.Sub(k.from)
}

// put keeps an answer for its time to live.
func (c *cache) put(q question, r *reply) {
	size := r.size()
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[q]; e != nil {
		c.drop(e)
	}
	if r.ttl <= 0 || size > c.limit {
		return
	}
	now := time.Now()
	c.entries[q] = c.recent.PushFront(&kept{q, r, now, now.Add(r.ttl), size})
	c.used += size
	c.shrink()
}

func (c *cache) resize(limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = limit
	c.shrink()
}

func (c *cache) shrink() {
	for c.used > c.limit {
		c.drop(c.recent.Back())
	}
}

func (c *cache) drop(e *list.Element) {
	k := c.recent.Remove(e).(*kept)
	delete(c.entries, k.question)
	c.used -= k.size
}

// overhead of an entry besides its records on the wire, in bytes.
const overhead = 256

func (r *reply) size() int {
	n := overhead
	for _, rr := range r.answer {
		n += dns.Len(rr)
	}
	if r.soa != nil {
		n += dns.Len(r.soa)
	}
	return n
}
