package thread

import (
	"testing"
	"unsafe"
)

func ready(s *Table, n int) {
	for range n {
		s.New().State = Ready
	}
}

func TestTurnsAreFair(t *testing.T) {
	var s Table
	ready(&s, 3)
	var order []uint64
	for range 6 {
		c := s.Schedule(1, 0)
		order = append(order, c.Next.TID)
		c.Next.State = Ready
	}
	want := []uint64{2, 3, 1, 2, 3, 1}
	for i := range want {
		if order[i] != want[i] {
			t.Fatalf("order %v", order)
		}
	}
}

func TestTheTimerIsWhatComesFirst(t *testing.T) {
	const now = 1_000_000_000
	for name, c := range map[string]struct {
		ready int
		sleep []uint64
		want  uint64
	}{
		"nothing":                 {0, nil, 0},
		"alone":                   {1, nil, 0},
		"two share":               {2, nil, now + Slice},
		"a sleeper":               {0, []uint64{now + 9_000_000}, now + 9_000_000},
		"the earlier sleeper":     {1, []uint64{now + 9_000_000, now + 8_000_000}, now + 8_000_000},
		"slack for a short sleep": {1, []uint64{now + 1}, now + Slack},
		"slice before sleeper":    {2, []uint64{now + 9_000_000}, now + Slice},
	} {
		var s Table
		ready(&s, c.ready)
		for _, at := range c.sleep {
			s.New().Block(Sleep, at, 0)
		}
		if got := s.Schedule(now, 0); got.Timer != c.want || (got.Next != nil) != (c.ready > 0) || got.More != (c.ready > 1) {
			t.Errorf("%s: %+v, want timer %d", name, got, c.want)
		}
	}
}

func TestDeadlinesWakeWithTheirResult(t *testing.T) {
	var s Table
	x := s.New()
	x.Block(Futex, 100, 42)
	if s.Schedule(99, 0).Next != nil {
		t.Error("woke early")
	}
	if c := s.Schedule(100, 3); c.Next != x || x.RAX != 42 || x.State != Running || x.CPU != 3 || x.Deadline != 0 {
		t.Errorf("%+v", x)
	}
}

func TestFutexWakesOnlyItsWaiters(t *testing.T) {
	var s Table
	for _, key := range []uint64{8, 16, 8, 8} {
		x := s.New()
		x.Key, x.RAX = key, 7
		x.Block(Futex, 0, 0)
	}
	if n := s.WakeFutex(8, 2); n != 2 {
		t.Errorf("woke %d", n)
	}
	if s.list[0].State != Ready || s.list[1].State != Futex || s.list[2].State != Ready || s.list[3].State != Futex || s.list[0].RAX != 0 {
		t.Error("woke the wrong ones")
	}
}

func TestRetryMakesTheCallAgain(t *testing.T) {
	var s Table
	x := s.New()
	x.RIP, x.RAX = 0x1002, 99
	x.Retry(Output, 1)
	if s.Resume(Output) != 1 || x.RIP != 0x1000 || x.RAX != 1 || x.State != Ready {
		t.Errorf("%+v", x)
	}
}

func TestThreadsRunOutAndComeBack(t *testing.T) {
	var s Table
	for range Max {
		s.New().State = Ready
	}
	if s.New() != nil {
		t.Fatal("one too many")
	}
	s.list[5].State = Unused
	s.list[5].XSave = 0x1000
	x := s.New()
	if x != &s.list[5] || x.XSave != 0x1000 || x.TID != Max+1 {
		t.Errorf("%+v", x)
	}
}

func TestFavouredRunsNext(t *testing.T) {
	var s Table
	ready(&s, 5)
	s.Favour(&s.list[3])
	if c := s.Schedule(1, 0); c.Next != &s.list[3] {
		t.Error("another one ran")
	}
}

const xsize = 832

// stack is memory for a signal handler, and XSAVE areas.
type stack struct {
	_    [0]uint64
	area [512]uint64
	low  [2048]uint64
}

func address(p *uint64) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

func newStack(s *Table) (*Thread, *stack) {
	m := new(stack)
	x := s.New()
	x.State = Running
	x.XSave = address(&m.area[0])
	x.RSP = address(&m.low[2000])
	x.RIP, x.RBX, x.R15, x.RFlags, x.FSBase = 0x401000, 3, 15, 0x246, 0x7000
	return x, m
}

func TestAHandlerSeesItsFrameAndReturns(t *testing.T) {
	for _, full := range []uint64{0, 1} {
		var s Table
		x, m := newStack(&s)
		x.Full = full
		m.area[0], m.area[100] = 0x37f, 0xabcdef
		s.Actions[SIGSEGV] = Action{Handler: 0x402000, Restorer: 0x403000, Mask: 1 << 3}
		before := x.Regs
		sig := Signal{Number: SIGSEGV, Code: SEGV_MAPERR, Address: 0x10, Trap: 14, Error: 4}
		lo, n := s.FrameRange(x, sig, xsize)
		s.Deliver(x, sig, xsize)

		if x.RSP != lo || (x.RSP+8)%16 != 0 || lo+n > before.RSP-128 || x.RIP != 0x402000 || x.RDI != SIGSEGV {
			t.Errorf("full %d: enters at %#x with stack %#x in [%#x,+%d)", full, x.RIP, x.RSP, lo, n)
		}
		info := (*[3]uint64)(at(x.RSI))
		context := (*[38]uint64)(at(x.RDX))
		if info[0] != SIGSEGV || info[1] != SEGV_MAPERR || info[2] != 0x10 || context[5+gRIP] != 0x401000 || context[5+gCR2] != 0x10 {
			t.Errorf("full %d: siginfo %v", full, info)
		}
		if x.Mask != 1<<3|1<<(SIGSEGV-1) || (context[5+gFP] != 0) != (full == 1) || context[5+gFP]%64 != 0 {
			t.Errorf("full %d: mask %#x, fpstate %#x", full, x.Mask, context[5+gFP])
		}
		context[5+gRIP] = 0x401234 // as the runtime injects sigpanic
		m.area[100] = 0            // the handler uses the FPU
		x.RSP += 8                 // its RET
		x.Return(xsize)
		before.RIP = 0x401234
		if x.Mask != 0 || x.Regs != before {
			t.Errorf("full %d: came back as %+v, want %+v", full, x.Regs, before)
		}
		if full == 1 && m.area[100] != 0xabcdef {
			t.Error("the FPU state is lost")
		}
	}
}

func TestAHandlerCannotTurnOffInterrupts(t *testing.T) {
	var s Table
	x, _ := newStack(&s)
	s.Actions[SIGURG] = Action{Handler: 0x402000}
	s.Deliver(x, Signal{Number: SIGURG, Code: SI_TKILL}, xsize)
	f := (*[frameWords]uint64)(at(x.RSP))
	f[gregs+gRFlags] = 1 << 8 // trap flag, interrupts off
	x.RSP += 8
	x.Return(xsize)
	if x.RFlags != 0x202 {
		t.Errorf("flags %#x", x.RFlags)
	}
}

func TestAlternateStack(t *testing.T) {
	var s Table
	x, _ := newStack(&s)
	var alt [1024]uint64
	x.AltStack = Stack{SP: address(&alt[0]), Size: 8192}
	s.Actions[SIGURG] = Action{Handler: 1 << 20, Flags: SA_ONSTACK}
	sig := Signal{Number: SIGURG, Code: SI_TKILL}
	if lo, n := s.FrameRange(x, sig, xsize); lo < x.AltStack.SP || lo+n != x.AltStack.SP+8192 {
		t.Errorf("frame at %#x", lo)
	}
	x.RSP = x.AltStack.SP + 4096 // already on it
	if lo, _ := s.FrameRange(x, sig, xsize); lo >= x.RSP || lo < x.AltStack.SP {
		t.Errorf("nested frame at %#x", lo)
	}
}

func TestFates(t *testing.T) {
	sent := func(n uint64) Signal { return Signal{Number: n, Code: SI_TKILL} }
	for name, c := range map[string]struct {
		sig     Signal
		handler uint64
		want    Fate
	}{
		"default kills":        {sent(15), 0, Fatal},
		"ignored":              {sent(15), 1, Ignored},
		"handled":              {sent(15), 99, Handled},
		"SIGURG by default":    {sent(SIGURG), 0, Ignored},
		"SIGKILL":              {sent(SIGKILL), 99, Fatal},
		"a fault ignored":      {Signal{Number: SIGSEGV, Code: SEGV_MAPERR, Trap: 14}, 1, Fatal},
		"a fault handled":      {Signal{Number: SIGSEGV, Code: SEGV_MAPERR, Trap: 14}, 99, Handled},
		"a fault of a default": {Signal{Number: SIGFPE, Code: FPE_INTDIV}, 0, Fatal},
	} {
		var s Table
		s.Actions[c.sig.Number].Handler = c.handler
		if got := s.Fate(c.sig); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestPendingSignalsComeLowestFirstUnlessBlocked(t *testing.T) {
	x := Thread{Pending: 1<<2 | 1<<9 | 1<<63, Mask: 1 << 2}
	for _, want := range []uint64{10, 64} {
		if sig, ok := x.Pick(); !ok || sig.Number != want {
			t.Errorf("picked %d, want %d", sig.Number, want)
		}
	}
	if _, ok := x.Pick(); ok || x.Pending != 1<<2 {
		t.Error("a blocked signal was picked")
	}
}
