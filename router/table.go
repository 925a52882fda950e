package router

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dewpaas/dew/router/http1"
)

// Change is one message from the control plane. A Full change replaces the
// table; others put and drop single routes.
type Change struct {
	Full bool
	Put  []Route
	Drop []Key
}

// Table maps hosts and paths to endpoints. Requests read it without a lock;
// every change becomes visible at once and as a whole.
type Table struct {
	now atomic.Pointer[snapshot]

	mu     sync.Mutex // guards what follows: one writer at a time
	routes map[Key]Route
	live   map[Endpoint]*endpoint
	// leaving holds endpoints that the table no longer names, by instance,
	// until their last request is done.
	leaving map[string][]*endpoint
}

// snapshot never changes after it was stored.
type snapshot struct {
	exact map[string][]*pool // by host, longest path first
	wild  map[string][]*pool // by the domain behind "*."
}

// NewTable returns an empty table.
func NewTable() *Table {
	t := &Table{routes: map[Key]Route{}, live: map[Endpoint]*endpoint{}, leaving: map[string][]*endpoint{}}
	t.now.Store(&snapshot{})
	return t
}

// Apply makes a change visible. When it returns, no new request goes to an
// endpoint that the change took away; Drained tells when the old ones are
// done. A change with one bad route is refused as a whole.
func (t *Table) Apply(c Change) error {
	for i := range c.Put {
		if err := c.Put[i].Check(); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.Full {
		clear(t.routes)
	}
	for _, k := range c.Drop {
		delete(t.routes, k.normal())
	}
	for _, r := range c.Put {
		r.Key, r.Hash.Header = r.Key.normal(), strings.ToLower(r.Hash.Header)
		r.Endpoints = slices.Clone(r.Endpoints)
		t.routes[r.Key] = r
	}
	t.publish()
	return nil
}

// publish builds the next snapshot. Pools and endpoints that did not change
// are carried over with their counters and idle connections.
func (t *Table) publish() {
	old := t.now.Load()
	next := &snapshot{exact: map[string][]*pool{}, wild: map[string][]*pool{}}
	used := map[Endpoint]bool{}
	for key, r := range t.routes {
		p := t.pool(old.find(key), &r, used)
		if rest, ok := strings.CutPrefix(key.Host, "*."); ok {
			next.wild[rest] = append(next.wild[rest], p)
		} else {
			next.exact[key.Host] = append(next.exact[key.Host], p)
		}
	}
	for _, m := range []map[string][]*pool{next.exact, next.wild} {
		for _, pools := range m {
			slices.SortFunc(pools, func(a, b *pool) int { return cmp.Compare(len(b.key.Path), len(a.key.Path)) })
		}
	}
	t.now.Store(next)
	for id, e := range t.live {
		if !used[id] {
			delete(t.live, id)
			e.retire()
			t.leaving[e.Instance] = append(t.leaving[e.Instance], e)
		}
	}
	t.forgetDrained()
}

func (t *Table) forgetDrained() {
	for instance, list := range t.leaving {
		list = slices.DeleteFunc(list, func(e *endpoint) bool {
			select {
			case <-e.drained:
				return true
			default:
				return false
			}
		})
		if t.leaving[instance] = list; len(list) == 0 {
			delete(t.leaving, instance)
		}
	}
}

// endpoints lists what is alive now.
func (t *Table) endpoints() []*endpoint {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Values(t.live))
}

func (t *Table) pool(old *pool, r *Route, used map[Endpoint]bool) *pool {
	list := make([]*endpoint, 0, len(r.Endpoints))
	weights := make([]int, 0, len(r.Endpoints))
	for _, e := range r.Endpoints {
		weights = append(weights, max(e.Weight, 1))
		e.Weight = 0 // of the route, not of the instance
		if t.live[e] == nil {
			t.live[e] = newEndpoint(e)
		}
		used[e] = true
		list = append(list, t.live[e])
	}
	if old != nil && old.balancing == r.LoadBalancing && old.hash == r.Hash && slices.Equal(old.endpoints, list) && slices.Equal(old.weights, weights) {
		return old
	}
	p := &pool{key: r.Key, balancing: r.LoadBalancing, hash: r.Hash, endpoints: list, weights: weights, schedule: schedule(list, weights)}
	if old != nil {
		p.turn.Store(old.turn.Load())
		p.proven = old.proven
	} else {
		p.proven = newProven()
	}
	return p
}

// find returns the pool of exactly this route.
func (s *snapshot) find(k Key) *pool {
	pools := s.exact[k.Host]
	if rest, ok := strings.CutPrefix(k.Host, "*."); ok {
		pools = s.wild[rest]
	}
	for _, p := range pools {
		if p.key.Path == k.Path {
			return p
		}
	}
	return nil
}

// lookup finds the pool for a request: the host first, then wildcards from the
// nearest domain outwards; in each, the longest path that fits by segments.
// host is in lower case and without a port.
func (t *Table) lookup(host, target []byte) *pool {
	s := t.now.Load()
	if p := longest(s.exact[string(host)], target); p != nil {
		return p
	}
	if len(s.wild) == 0 {
		return nil
	}
	for i, c := range host {
		if c == '.' {
			if p := longest(s.wild[string(host[i+1:])], target); p != nil {
				return p
			}
		}
	}
	return nil
}

func longest(pools []*pool, target []byte) *pool {
	for _, p := range pools {
		n := len(p.key.Path)
		if n == 0 {
			return p
		}
		if len(target) < n || string(target[:n]) != p.key.Path {
			continue
		}
		if len(target) == n || target[n] == '/' || target[n] == '?' {
			return p
		}
	}
	return nil
}

// Routes returns the table's rows in a stable order.
func (t *Table) Routes() []Route {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.routes), func(a, b Route) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Path, b.Path))
	})
}

// Drained waits until no request is under way to an instance that the table
// no longer names. It returns at once for an instance that was never there,
// and an error when the context ends first.
func (t *Table) Drained(ctx context.Context, instance string) error {
	t.mu.Lock()
	leaving := slices.Clone(t.leaving[instance])
	t.mu.Unlock()
	for _, e := range leaving {
		select {
		case <-e.drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Routed reports whether a host has a route of its own, not by a wildcard.
func (t *Table) Routed(host string) bool {
	return len(t.now.Load().exact[Key{Host: host}.normal().Host]) > 0
}

// hostKey writes the host of an authority as the table stores it into dst.
func hostKey(dst, authority []byte) []byte {
	dst = dst[:0]
	end := len(authority)
	if authority[0] != '[' {
		for i, c := range authority {
			if c == ':' {
				end = i
				break
			}
		}
	}
	if end > 1 && authority[end-1] == '.' {
		end--
	}
	return http1.AppendLower(dst, authority[:end])
}
