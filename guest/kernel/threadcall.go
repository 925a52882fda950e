package kernel

import (
	"github.com/dewpaas/dew/guest/mem"
	"github.com/dewpaas/dew/guest/thread"
)

// deadline reads a timespec as a time from now; an absent one is none.
func (k *kernel) deadline(spec uint64) (at uint64, ok bool) {
	if spec == 0 {
		return 0, true
	}
	s, ok1 := k.load(spec)
	n, ok2 := k.load(spec + 8)
	if !ok1 || !ok2 {
		return 0, false
	}
	const forever = 1 << 33 // seconds; the product stays below 1<<63
	return max(now()+min(s, forever)*1_000_000_000+min(n, 999_999_999), 1), true
}

const (
	futexWait    = 0
	futexWake    = 1
	futexCommand = 0x7f
)

func (k *kernel) futex(t *thread.Thread, addr, op, value, spec uint64) *thread.Thread {
	switch op & futexCommand {
	case futexWait:
		until, ok := k.deadline(spec)
		if _, present := k.user(addr, 4, false); !ok || !present {
			t.RAX = fail(EFAULT)
			return t
		}
		if *(*uint32)(at(addr)) != uint32(value) {
			t.RAX = fail(EAGAIN)
			return k.signals(t)
		}
		t.Key = addr
		t.RAX = 0
		t.Block(thread.Futex, until, fail(ETIMEDOUT))
		return k.reschedule()
	case futexWake:
		t.RAX = k.threads.WakeFutex(addr, uint64(uint32(value)))
		if t.RAX > 0 {
			k.woken()
		}
	default:
		t.RAX = fail(ENOSYS)
	}
	return k.signals(t)
}

func (k *kernel) nanosleep(t *thread.Thread, spec uint64) *thread.Thread {
	until, ok := k.deadline(spec)
	if !ok || spec == 0 {
		t.RAX = fail(EFAULT)
		return t
	}
	t.RAX = 0
	t.Block(thread.Sleep, until, 0)
	return k.reschedule()
}

const cloneSetTLS = 0x80000

func (k *kernel) clone(t *thread.Thread, flags, stack, tls uint64) uint64 {
	x := k.newThread()
	if x == nil {
		return fail(EAGAIN)
	}
	t.Clone(x, stack)
	if flags&cloneSetTLS != 0 {
		x.FSBase = tls
	}
	x.State = thread.Ready
	k.woken()
	return x.TID
}

func (k *kernel) rtSigaction(n, new, old uint64) uint64 {
	if n == 0 || n >= uint64(len(k.threads.Actions)) {
		return fail(EINVAL)
	}
	a := &k.threads.Actions[n]
	if old != 0 {
		if _, ok := k.user(old, 32, true); !ok {
			return fail(EFAULT)
		}
		*(*thread.Action)(at(old)) = *a
	}
	if new != 0 {
		if _, ok := k.user(new, 32, false); !ok {
			return fail(EFAULT)
		}
		*a = *(*thread.Action)(at(new))
	}
	return 0
}

func (k *kernel) rtSigprocmask(t *thread.Thread, how, new, old uint64) uint64 {
	mask := t.Mask
	if new != 0 {
		set, ok := k.load(new)
		if !ok {
			return fail(EFAULT)
		}
		switch how {
		case 0:
			t.Mask |= set
		case 1:
			t.Mask &^= set
		case 2:
			t.Mask = set
		default:
			return fail(EINVAL)
		}
	}
	if old != 0 && !k.store(old, mask) {
		return fail(EFAULT)
	}
	return 0
}

func (k *kernel) sigaltstack(t *thread.Thread, new, old uint64) uint64 {
	before := t.AltStack
	if before.Size == 0 {
		before.Flags = thread.SS_DISABLE
	}
	if new != 0 {
		if _, ok := k.user(new, 24, false); !ok {
			return fail(EFAULT)
		}
		t.AltStack = *(*thread.Stack)(at(new))
		if uint32(t.AltStack.Flags)&thread.SS_DISABLE != 0 {
			t.AltStack = thread.Stack{}
		}
	}
	if old != 0 {
		if _, ok := k.user(old, 24, true); !ok {
			return fail(EFAULT)
		}
		*(*thread.Stack)(at(old)) = before
	}
	return 0
}

// tgkill marks the signal. The running thread sees it on its way out, one that
// runs elsewhere by an interrupt, a waiting one when it is scheduled next.
func (k *kernel) tgkill(tid, sig uint64) uint64 {
	t := k.threads.Find(tid)
	if t == nil {
		return fail(ESRCH)
	}
	if sig > 64 {
		return fail(EINVAL)
	}
	if sig == 0 {
		return 0
	}
	t.Pending |= 1 << (sig - 1)
	if c := here(); t.State == thread.Running && t.CPU != c.id {
		k.lapic.Send(cpus[t.CPU].apic, vectorOther)
	}
	return 0
}

// signals makes t run the handler of a signal that is pending for it, and
// returns t.
func (k *kernel) signals(t *thread.Thread) *thread.Thread {
	if t.Pending&^t.Mask == 0 {
		return t
	}
	for sig, ok := t.Pick(); ok; sig, ok = t.Pick() {
		switch k.threads.Fate(sig) {
		case thread.Ignored:
			continue
		case thread.Fatal:
			k.killed(sig)
		}
		k.deliver(t, sig)
		break
	}
	return t
}

// raise delivers a fault of the running thread. One that is blocked or has no
// handler kills.
func (k *kernel) raise(t *thread.Thread, sig thread.Signal) *thread.Thread {
	if k.threads.Fate(sig) == thread.Fatal || t.Mask&(1<<(sig.Number-1)) != 0 {
		k.killed(sig)
	}
	k.deliver(t, sig)
	return t
}

func (k *kernel) deliver(t *thread.Thread, sig thread.Signal) {
	lo, n := k.threads.FrameRange(t, sig, k.xsize())
	switch k.space.Touch(lo, n, mem.Write) {
	case mem.Exhausted:
		k.outOfMemory(lo)
	case mem.Invalid, mem.Denied:
		k.fatal("no stack for a signal handler at", lo)
	}
	k.threads.Deliver(t, sig, k.xsize())
}

func (k *kernel) xsize() uint64 { return uint64(k.features.XSaveSize+63) &^ 63 }

// killed ends the program by a signal that nobody handles.
func (k *kernel) killed(sig thread.Signal) {
	say("dew: the guest was killed by signal ")
	sayDecimal(sig.Number)
	say(" at address ")
	sayHex(sig.Address)
	say("\r\n")
	sayRegs(&here().running().Regs)
	k.powerDown(crashed, statusSignal+uint32(sig.Number))
}

func (k *kernel) rtSigreturn(t *thread.Thread) *thread.Thread {
	if _, ok := k.user(first(t.ReturnRange())); !ok {
		k.fatal("rt_sigreturn from a broken stack", t.RSP)
	}
	if fp := t.SavedState(); fp != 0 {
		if _, ok := k.user(fp, k.xsize(), false); !ok || fp%64 != 0 {
			k.fatal("rt_sigreturn with a broken FPU state", fp)
		}
	}
	t.Return(k.xsize())
	return k.signals(t)
}

// first adds that the range is only read.
func first(lo, n uint64) (uint64, uint64, bool) { return lo, n, false }
