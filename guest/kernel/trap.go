package kernel

import (
	"github.com/dewpaas/dew/guest/cpu"
	"github.com/dewpaas/dew/guest/mem"
	"github.com/dewpaas/dew/guest/thread"
)

// trap serves an exception or interrupt of t and returns who runs next.
func (k *kernel) trap(t *thread.Thread, vector, err, address uint64) *thread.Thread {
	switch {
	case vector == cpu.VectorPage:
		return k.pageFault(t, err, address)
	case vector == vectorTimer:
		k.lapic.Done()
		here().armed = 0
		return k.reschedule()
	case vector == vectorOther:
		k.lapic.Done()
		if t == &here().idle {
			return k.reschedule()
		}
		return k.signals(t)
	case vector >= vectorDevice && vector < vectorDevice+maxDevices:
		return k.interrupt(vector-vectorDevice, t)
	case vector == vectorSpurious:
		return t
	}
	return k.raise(t, k.exception(t, vector, err))
}

// exception names the signal of one, as Linux arch/x86/kernel/traps.c does.
func (k *kernel) exception(t *thread.Thread, vector, err uint64) thread.Signal {
	s := thread.Signal{Trap: vector, Error: err, Address: t.RIP}
	switch vector {
	case cpu.VectorDivide:
		s.Number, s.Code = thread.SIGFPE, thread.FPE_INTDIV
	case cpu.VectorX87, cpu.VectorSIMD:
		s.Number, s.Code = thread.SIGFPE, thread.FPE_FLTRES
	case cpu.VectorBreakpoint:
		s.Number, s.Code = thread.SIGTRAP, thread.SI_KERNEL
	case cpu.VectorOpcode:
		s.Number, s.Code = thread.SIGILL, thread.ILL_ILLOPN
	case cpu.VectorAlignment:
		s.Number, s.Code, s.Address = thread.SIGBUS, thread.BUS_ADRALN, 0
	case cpu.VectorProtection:
		s.Number, s.Code, s.Address = thread.SIGSEGV, thread.SI_KERNEL, 0
	default:
		k.fatal("unexpected exception", vector)
	}
	return s
}

// pageFault brings the page in, or tells the program of its mistake, which a
// nil dereference in Go recovers from.
func (k *kernel) pageFault(t *thread.Thread, err, address uint64) *thread.Thread {
	use := mem.Read
	if err&cpu.FaultWrite != 0 {
		use |= mem.Write
	}
	if err&cpu.FaultFetch != 0 {
		use |= mem.Execute
	}
	code := uint64(thread.SEGV_ACCERR)
	if err&cpu.FaultPresent == 0 {
		switch k.space.Fault(address, use) {
		case mem.OK:
			return t
		case mem.Exhausted:
			k.outOfMemory(address)
		}
		code = thread.SEGV_MAPERR
	} else if k.stale(address, use) {
		return t
	}
	return k.raise(t, thread.Signal{Number: thread.SIGSEGV, Code: code, Address: address, Trap: cpu.VectorPage, Error: err})
}

// stale tells whether the tables do allow the use: this CPU had an older
// translation, or another one brought the page in meanwhile.
func (k *kernel) stale(address uint64, use mem.Prot) bool {
	_, prot, ok := k.space.Lookup(address)
	if !ok || prot&use != use {
		return false
	}
	cpu.Forget(address)
	return true
}
