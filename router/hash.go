package router

import (
	"math"

	"github.com/dewpaas/dew/router/http1"
)

// Balancing by hash is rendezvous hashing (Thaler, Ravishankar: "Using
// name-based mappings to increase hit rates", 1998): key and instance give a
// score, the highest wins. Without an instance only its keys move, and each to
// the instance that came second. Instances count by app and index, so that a
// key comes back after a crash, and every router decides alike.

// hashed acquires the instance of a key, unless it has more than its share
// under way; then the next in the order of the key.
func (p *pool) hashed(key uint64, fits func(*endpoint) bool) *endpoint {
	most := p.share()
	for range p.endpoints { // again only when one goes in between
		var best, least *endpoint
		var score uint64
		for _, e := range p.endpoints {
			if !fits(e) || e.gone.Load() {
				continue
			}
			active := e.active.Load()
			if least == nil || active < least.active.Load() {
				least = e
			}
			if s := mix(key ^ e.place); float64(active) < most && (best == nil || s > score) {
				best, score = e, s
			}
		}
		if best == nil {
			best = least
		}
		if best == nil || best.acquire() {
			return best
		}
	}
	return nil
}

// share is how many requests one instance may have under way when another one
// comes, by the route's balance.
func (p *pool) share() float64 {
	if p.hash.Balance == 0 {
		return math.Inf(1)
	}
	total, n := 1.0, 0.0
	for _, e := range p.endpoints {
		if !e.gone.Load() {
			total += float64(e.active.Load())
			n++
		}
	}
	return max(1, p.hash.Balance*total/n)
}

// hashKey is what the pool's header says of the request; 0 when it says nothing.
func (x *exchange) hashKey(p *pool) uint64 {
	if p.balancing != Hash {
		return 0
	}
	for i := range x.client.req.Fields {
		if f := &x.client.req.Fields[i]; http1.EqualFold(f.Name, p.hash.Header) {
			return keyHash(f.Value)
		}
	}
	return 0
}

// keyHash is never 0.
func keyHash(value []byte) uint64 { return mix(fnv(value)) | 1 }

func placeHash(e *Endpoint) uint64 { return mix(fnv([]byte(e.App)) + uint64(e.Index)) }

// fnv is FNV-1a of 64 bits, as hash/fnv has it for streams.
func fnv(b []byte) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	return h
}

// mix spreads every bit over all: the last steps of SplitMix64 (Steele, Lea,
// Flood: "Fast splittable pseudorandom number generators", 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
