package thread

import "unsafe"

// Action is struct sigaction of the kernel's rt_sigaction.
type Action struct {
	Handler  uint64
	Flags    uint64
	Restorer uint64
	Mask     uint64
}

const (
	actionDefault = 0
	actionIgnore  = 1

	SA_ONSTACK = 0x08000000
	SA_NODEFER = 0x40000000

	SS_DISABLE = 2
)

// Signals that the kernel itself raises or cares about.
const (
	SIGILL   = 4
	SIGTRAP  = 5
	SIGBUS   = 7
	SIGFPE   = 8
	SIGKILL  = 9
	SIGSEGV  = 11
	SIGCHLD  = 17
	SIGCONT  = 18
	SIGSTOP  = 19
	SIGURG   = 23
	SIGPROF  = 27
	SIGWINCH = 28
	SIGSYS   = 31
)

// si_code.
const (
	SI_KERNEL   = 0x80
	SI_TKILL    = -6 & 0xffffffff
	SEGV_MAPERR = 1
	SEGV_ACCERR = 2
	FPE_INTDIV  = 1
	FPE_FLTRES  = 6
	ILL_ILLOPN  = 2
	BUS_ADRALN  = 1
)

// Signal is one to be delivered.
type Signal struct {
	Number  uint64
	Code    uint64
	Address uint64
	Trap    uint64 // exception vector
	Error   uint64 // its error code
}

// The frame that a handler finds at its stack pointer: return address,
// ucontext, siginfo. Offsets in words.
const (
	frameWords = 1 + 38 + 16
	ucontext   = 1
	siginfo    = 1 + 38

	ucStack   = ucontext + 2
	gregs     = ucontext + 5
	ucSigmask = ucontext + 37

	gRIP    = 16
	gRFlags = 17
	gSel    = 18
	gErr    = 19
	gTrap   = 20
	gMask   = 21
	gCR2    = 22
	gFP     = 23

	frameSize = frameWords * 8
	redZone   = 128
)

// userFlags are the RFLAGS that a returning handler may choose: the arithmetic
// ones and direction. Interrupts stay on and single step stays off.
const userFlags = 0xcd5

// Pick takes the lowest signal that is pending and not blocked.
func (t *Thread) Pick() (Signal, bool) {
	ready := t.Pending &^ t.Mask
	for n := uint64(1); ready != 0; n++ {
		if ready&1 != 0 {
			t.Pending &^= 1 << (n - 1)
			return Signal{Number: n, Code: SI_TKILL}, true
		}
		ready >>= 1
	}
	return Signal{}, false
}

// Fate is what becomes of a signal.
type Fate int

const (
	Handled Fate = iota
	Ignored
	Fatal
)

// Fate of a signal that was sent; a fault that nobody handles is always Fatal.
func (s *Table) Fate(sig Signal) Fate {
	fault := sig.Trap != 0 || sig.Code != SI_TKILL
	h := s.Actions[sig.Number].Handler
	if sig.Number == SIGKILL {
		return Fatal
	}
	switch {
	case h > actionIgnore:
		return Handled
	case fault:
		return Fatal
	case h == actionIgnore, sig.Number == SIGURG, sig.Number == SIGCHLD, sig.Number == SIGCONT, sig.Number == SIGWINCH:
		return Ignored
	}
	return Fatal
}

// FrameRange tells where Deliver will write, so that it can be made present.
func (s *Table) FrameRange(t *Thread, sig Signal, xsize uint64) (lo, n uint64) {
	frame, _ := s.frame(t, sig, xsize)
	return frame, s.top(t, sig) - frame
}

// top is where the stack for the handler ends.
func (s *Table) top(t *Thread, sig Signal) uint64 {
	a := t.AltStack
	if s.Actions[sig.Number].Flags&SA_ONSTACK != 0 && a.Size != 0 && !a.holds(t.RSP) {
		return a.SP + a.Size
	}
	return t.RSP - redZone
}

func (a Stack) holds(sp uint64) bool { return sp > a.SP && sp <= a.SP+a.Size }

// frame places the XSAVE area, 64-byte aligned, and below it the frame, which
// a handler must find as after a call: 8 modulo 16.
func (s *Table) frame(t *Thread, sig Signal, xsize uint64) (frame, fp uint64) {
	sp := s.top(t, sig)
	if t.Full != 0 {
		sp = (sp - xsize) &^ 63
		fp = sp
	}
	return (sp-frameSize)&^15 - 8, fp
}

// Deliver makes t run the handler of sig. The memory of FrameRange is present.
func (s *Table) Deliver(t *Thread, sig Signal, xsize uint64) {
	action := &s.Actions[sig.Number]
	sp, fp := s.frame(t, sig, xsize)
	if fp != 0 {
		copyWords(fp, t.XSave, xsize)
	}
	f := (*[frameWords]uint64)(at(sp))
	*f = [frameWords]uint64{}
	f[0] = action.Restorer
	f[ucStack], f[ucStack+1], f[ucStack+2] = t.AltStack.SP, t.AltStack.Flags, t.AltStack.Size
	t.store((*[24]uint64)(f[gregs:]))
	f[gregs+gErr], f[gregs+gTrap], f[gregs+gMask] = sig.Error, sig.Trap, t.Mask
	f[gregs+gCR2], f[gregs+gFP] = sig.Address, fp
	f[ucSigmask] = t.Mask
	f[siginfo] = sig.Number
	f[siginfo+1] = sig.Code
	f[siginfo+2] = sig.Address
	t.enter(action, sig.Number, sp)
}

func (t *Thread) enter(a *Action, number, sp uint64) {
	t.Mask |= a.Mask
	if a.Flags&SA_NODEFER == 0 {
		t.Mask |= 1 << (number - 1)
	}
	t.RSP, t.RIP = sp, a.Handler
	t.RDI, t.RSI, t.RDX = number, sp+siginfo*8, sp+ucontext*8
	t.RAX = 0
	t.Full = 0
}

// store writes gregs as struct sigcontext has them. The selectors are those of
// a Linux process, which is what debuggers expect.
func (t *Thread) store(m *[24]uint64) {
	m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7] = t.R8, t.R9, t.R10, t.R11, t.R12, t.R13, t.R14, t.R15
	m[8], m[9], m[10], m[11], m[12], m[13], m[14], m[15] = t.RDI, t.RSI, t.RBP, t.RBX, t.RDX, t.RAX, t.RCX, t.RSP
	m[gRIP], m[gRFlags] = t.RIP, t.RFlags
	m[gSel] = 0x33 | 0x2b<<48
}

func (t *Thread) load(m *[24]uint64) {
	t.R8, t.R9, t.R10, t.R11, t.R12, t.R13, t.R14, t.R15 = m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7]
	t.RDI, t.RSI, t.RBP, t.RBX, t.RDX, t.RAX, t.RCX, t.RSP = m[8], m[9], m[10], m[11], m[12], m[13], m[14], m[15]
	t.RIP, t.RFlags = m[gRIP], m[gRFlags]&userFlags|interruptsOn
}

const interruptsOn = 1<<9 | 1<<1

// ReturnRange is what Return reads first; t.RSP is behind the return address.
func (t *Thread) ReturnRange() (lo, n uint64) { return t.RSP - 8, frameSize }

// SavedState is where the frame that Return will read keeps the XSAVE area; 0
// when it has none. The caller makes it present.
func (t *Thread) SavedState() uint64 {
	f := (*[frameWords]uint64)(at(t.RSP - 8))
	return f[gregs+gFP]
}

// Return undoes Deliver: rt_sigreturn(2). A frame made inside a system call
// has no XSAVE area: the caller of a system call expects none back.
func (t *Thread) Return(xsize uint64) {
	f := (*[frameWords]uint64)(at(t.RSP - 8))
	fp := f[gregs+gFP]
	t.Mask = f[ucSigmask]
	t.load((*[24]uint64)(f[gregs:]))
	t.Full = 0
	if fp != 0 {
		copyWords(t.XSave, fp, xsize)
		t.Full = 1
	}
}

// copyWords copies n bytes, a multiple of 8, at most a page.
func copyWords(to, from, n uint64) {
	n = min(n, 4096) / 8
	copy(unsafe.Slice((*uint64)(at(to)), n), unsafe.Slice((*uint64)(at(from)), n))
}
