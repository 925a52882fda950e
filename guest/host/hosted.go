//go:build !dewguest

package host

import (
	"syscall"
	"time"
	"unsafe"
)

// Active tells whether this process is a guest.
func Active() bool { return false }

// Boot returns nil: there is no boot record outside a guest.
func Boot() []byte { return nil }

// Map fails: there is no tender.
func Map(fd int, length uint64) ([]byte, syscall.Errno) { return nil, syscall.ENOSYS }

// Read fails: there is no tender.
func Read(fd int, p []byte) (int, syscall.Errno) { return 0, syscall.ENOSYS }

// Write fails: there is no tender.
func Write(fd int, p []byte) (int, syscall.Errno) { return 0, syscall.ENOSYS }

// Writev fails: there is no tender.
func Writev(fd int, pieces []syscall.Iovec) (int, syscall.Errno) { return 0, syscall.ENOSYS }

// Console writes to the test's own standard output or error.
func Console(fd int, p []byte) (int, syscall.Errno) {
	n, err := syscall.Write(fd, p)
	errno, _ := err.(syscall.Errno)
	return n, errno
}

// Memory fails: there is no tender.
func Memory(trap, a1, a2, a3, a4, a5, a6 uintptr) (uintptr, syscall.Errno) {
	return 0, syscall.ENOSYS
}

// Random fills p with random bytes of the host.
func Random(p []byte) syscall.Errno {
	for len(p) > 0 {
		n, _, e := syscall.Syscall(318, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0)
		if e != 0 {
			return e
		}
		p = p[n:]
	}
	return 0
}

// Exit panics: a test must not end by what it tests.
func Exit(status int) { panic("host.Exit outside a guest") }

// PollReady does nothing: the host's runtime polls by itself.
func PollReady(pd unsafe.Pointer, seq uintptr, mode int32) {}

// SetPollHooks does nothing.
func SetPollHooks(open func(fd uintptr, pd unsafe.Pointer, seq uintptr) uintptr, close func(fd uintptr) uintptr) {
}

// EventOpen does nothing.
func EventOpen(tag uint32) {}

// EventReset does nothing.
func EventReset(tag uint32) {}

// Share does nothing.
func Share() {}

// Waiting does nothing.
func Waiting(delta int32) {}

// EventWait panics: no event will ever come.
func EventWait(tag uint32) { panic("host.EventWait outside a guest") }

// OnStack returns true: the careful way is taken where it cannot be known.
func OnStack(p unsafe.Pointer) bool { return true }

// Signal returns false: nobody asked.
func Signal(sig uint32) bool { return false }

// SignalIgnored returns false.
func SignalIgnored(sig uint32) bool { return false }

// SetSyscallHook does nothing: a test calls what it tests.
func SetSyscallHook(f func(trap, a1, a2, a3, a4, a5, a6 uintptr, p1, p2, p3, p4, p5, p6 unsafe.Pointer) (r1, r2 uintptr, err syscall.Errno)) {
}

// MemoryInUse returns 0: it is not known.
func MemoryInUse() uint64 { return 0 }

// CPUTime is how long the test was busy, in ns.
func CPUTime() int64 {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return r.Utime.Nano()
}

// Nanotime is the host's clock, in ns.
func Nanotime() int64 { return time.Now().UnixNano() }

// GoSystem runs f on a goroutine.
func GoSystem(f func()) { go f() }

// SetMainHook does nothing.
func SetMainHook(f func()) {}

// RuntimeStart returns 0.
func RuntimeStart() int64 { return 0 }

// Profiling returns false.
func Profiling() bool { return false }

// ReadProfile returns nothing.
func ReadProfile() (samples []uint64, eof bool) { return nil, true }
