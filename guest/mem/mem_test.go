package mem

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"
)

// newSpace is a Space over n pages of ordinary memory. Frame 0 is never given
// out, as on a machine.
func newSpace(t testing.TB, pages int) *Space {
	b, err := syscall.Mmap(-1, 0, pages*PageSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(b) })
	s := new(Space)
	s.Arena = Arena(uintptr(unsafe.Pointer(&b[0])))
	s.Add(PageSize, uint64(pages)*PageSize)
	s.Root = s.Take()
	return s
}

func TestFreshPagesAreZeroAgain(t *testing.T) {
	s := newSpace(t, 16)
	p := s.Take()
	*s.Arena.word(p + 8) = 7
	s.Give(p)
	if q := s.Take(); q != p || *s.Arena.word(q + 8) != 0 || *s.Arena.word(q) != 0 {
		t.Errorf("page %#x came back as %#x, not zeroed", p, q)
	}
}

func TestFramesRunOut(t *testing.T) {
	s := newSpace(t, 8)
	free := s.Free
	for range free {
		if s.Take() == 0 {
			t.Fatal("exhausted early")
		}
	}
	if s.Take() != 0 || s.Free != 0 {
		t.Errorf("a page of nothing; %d left", s.Free)
	}
}

func TestRunsAreContiguousAndApart(t *testing.T) {
	s := newSpace(t, 32)
	run := s.TakeRun(4)
	seen := map[uint64]bool{run: true, run + 4096: true, run + 8192: true, run + 12288: true}
	for p := s.Take(); p != 0; p = s.Take() {
		if seen[p] {
			t.Fatalf("page %#x twice", p)
		}
		seen[p] = true
	}
	if s.TakeRun(1) != 0 {
		t.Error("a run of nothing")
	}
}

func TestTouchingMakesPresentWithTheRightsOfTheArea(t *testing.T) {
	s := newSpace(t, 64)
	a, err := s.Map(0, 3*PageSize, Read, false)
	if err != OK {
		t.Fatal(err)
	}
	if _, _, ok := s.Lookup(a); ok {
		t.Error("present before it was touched")
	}
	if s.Fault(a+PageSize+5, Write|Read) != Denied {
		t.Error("a read-only page was made present for writing")
	}
	if s.Fault(a+PageSize+5, Read) != OK {
		t.Error("reading was refused")
	}
	if _, prot, ok := s.Lookup(a + PageSize); !ok || prot != Read {
		t.Errorf("rights %v, present %v", prot, ok)
	}
	if s.Fault(a, Execute|Read) != Denied {
		t.Error("data was made executable")
	}
}

func TestNothingAtZeroAndOutside(t *testing.T) {
	s := newSpace(t, 64)
	for _, addr := range []uint64{0, 8, PageSize, Low - 1, High, 1 << 63, 1<<64 - 1} {
		if err := s.Fault(addr, Read); err != Denied {
			t.Errorf("fault at %#x: %v", addr, err)
		}
		if err := s.Touch(addr, 8, Read); err == OK {
			t.Errorf("touch at %#x succeeded", addr)
		}
	}
	for _, c := range []struct{ addr, size uint64 }{
		{0, PageSize}, {Low - PageSize, 2 * PageSize}, {High, PageSize}, {High - PageSize, 2 * PageSize},
		{Low, 1 << 63}, {Low + 1, PageSize}, {1 << 63, PageSize}, {Low, 1<<64 - 1},
	} {
		if at, err := s.Map(c.addr, c.size, Read, true); err == OK {
			t.Errorf("mapped %#x+%#x at %#x", c.addr, c.size, at)
		}
		if err := s.Unmap(c.addr, c.size); err == OK {
			t.Errorf("unmapped %#x+%#x", c.addr, c.size)
		}
	}
}

func TestFaultBringsNeighboursButNotBeyondTheArea(t *testing.T) {
	s := newSpace(t, 128)
	a, _ := s.Map(Low, 5*PageSize, Read|Write, true)
	s.Fault(a+2*PageSize, Write)
	for i := range uint64(8) {
		if _, _, ok := s.Lookup(a + i*PageSize); ok != (i < 5) {
			t.Errorf("page %d: present %v", i, ok)
		}
	}
}

func TestDiscardedPagesReadAsZeroAndAreGivenBack(t *testing.T) {
	s := newSpace(t, 128)
	a, _ := s.Map(0, 64*PageSize, Read|Write, false)
	s.Touch(a, 64*PageSize, Write)
	phys, _, _ := s.Lookup(a)
	*s.Arena.word(phys) = 42
	free := s.Free
	if s.Discard(a, 64*PageSize) != OK || s.Free != free+64 || s.Stale != 64 {
		t.Errorf("free %d to %d, stale %d", free, s.Free, s.Stale)
	}
	s.Touch(a, 8, Read)
	phys, _, _ = s.Lookup(a)
	if *s.Arena.word(phys) != 0 {
		t.Error("old contents")
	}
}

func TestWindowShowsExistingMemoryAndNeverFreesIt(t *testing.T) {
	s := newSpace(t, 64)
	phys := s.TakeRun(2)
	a, err := s.Window(0, 2*PageSize, phys, false)
	if err != OK || s.Touch(a, 2*PageSize, Read) != OK || s.Touch(a, 1, Write) != Denied {
		t.Fatal("window", err)
	}
	if got, prot, _ := s.Lookup(a + PageSize); got != phys+PageSize || prot != Read {
		t.Errorf("frame %#x with %v", got, prot)
	}
	free := s.Free
	s.Unmap(a, 2*PageSize)
	if s.Free != free {
		t.Error("freed memory that is not ours")
	}
}

func TestExhaustionIsToldApart(t *testing.T) {
	s := newSpace(t, 16)
	a, _ := s.Map(0, 64*PageSize, Read|Write, false)
	if err := s.Touch(a, 64*PageSize, Write); err != Exhausted {
		t.Error(err)
	}
}

// model is the list of areas done with a map from page to rights.
type model map[uint64]Prot

func (m model) set(lo, hi uint64, prot Prot, mapped bool) {
	for a := lo; a < hi; a += PageSize {
		delete(m, a)
		if mapped {
			m[a] = prot
		}
	}
}

func TestAreasAgreeWithAModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s, m := newSpace(t, 64), model{}
	const pages = 64
	for range 20000 {
		lo := Low + uint64(r.IntN(pages))*PageSize
		hi := lo + uint64(1+r.IntN(8))*PageSize
		if prot := Prot(r.IntN(4)); r.IntN(3) > 0 {
			s.Map(lo, hi-lo, prot, true)
			m.set(lo, hi, prot, true)
		} else {
			s.Unmap(lo, hi-lo)
			m.set(lo, hi, 0, false)
		}
		s.check(t)
	}
	for a := uint64(Low); a < Low+(pages+8)*PageSize; a += PageSize {
		prot, want := m[a]
		i := s.areas.find(a)
		got := i < s.areas.n && s.areas.list[i].lo <= a
		if got != want || got && s.areas.list[i].prot != prot {
			t.Fatalf("page %#x: mapped %v, want %v", a, got, want)
		}
	}
}

// check is the invariant of the list: sorted, apart, not empty, merged.
func (s *Space) check(t testing.TB) {
	for i := range s.areas.n {
		a := s.areas.list[i]
		if a.lo >= a.hi || i > 0 && (s.areas.list[i-1].hi > a.lo || s.areas.list[i-1].joins(a)) {
			t.Fatalf("area %d of %d is [%#x,%#x)", i, s.areas.n, a.lo, a.hi)
		}
	}
}

func TestPlacesDoNotOverlap(t *testing.T) {
	s := newSpace(t, 16)
	a, _ := s.Map(0, 1<<20, Read, false)
	b, _ := s.Map(a, 1<<20, Read|Write, false)
	c, _ := s.Map(Low+1<<30, PageSize, Read, false)
	if a == b || a < b+1<<20 && b < a+1<<20 || c != Low+1<<30 {
		t.Errorf("a %#x b %#x c %#x", a, b, c)
	}
}

func FuzzSpace(f *testing.F) {
	f.Add([]byte{0, 1, 4, 3, 1, 2, 2, 0, 2, 1, 8, 0, 3, 0, 0, 0})
	f.Add([]byte{0, 9, 200, 7, 3, 9, 0, 0, 1, 9, 100, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		s := newSpace(t, 256)
		for ; len(ops) >= 4; ops = ops[4:] {
			addr, size := Low+uint64(ops[1])*PageSize, uint64(ops[2])*PageSize
			switch ops[0] % 4 {
			case 0:
				s.Map(addr, size, Prot(ops[3]), ops[3]&8 != 0)
			case 1:
				s.Unmap(addr, size)
			case 2:
				s.Discard(addr, size)
			case 3:
				s.Touch(addr, size, Prot(ops[3]))
			}
			s.check(t)
		}
		s.Unmap(Low, High-Low)
		if s.areas.n != 0 {
			t.Fatal("areas are left")
		}
		// All but page tables has come back.
		if kept := s.Total - s.Free; kept > 32 {
			t.Fatalf("%d pages did not come back", kept)
		}
	})
}
