package fd

import (
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"
)

// gate is a Pollable whose readiness the test sets.
type gate struct {
	Notifier_       Notifier
	ready           atomic.Uint32
	closed, closing atomic.Int32
}

func (g *gate) Read(p []byte, off int64) (int, syscall.Errno)  { return 0, syscall.EAGAIN }
func (g *gate) Write(p []byte, off int64) (int, syscall.Errno) { return len(p), 0 }
func (g *gate) Stat(st *syscall.Stat_t) syscall.Errno          { return 0 }
func (g *gate) Close()                                         { g.closed.Add(1) }
func (g *gate) Closing()                                       { g.closing.Add(1) }
func (g *gate) Ready() Events                                  { return Events(g.ready.Load()) }
func (g *gate) Notifier() *Notifier                            { return &g.Notifier_ }

func (g *gate) open(e Events) {
	g.ready.Store(uint32(e))
	g.Notifier_.Notify(e)
}

func install(t *testing.T, table *Table, f File) int {
	t.Helper()
	n, errno := table.Install(f, syscall.O_RDWR, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	return n
}

func TestLowestFreeNumberIsGiven(t *testing.T) {
	var table Table
	for want := range 40 { // over the first growth of the table
		if n := install(t, &table, new(gate)); n != want {
			t.Fatalf("got %d, want %d", n, want)
		}
	}
	table.Close(7)
	table.Close(3)
	if n, _ := table.Dup(0, 5, false); n != 7 {
		t.Errorf("dup from 5: %d, want 7", n)
	}
	if n := install(t, &table, new(gate)); n != 3 {
		t.Errorf("install: %d, want 3", n)
	}
	if n := install(t, &table, new(gate)); n != 40 {
		t.Errorf("install: %d, want 40", n)
	}
}

func TestFileClosesAfterLastDescriptorAndLastCall(t *testing.T) {
	var table Table
	g := new(gate)
	n := install(t, &table, g)
	second, _ := table.Dup(n, 0, true)
	r, ok := table.Get(n)
	if !ok {
		t.Fatal("not open")
	}
	table.Close(n)
	if g.closing.Load() != 0 {
		t.Error("closing was told while a descriptor lives")
	}
	table.Close(second)
	if g.closing.Load() != 1 || g.closed.Load() != 0 {
		t.Errorf("closing %d, closed %d while a call is under way", g.closing.Load(), g.closed.Load())
	}
	if _, ok := table.Get(n); ok {
		t.Error("a closed number is still open")
	}
	r.Put()
	if g.closed.Load() != 1 {
		t.Errorf("closed %d times", g.closed.Load())
	}
	if errno := table.Close(n); errno != syscall.EBADF {
		t.Errorf("second close: %v", errno)
	}
}

func TestDupToReplacesWithoutAGap(t *testing.T) {
	var table Table
	a, b := new(gate), new(gate)
	na, nb := install(t, &table, a), install(t, &table, b)
	if errno := table.DupTo(na, nb, false); errno != 0 {
		t.Fatal(errno)
	}
	if b.closed.Load() != 1 {
		t.Error("what the number stood for is not closed")
	}
	r, _ := table.Get(nb)
	if r.File != File(a) {
		t.Error("the number stands for another file")
	}
	r.Put()
	if errno := table.DupTo(99, nb, false); errno != syscall.EBADF {
		t.Errorf("dup of a closed number: %v", errno)
	}
}

func TestFlagsAreSharedByDups(t *testing.T) {
	var table Table
	n := install(t, &table, new(gate))
	m, _ := table.Dup(n, 0, false)
	r, _ := table.Get(n)
	r.SetFlags(syscall.O_NONBLOCK | syscall.O_WRONLY)
	r.Put()
	r, _ = table.Get(m)
	defer r.Put()
	if !r.NonBlocking() || r.Flags()&syscall.O_ACCMODE != syscall.O_RDWR {
		t.Errorf("flags %#x", r.Flags())
	}
}

func TestWaitReturnsWhenReady(t *testing.T) {
	for _, e := range []Events{Readable, HungUp, Failed} {
		g := new(gate)
		done := make(chan struct{})
		go func() { Wait(g, Readable); close(done) }()
		g.open(Writable)
		select {
		case <-done:
			t.Fatal("woken by what it does not wait for")
		default:
		}
		g.open(e)
		<-done
		if g.Notifier_.watched.Load() {
			t.Error("still watched")
		}
	}
}

// Close and Get race in every program: a reference is to an open file or none.
func TestGetAndCloseRace(t *testing.T) {
	var table Table
	for range 200 {
		g := new(gate)
		n := install(t, &table, g)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if r, ok := table.Get(n); ok {
					if g.closed.Load() != 0 {
						t.Error("got a closed file")
					}
					r.Put()
				}
			})
		}
		wg.Go(func() { table.Close(n) })
		wg.Wait()
		if g.closed.Load() != 1 {
			t.Fatalf("closed %d times", g.closed.Load())
		}
	}
}

func TestOnlyPollablesCanBePolled(t *testing.T) {
	var table Table
	g := new(gate)
	n := install(t, &table, g)
	var desc int
	if errno := table.OpenPoll(n, unsafe.Pointer(&desc), 1); errno != 0 {
		t.Error(errno)
	}
	if errno := table.OpenPoll(n, unsafe.Pointer(&desc), 2); errno != syscall.EEXIST {
		t.Errorf("a second time: %v", errno)
	}
	if p := g.Notifier_.current(); len(p) != 1 {
		t.Errorf("%d registrations", len(p))
	}
	table.ClosePoll(n)
	if p := g.Notifier_.current(); len(p) != 0 {
		t.Errorf("%d registrations after closing", len(p))
	}
	if errno := table.OpenPoll(n+1, nil, 1); errno != syscall.EBADF {
		t.Errorf("closed number: %v", errno)
	}
	always := install(t, &table, struct{ File }{g})
	if errno := table.OpenPoll(always, nil, 1); errno != syscall.EPERM {
		t.Errorf("file that is always ready: %v", errno)
	}
}

func TestNumbers(t *testing.T) {
	var table Table
	for range 3 {
		install(t, &table, new(gate))
	}
	table.Close(1)
	if got := table.Numbers(); len(got) != 2 || got[0] != 0 || got[1] != 2 {
		t.Errorf("%v", got)
	}
}

func TestTableIsBounded(t *testing.T) {
	var table Table
	n := install(t, &table, new(gate))
	if _, errno := table.Dup(n, Max, false); errno != syscall.EINVAL {
		t.Errorf("dup at the limit: %v", errno)
	}
	if errno := table.DupTo(n, Max, false); errno != syscall.EBADF {
		t.Errorf("dup2 at the limit: %v", errno)
	}
}
