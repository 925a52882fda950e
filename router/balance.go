package router

import (
	"sync/atomic"
	"time"
)

// pool is what a request gets from the table: the endpoints of one route.
// It never changes but for its turn and what is proven.
type pool struct {
	key       Key
	balancing Balancing
	hash      HashOptions
	endpoints []*endpoint
	weights   []int
	schedule  []*endpoint // endpoints in their turns, by weight
	turn      atomic.Uint64
	proven    *proven // the same for as long as the route is there
}

// attempts bounds the endpoints that one request tries.
const attempts = 3

// tried remembers where a request has failed.
type tried struct {
	list [attempts]*endpoint
	n    int
}

func (t *tried) add(e *endpoint) {
	if t.n < attempts {
		t.list[t.n] = e
		t.n++
	}
}

func (t *tried) has(e *endpoint) bool {
	for _, x := range t.list[:t.n] {
		if x == e {
			return true
		}
	}
	return false
}

// schedule spreads weighted turns evenly: each round every endpoint earns its
// weight and the richest pays the total. With equal weights it is the list.
func schedule(list []*endpoint, weights []int) []*endpoint {
	total, equal := 0, true
	for _, w := range weights {
		total += w
		equal = equal && w == weights[0]
	}
	if equal {
		return list
	}
	purse := make([]int, len(list))
	out := make([]*endpoint, 0, total)
	for range total {
		best := 0
		for i := range purse {
			purse[i] += weights[i]
			if purse[i] > purse[best] {
				best = i
			}
		}
		purse[best] -= total
		out = append(out, list[best])
	}
	return out
}

// pick chooses and acquires an endpoint. It prefers one that has not failed
// this request and has not just failed others, but rather tries a doubtful one
// than none. nil means that the route has no endpoint (any more). key is the
// request's, from hashKey.
func (p *pool) pick(t *tried, now time.Time, key uint64) *endpoint {
	for strict := 2; strict >= 0; strict-- {
		fits := func(e *endpoint) bool {
			return (strict < 1 || !t.has(e)) && (strict < 2 || !e.down(now))
		}
		var e *endpoint
		switch {
		case p.balancing == LeastConnection:
			e = p.leastBusy(fits)
		case p.balancing == Hash && key != 0:
			e = p.hashed(key, fits)
		default:
			e = p.next(fits)
		}
		if e != nil {
			return e
		}
	}
	return nil
}

func (p *pool) next(fits func(*endpoint) bool) *endpoint {
	n := uint64(len(p.schedule))
	if n == 0 {
		return nil
	}
	start := p.turn.Add(1)
	for i := range n {
		if e := p.schedule[(start+i)%n]; fits(e) && e.acquire() {
			return e
		}
	}
	return nil
}

// leastBusy begins at a moving start, so that equals share. Weights divide.
func (p *pool) leastBusy(fits func(*endpoint) bool) *endpoint {
	n := uint64(len(p.endpoints))
	var best *endpoint
	var load, weight int64
	start := p.turn.Add(1)
	for i := range n {
		at := (start + i) % n
		e, w := p.endpoints[at], int64(p.weights[at])
		if !fits(e) || e.gone.Load() {
			continue
		}
		if l := e.active.Load(); best == nil || l*weight < load*w {
			best, load, weight = e, l, w
		}
	}
	if best == nil || !best.acquire() {
		return nil
	}
	return best
}

// instance acquires the endpoint of this GUID: for sticky sessions.
func (p *pool) instance(guid []byte, now time.Time) *endpoint {
	for _, e := range p.endpoints {
		if e.Instance == string(guid) && !e.down(now) && e.acquire() {
			return e
		}
	}
	return nil
}

// index acquires the endpoint that a pinning header names.
func (p *pool) pinned(pin *pin) *endpoint {
	for _, e := range p.endpoints {
		owner := e.App
		if pin.process {
			owner = e.Process
		}
		if owner == string(pin.guid) && (pin.index < 0 || e.Index == pin.index) && e.acquire() {
			return e
		}
	}
	return nil
}
