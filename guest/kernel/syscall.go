package kernel

import (
	"github.com/dewpaas/dew/guest/cpu"
	"github.com/dewpaas/dew/guest/thread"
)

// System call numbers, Linux arch/x86/entry/syscalls/syscall_64.tbl. These are
// the ones that tender/seccomp lets through or answers itself; the kernel
// judges their arguments as that table does where it matters.
const (
	sysRead             = 0
	sysWrite            = 1
	sysMmap             = 9
	sysMunmap           = 11
	sysRtSigaction      = 13
	sysRtSigprocmask    = 14
	sysRtSigreturn      = 15
	sysWritev           = 20
	sysSchedYield       = 24
	sysMadvise          = 28
	sysNanosleep        = 35
	sysGetpid           = 39
	sysClone            = 56
	sysExit             = 60
	sysFcntl            = 72
	sysSigaltstack      = 131
	sysPrctl            = 157
	sysArchPrctl        = 158
	sysGettid           = 186
	sysFutex            = 202
	sysSchedGetaffinity = 204
	sysExitGroup        = 231
	sysTgkill           = 234
	sysOpenat           = 257
	sysEpollPwait       = 281
	sysPrlimit64        = 302
	sysGetrandom        = 318
)

// thePID is the program's: it is alone.
const thePID = 1

// syscall answers the call that t made and returns who runs next.
func (k *kernel) syscall(t *thread.Thread) *thread.Thread {
	a, b, c, d := t.RDI, t.RSI, t.RDX, t.R10
	var r uint64
	switch t.RAX {
	case sysRead:
		r = k.read(a, b, c)
	case sysWrite:
		return k.write(t, a, b, c)
	case sysWritev:
		return k.writev(t, a, b, c)
	case sysEpollPwait:
		return k.epollPwait(t, a, b, c, d)
	case sysFutex:
		return k.futex(t, a, b, c, d)
	case sysNanosleep:
		return k.nanosleep(t, a)
	case sysMmap:
		r = k.mmap(a, b, c, d, t.R8, t.R9)
	case sysMunmap:
		r = k.munmap(a, b)
	case sysMadvise:
		r = k.madvise(a, b, c)
	case sysRtSigaction:
		r = k.rtSigaction(a, b, c)
	case sysRtSigprocmask:
		r = k.rtSigprocmask(t, a, b, c)
	case sysRtSigreturn:
		return k.rtSigreturn(t)
	case sysSigaltstack:
		r = k.sigaltstack(t, a, b)
	case sysTgkill:
		r = k.tgkill(b, c)
	case sysClone:
		r = k.clone(t, a, b, t.R8)
	case sysArchPrctl:
		r = archPrctl(t, a, b)
	case sysSchedYield:
		t.RAX = 0
		return k.reschedule()
	case sysGetrandom:
		r = k.getrandom(a, b)
	case sysGetpid:
		r = thePID
	case sysGettid:
		r = t.TID
	case sysFcntl:
		r = 0 // are 0, 1 and 2 open? They are
	case sysOpenat, sysPrctl, sysPrlimit64, sysSchedGetaffinity:
		r = fail(ENOSYS) // the runtime tries these at start and goes on
	case sysExit:
		t.State = thread.Unused
		return k.reschedule()
	case sysExitGroup:
		k.powerDown(exited, uint32(a)&0xff)
	default:
		k.forbid(t.RAX)
	}
	t.RAX = r
	return k.signals(t)
}

// forbid ends a guest as seccomp would.
func (k *kernel) forbid(call uint64) {
	say("dew: the guest made system call ")
	sayDecimal(call)
	say(", which guests do not have\r\n")
	sayRegs(&here().running().Regs)
	k.powerDown(forbidden, statusSignal+thread.SIGSYS)
}

const archSetFS = 0x1002

func archPrctl(t *thread.Thread, code, addr uint64) uint64 {
	if code != archSetFS {
		return fail(EINVAL)
	}
	t.FSBase = addr
	return 0
}

func (k *kernel) getrandom(addr, n uint64) uint64 {
	n = min(n, 1<<20)
	b, ok := k.user(addr, n, true)
	if !ok {
		return fail(EFAULT)
	}
	if k.features.Random {
		if v, ok := cpu.Random(); ok {
			k.random.MixWord(v)
		}
	}
	if !k.random.Read(b) {
		return fail(EAGAIN)
	}
	return n
}
