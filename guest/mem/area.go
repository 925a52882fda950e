package mem

// maxAreas bounds the list. The Go runtime needs some hundreds for a heap of
// gigabytes, because it maps arenas of 64 MiB.
const maxAreas = 4096

// area is one run of pages mapped alike.
type area struct {
	lo, hi uint64
	prot   Prot
	phys   uint64 // of lo, for a window on existing memory; 0: zero pages on demand
}

// areas is sorted and has no overlaps.
type areas struct {
	list [maxAreas]area
	n    int
}

// find returns the index of the first area that ends behind addr.
func (s *areas) find(addr uint64) int {
	lo, hi := 0, s.n
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if s.list[m].hi > addr {
			hi = m
		} else {
			lo = m + 1
		}
	}
	return lo
}

// room tells whether n more areas fit.
func (s *areas) room(n int) bool { return s.n+n <= maxAreas }

func (s *areas) insert(i int, a area) {
	copy(s.list[i+1:s.n+1], s.list[i:s.n])
	s.list[i] = a
	s.n++
}

func (s *areas) remove(i int) {
	copy(s.list[i:s.n-1], s.list[i+1:s.n])
	s.n--
}

// carve makes [lo, hi) empty. It needs room for one more area.
func (s *areas) carve(lo, hi uint64) {
	for i := s.find(lo); i < s.n && s.list[i].lo < hi; {
		a := s.list[i]
		switch {
		case a.lo < lo && a.hi > hi:
			s.list[i].hi = lo
			s.insert(i+1, a.from(hi))
			return
		case a.lo < lo:
			s.list[i].hi = lo
			i++
		case a.hi > hi:
			s.list[i] = a.from(hi)
			return
		default:
			s.remove(i)
		}
	}
}

// from is the part of a that starts at addr.
func (a area) from(addr uint64) area {
	if a.phys != 0 {
		a.phys += addr - a.lo
	}
	a.lo = addr
	return a
}

// joins tells whether b continues a.
func (a area) joins(b area) bool {
	if a.hi != b.lo || a.prot != b.prot || (a.phys == 0) != (b.phys == 0) {
		return false
	}
	return a.phys == 0 || a.phys+(a.hi-a.lo) == b.phys
}

// put replaces whatever was in a's place. It needs room for two more areas.
func (s *areas) put(a area) {
	s.carve(a.lo, a.hi)
	i := s.find(a.lo)
	if i < s.n && a.joins(s.list[i]) {
		a.hi = s.list[i].hi
		s.remove(i)
	}
	if i > 0 && s.list[i-1].joins(a) {
		s.list[i-1].hi = a.hi
		return
	}
	s.insert(i, a)
}

// gap finds the highest free place for n bytes in [low, high), or 0.
func (s *areas) gap(n, low, high uint64) uint64 {
	top := high
	for i := s.n - 1; i >= 0; i-- {
		a := s.list[i]
		if a.lo >= high {
			continue
		}
		if a.hi <= top && top-a.hi >= n {
			break
		}
		top = min(top, a.lo)
	}
	if top < n || top-n < low {
		return 0
	}
	return top - n
}
