package mem

// Bits of a paging-structure entry, tables 4-15 to 4-20.
const (
	pteP     = 1 << 0
	pteRW    = 1 << 1
	ptePWT   = 1 << 3
	ptePCD   = 1 << 4
	ptePS    = 1 << 7
	pteOwned = 1 << 9 // ignored by the CPU: the frame is ours to free
	pteXD    = 1 << 63

	pteAddr = 0x000ffffffffff000
	large   = 2 << 20
)

// Prot is what may be done with a page, numbered as PROT_* of mmap(2).
type Prot uint64

const (
	Read    Prot = 1
	Write   Prot = 2
	Execute Prot = 4
)

// Table is one tree of page tables.
type Table struct {
	Frames
	Root uint64 // physical
}

func (p Prot) bits() uint64 {
	b := uint64(pteP)
	if p&Write != 0 {
		b |= pteRW
	}
	if p&Execute == 0 {
		b |= pteXD
	}
	return b
}

// entry returns the physical address of addr's entry at the level whose
// entries span 1<<shift bytes: 12 or 21. It makes missing tables if asked to,
// and returns 0 where there is none or memory is exhausted.
func (t *Table) entry(addr uint64, shift uint, create bool) uint64 {
	table := t.Root
	for s := uint(39); s > shift; s -= 9 {
		e := table + (addr>>s&511)*8
		v := *t.Arena.word(e)
		if v&pteP == 0 {
			if !create {
				return 0
			}
			p := t.Take()
			if p == 0 {
				return 0
			}
			v = p | pteP | pteRW
			*t.Arena.word(e) = v
		}
		if v&ptePS != 0 {
			return 0
		}
		table = v & pteAddr
	}
	return table + (addr>>shift&511)*8
}

// MapPage maps one page to a frame that the table does not own.
func (t *Table) MapPage(addr, phys uint64, prot Prot) bool {
	return t.set(addr, phys|prot.bits())
}

func (t *Table) set(addr, v uint64) bool {
	e := t.entry(addr, 12, true)
	if e == 0 {
		return false
	}
	*t.Arena.word(e) = v
	return true
}

// MapLarge maps [phys, phys+size) at addr in pieces of 2 MiB, rounding
// outwards; addr and phys must be alike below 2 MiB. Device memory is not
// cached. Never executable.
func (t *Table) MapLarge(addr, phys, size uint64, device bool) bool {
	v := uint64(pteP | pteRW | ptePS | pteXD)
	if device {
		v |= ptePCD | ptePWT
	}
	for end := phys + size; phys < end; {
		base := phys &^ (large - 1)
		e := t.entry(addr, 21, true)
		if e == 0 {
			return false
		}
		*t.Arena.word(e) = base | v
		addr += base + large - phys
		phys = base + large
	}
	return true
}

// Lookup returns the frame behind addr.
func (t *Table) Lookup(addr uint64) (phys uint64, prot Prot, ok bool) {
	e := t.entry(addr, 12, false)
	if e == 0 {
		return 0, 0, false
	}
	v := *t.Arena.word(e)
	if v&pteP == 0 {
		return 0, 0, false
	}
	prot = Read
	if v&pteRW != 0 {
		prot |= Write
	}
	if v&pteXD == 0 {
		prot |= Execute
	}
	return v & pteAddr, prot, true
}

// drop unmaps [lo, hi), frees the frames it owns and counts what was there.
// Missing tables are skipped whole.
func (t *Table) drop(lo, hi uint64) (dropped uint64) {
	for a := lo; a < hi; {
		table, s := t.Root, uint(39)
		for ; s > 12; s -= 9 {
			v := *t.Arena.word(table + (a>>s&511)*8)
			if v&pteP == 0 || v&ptePS != 0 {
				break
			}
			table = v & pteAddr
		}
		if s > 12 {
			a = (a>>s + 1) << s
			continue
		}
		e := t.Arena.word(table + (a>>12&511)*8)
		if v := *e; v&pteP != 0 {
			*e = 0
			dropped++
			if v&pteOwned != 0 {
				t.Give(v & pteAddr)
			}
		}
		a += PageSize
	}
	return dropped
}
