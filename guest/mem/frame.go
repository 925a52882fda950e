package mem

import "unsafe"

// PageSize in bytes.
const PageSize = 4096

// Arena is the address at which physical address 0 appears.
type Arena uintptr

// At is the one door from a physical address to memory.
func (a Arena) At(phys uint64) unsafe.Pointer { return unsafe.Add(nil, uintptr(a)+uintptr(phys)) }

func (a Arena) word(phys uint64) *uint64 { return (*uint64)(a.At(phys)) }

// zero clears a page in pieces for which the compiler uses vector stores: an
// emulated CPU makes REP STOSQ, its choice for the whole, five times as slow.
func (a Arena) zero(phys uint64) {
	page := (*[PageSize / 64][8]uint64)(a.At(phys))
	for i := range page {
		page[i] = [8]uint64{}
	}
}

const maxRanges = 32

// Frames hands out physical pages. Fresh pages come from the ranges, low ones
// first, so that what a guest never needs is never touched; freed pages are
// chained through their own first word and come back before fresh ones.
type Frames struct {
	Arena Arena
	Free  uint64 // pages
	Total uint64 // pages

	ranges [maxRanges]span
	count  int
	next   int // range that fresh pages come from
	chain  uint64
}

type span struct{ lo, hi uint64 }

// Add gives memory to the allocator. More than maxRanges pieces are ignored.
func (f *Frames) Add(lo, hi uint64) {
	lo, hi = (lo+PageSize-1)&^(PageSize-1), hi&^(PageSize-1)
	if hi <= lo || lo == 0 || f.count == maxRanges {
		return
	}
	f.ranges[f.count] = span{lo, hi}
	f.count++
	f.Free += (hi - lo) / PageSize
	f.Total += (hi - lo) / PageSize
}

// Take returns a zeroed page, or 0 when memory is exhausted.
func (f *Frames) Take() uint64 {
	if p := f.chain; p != 0 {
		f.chain = *f.Arena.word(p)
		f.Free--
		f.Arena.zero(p)
		return p
	}
	for ; f.next < f.count; f.next++ {
		r := &f.ranges[f.next]
		if r.lo < r.hi {
			p := r.lo
			r.lo += PageSize
			f.Free--
			f.Arena.zero(p)
			return p
		}
	}
	return 0
}

// TakeRun returns n zeroed pages in a row for a device, or 0. They come from
// the last range that has room and are never given back.
func (f *Frames) TakeRun(n uint64) uint64 {
	run := f.TakeBuffers(n)
	for p := run; run != 0 && p < run+n*PageSize; p += PageSize {
		f.Arena.zero(p)
	}
	return run
}

// TakeBuffers is TakeRun for memory that is written before it is read, and so is
// touched no earlier.
func (f *Frames) TakeBuffers(n uint64) uint64 {
	for i := f.count - 1; i >= f.next; i-- {
		r := &f.ranges[i]
		if (r.hi-r.lo)/PageSize < n {
			continue
		}
		r.hi -= n * PageSize
		f.Free -= n
		return r.hi
	}
	return 0
}

// Give takes a page back.
func (f *Frames) Give(p uint64) {
	*f.Arena.word(p) = f.chain
	f.chain = p
	f.Free++
}
