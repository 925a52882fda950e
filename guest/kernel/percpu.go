package kernel

import (
	"unsafe"

	"github.com/dewpaas/dew/guest/cpu"
	"github.com/dewpaas/dew/guest/thread"
)

const (
	maxCPU     = 8
	stackSize  = 32 << 10
	nestedRoom = 12 << 10 // left for a trap inside the kernel, which is fatal
	spillRoom  = 256      // register arguments are spilled above the frame
)

// perCPU is what GS points to. The entry code knows the first fields.
type perCPU struct {
	self     uint64
	current  uint64 // *thread.Thread
	top      uint64 // of the kernel stack
	userSP   uint64
	tlsEnd   uint64 // FS base of the kernel: g is at -8
	inKernel uint64
	idleAddr uint64

	tls [1]uint64 // address of g
	_   uint64
	g   [64]uint64 // runtime.g, of which stack bounds are set

	online uint32
	flush  uint32 // translations must be forgotten
	idling bool
	apic   uint32
	id     uint64
	armed  uint64 // ns the timer is set to; 0: off
	since  uint64 // ns at which running time was last charged; 0: it is not
	ran    uint64 // ns of running time since the last sample

	entries uint64 // system calls so far, on an emulated CPU

	idle   thread.Thread
	tables cpu.Tables

	_      [64]byte
	stack  [stackSize]byte
	trap   [8192]byte // where exceptions land
	urgent [8192]byte
}

// Offsets that the entry code needs of thread.Regs, which assembly cannot see.
const (
	rRAX    = unsafe.Offsetof(thread.Regs{}.RAX)
	rRBX    = unsafe.Offsetof(thread.Regs{}.RBX)
	rRCX    = unsafe.Offsetof(thread.Regs{}.RCX)
	rRDX    = unsafe.Offsetof(thread.Regs{}.RDX)
	rRSI    = unsafe.Offsetof(thread.Regs{}.RSI)
	rRDI    = unsafe.Offsetof(thread.Regs{}.RDI)
	rRBP    = unsafe.Offsetof(thread.Regs{}.RBP)
	rRSP    = unsafe.Offsetof(thread.Regs{}.RSP)
	rR8     = unsafe.Offsetof(thread.Regs{}.R8)
	rR9     = unsafe.Offsetof(thread.Regs{}.R9)
	rR10    = unsafe.Offsetof(thread.Regs{}.R10)
	rR11    = unsafe.Offsetof(thread.Regs{}.R11)
	rR12    = unsafe.Offsetof(thread.Regs{}.R12)
	rR13    = unsafe.Offsetof(thread.Regs{}.R13)
	rR14    = unsafe.Offsetof(thread.Regs{}.R14)
	rR15    = unsafe.Offsetof(thread.Regs{}.R15)
	rRIP    = unsafe.Offsetof(thread.Regs{}.RIP)
	rRFlags = unsafe.Offsetof(thread.Regs{}.RFlags)
	rFSBase = unsafe.Offsetof(thread.Regs{}.FSBase)
	rFull   = unsafe.Offsetof(thread.Regs{}.Full)
	rXSave  = unsafe.Offsetof(thread.Regs{}.XSave)
)

// guard is how far below the limit the frames of nosplit functions may go.
const guard = 2048

// prepare fills what the entry code of another CPU needs before it can run Go.
// For CPU 0 prepareBoot does the same before there is a g.
func (c *perCPU) prepare() { prepareBoot(c) }

func prepareBoot(c *perCPU)

// here is the perCPU of the running CPU.
func here() *perCPU { return (*perCPU)(unsafe.Add(nil, uintptr(self()))) }

// running is the thread that entered the kernel.
func (c *perCPU) running() *thread.Thread {
	return (*thread.Thread)(unsafe.Add(nil, uintptr(c.current)))
}
