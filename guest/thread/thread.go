package thread

import "unsafe"

// Regs is what the entry code of guest/kernel saves and restores; the order is
// known to nobody else.
type Regs struct {
	RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP uint64
	R8, R9, R10, R11, R12, R13, R14, R15   uint64
	RIP, RFlags, FSBase                    uint64
	Full                                   uint64 // 1: interrupted, so all of it and the XSAVE area count; 0: in a system call
	XSave                                  uint64 // address of the XSAVE area, one page
}

// State of a thread.
type State uint64

const (
	Unused State = iota
	Ready
	Running
	Futex  // until woken on Key
	Sleep  // until Deadline
	Poll   // until an event comes
	Output // until a device takes bytes again
)

// Thread is one thread of the program, or the idle loop of a CPU.
type Thread struct {
	Regs
	State    State
	CPU      uint64 // where it runs or ran last
	Deadline uint64 // ns; 0: none
	Late     uint64 // RAX when the deadline passes
	Key      uint64 // futex address
	TID      uint64
	Mask     uint64 // blocked signals
	Pending  uint64 // signals to be delivered
	AltStack Stack
	Events   uint64 // user address of epoll_event[EventMax]
	EventMax uint64
}

// Stack is stack_t of sigaltstack(2).
type Stack struct {
	SP    uint64
	Flags uint64 // int32 and padding
	Size  uint64
}

// Max is how many threads there may be. A Go program has GOMAXPROCS, a few
// of the runtime, and one for each goroutine that is locked to its thread.
const Max = 128

// Table holds all threads.
type Table struct {
	list    [Max]Thread
	used    int // entries beyond were never used
	last    int // who ran last, for fairness
	nextTID uint64
	Actions [65]Action // of signal n; Actions[0] is unused
}

// Address of a thread or of a part of it.
func (t *Thread) Address() uint64 { return uint64(uintptr(unsafe.Pointer(t))) }

// New returns an unused thread, or nil. Its XSAVE area is kept from former
// use, else 0.
func (s *Table) New() *Thread {
	for i := range s.list {
		t := &s.list[i]
		if t.State != Unused {
			continue
		}
		area := t.XSave
		*t = Thread{}
		t.XSave = area
		s.nextTID++
		t.TID = s.nextTID
		s.used = max(s.used, i+1)
		return t
	}
	return nil
}

// Clone fills x as clone(2) without CLONE_VFORK does: a copy of the caller
// with a stack of its own that sees RAX 0.
func (t *Thread) Clone(x *Thread, stack uint64) {
	regs, area := t.Regs, x.XSave
	x.Regs = regs
	x.XSave = area
	x.RAX = 0
	x.Full = 0
	x.Mask = t.Mask
	if stack != 0 {
		x.RSP = stack
	}
}

// Find returns the thread with a TID, or nil.
func (s *Table) Find(tid uint64) *Thread {
	for i := range s.list[:s.used] {
		if t := &s.list[i]; t.State != Unused && t.TID == tid {
			return t
		}
	}
	return nil
}

// at is the one door from an address of the program to memory.
//
//go:nocheckptr
func at(addr uint64) unsafe.Pointer { return unsafe.Add(nil, uintptr(addr)) }

// InitXSave makes the area at addr what a fresh CPU has: x87 control word
// 0x37f and MXCSR 0x1f80, no component in use.
func InitXSave(addr uint64) {
	a := (*[512]uint64)(at(addr))
	clear(a[:])
	a[0] = 0x37f
	a[3] = 0x1f80
}
