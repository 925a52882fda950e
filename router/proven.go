package router

import (
	"bytes"
	"hash/maphash"
	"sync/atomic"
)

// proven remembers which requests, by method and path, the instances of a
// route have answered. When an instance ends without answering, the request
// may be why: what never was answered is not tried on the next instance
// (ADR 0012). Old kinds give way to new ones.
type proven struct {
	seed  maphash.Seed
	kinds atomic.Pointer[[provenKinds]atomic.Uint64] // nil: none yet
}

const provenKinds = 256

func newProven() *proven { return &proven{seed: maphash.MakeSeed()} }

// kind is never 0.
func (p *proven) kind(method, target []byte) uint64 {
	path := target
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		path = target[:i]
	}
	return (maphash.Bytes(p.seed, path) + 3*maphash.Bytes(p.seed, method)) | 1
}

func (p *proven) note(method, target []byte) {
	kinds := p.kinds.Load()
	if kinds == nil {
		p.kinds.CompareAndSwap(nil, new([provenKinds]atomic.Uint64))
		kinds = p.kinds.Load()
	}
	k := p.kind(method, target)
	if at := &kinds[k>>32%provenKinds]; at.Load() != k {
		at.Store(k)
	}
}

func (p *proven) has(method, target []byte) bool {
	kinds := p.kinds.Load()
	k := p.kind(method, target)
	return kinds != nil && kinds[k>>32%provenKinds].Load() == k
}
