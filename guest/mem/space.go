package mem

// The program may map addresses in [Low, High). Its ELF lies below Low.
const (
	Low  = 1 << 32
	High = 0x7fff_0000_0000
)

// around is how much is made present by one fault: under an emulated CPU the
// trap costs several times what zeroing a page does.
const around = 8 * PageSize

// Space is what the program sees: areas, and the tables that follow them.
type Space struct {
	Table
	Stale  uint64 // translations removed since the caller last flushed them
	Faults uint64

	areas areas
}

// Err is why a call was refused.
type Err int

const (
	OK Err = iota
	Invalid
	Exhausted // no addresses, no areas or no frames left
	Denied    // nothing is mapped there, or not for this use
)

// Map makes an area of zero pages. With fixed it replaces what is there;
// otherwise addr is a wish.
func (s *Space) Map(addr, size uint64, prot Prot, fixed bool) (uint64, Err) {
	return s.place(area{lo: addr, hi: size, prot: prot & (Read | Write | Execute)}, fixed)
}

// Window maps size bytes of existing physical memory, read-only.
func (s *Space) Window(addr, size, phys uint64, fixed bool) (uint64, Err) {
	if phys == 0 || phys%PageSize != 0 {
		return 0, Invalid
	}
	return s.place(area{lo: addr, hi: size, prot: Read, phys: phys}, fixed)
}

// place takes the area with its wish in lo and its size in hi.
func (s *Space) place(a area, fixed bool) (uint64, Err) {
	size := roundUp(a.hi)
	if size == 0 || size > High || a.lo%PageSize != 0 && fixed {
		return 0, Invalid
	}
	if !s.areas.room(2) {
		return 0, Exhausted
	}
	if fixed {
		if !inside(a.lo, size) {
			return 0, Invalid
		}
		s.Stale += s.drop(a.lo, a.lo+size)
	} else if a.lo = s.choose(a.lo&^(PageSize-1), size); a.lo == 0 {
		return 0, Exhausted
	}
	a.hi = a.lo + size
	s.areas.put(a)
	return a.lo, OK
}

// choose honours a wish where the place is free.
func (s *Space) choose(wish, size uint64) uint64 {
	if inside(wish, size) {
		if i := s.areas.find(wish); i == s.areas.n || s.areas.list[i].lo >= wish+size {
			return wish
		}
	}
	return s.areas.gap(size, Low, High)
}

// Unmap frees a range.
func (s *Space) Unmap(addr, size uint64) Err {
	size = roundUp(size)
	if size == 0 || addr%PageSize != 0 || !inside(addr, size) {
		return Invalid
	}
	if !s.areas.room(1) {
		return Exhausted
	}
	s.areas.carve(addr, addr+size)
	s.Stale += s.drop(addr, addr+size)
	return OK
}

// Discard gives the pages of a range back; they read as zero when touched again.
func (s *Space) Discard(addr, size uint64) Err {
	size = roundUp(size)
	if addr%PageSize != 0 || size != 0 && !inside(addr, size) {
		return Invalid
	}
	s.Stale += s.drop(addr, addr+size)
	return OK
}

// Fault makes the page at addr present if its area allows the use.
func (s *Space) Fault(addr uint64, use Prot) Err {
	i := s.areas.find(addr)
	if i == s.areas.n || s.areas.list[i].lo > addr || s.areas.list[i].prot&use != use || use == 0 {
		return Denied
	}
	a := &s.areas.list[i]
	s.Faults++
	page := addr &^ (PageSize - 1)
	if a.phys != 0 {
		if !s.MapPage(page, a.phys+page-a.lo, a.prot) {
			return Exhausted
		}
		return OK
	}
	if !s.populate(page, a.prot) {
		return Exhausted
	}
	s.populateAround(page, a)
	return OK
}

// populate is happy with a page that another CPU made present meanwhile.
func (s *Space) populate(page uint64, prot Prot) bool {
	e := s.entry(page, 12, true)
	if e == 0 {
		return false
	}
	if *s.Arena.word(e)&pteP != 0 {
		return true
	}
	frame := s.Take()
	if frame == 0 {
		return false
	}
	*s.Arena.word(e) = frame | pteOwned | prot.bits()
	return true
}

// populateAround makes the neighbours present too, as long as memory is plenty.
func (s *Space) populateAround(page uint64, a *area) {
	if a.prot&Write == 0 || s.Free < s.Total/8 {
		return
	}
	first := page &^ (around - 1)
	for p := max(first, a.lo); p < min(first+around, a.hi); p += PageSize {
		if !s.populate(p, a.prot) {
			return
		}
	}
}

// Touch makes [addr, addr+n) present for the kernel's own reading or writing.
func (s *Space) Touch(addr, n uint64, use Prot) Err {
	if n == 0 {
		return OK
	}
	if addr+n < addr || addr+n > High {
		return Denied
	}
	for p := addr &^ (PageSize - 1); p < addr+n; p += PageSize {
		if _, prot, ok := s.Lookup(p); ok {
			if prot&use != use {
				return Denied
			}
			continue
		}
		if err := s.Fault(p, use); err != OK {
			return err
		}
	}
	return OK
}

func inside(addr, size uint64) bool {
	return addr >= Low && size <= High && addr <= High-size
}

// roundUp gives 0 where the sum wraps.
func roundUp(n uint64) uint64 { return (n + PageSize - 1) &^ (PageSize - 1) }
