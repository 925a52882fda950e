//go:build dewguest

package host

import (
	"internal/runtime/syscall/linux"
	"syscall"
	"unsafe"

	"github.com/dewpaas/dew/abi"
)

// Active tells whether this process is a guest.
func Active() bool { return active }

var active bool

// Boot maps the boot record and returns it, or nil when this process is not a
// guest. It is called once, before anything else of this package.
func Boot() []byte {
	value, ok := syscall.Getenv(abi.BootEnv)
	if !ok {
		return nil
	}
	length, ok := bootLength(value)
	if !ok {
		return nil
	}
	record, errno := Map(abi.FDBoot, length)
	if errno != 0 {
		return nil
	}
	active = true
	return record
}

// Map maps the first length bytes of one of the tender's read-only descriptors.
func Map(fd int, length uint64) ([]byte, syscall.Errno) {
	p, _, e := linux.Syscall6(syscall.SYS_MMAP, 0, uintptr(length), syscall.PROT_READ, syscall.MAP_PRIVATE, uintptr(fd), 0)
	if e != 0 {
		return nil, syscall.Errno(e)
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), length), 0
}

// Read reads without blocking: EAGAIN when there is nothing.
func Read(fd int, p []byte) (int, syscall.Errno) {
	n, _, e := linux.Syscall6(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
	return int(n), syscall.Errno(e)
}

// Write writes without blocking.
func Write(fd int, p []byte) (int, syscall.Errno) {
	n, _, e := linux.Syscall6(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
	return int(n), syscall.Errno(e)
}

// Writev writes the pieces as one without blocking: one frame on the packet
// descriptor. The pieces must not lie on a goroutine's stack.
func Writev(fd int, pieces []syscall.Iovec) (int, syscall.Errno) {
	n, _, e := linux.Syscall6(syscall.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(pieces))), uintptr(len(pieces)), 0, 0, 0)
	return int(n), syscall.Errno(e)
}

// Console writes to abi.FDStdout or abi.FDStderr and waits where the tender is
// slow to read. p must not lie on a goroutine's stack.
func Console(fd int, p []byte) (int, syscall.Errno) {
	n, _, e := blockingCall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
	return int(n), syscall.Errno(e)
}

// Memory passes on one of the program's own memory calls: anonymous mmap,
// munmap, madvise.
func Memory(trap, a1, a2, a3, a4, a5, a6 uintptr) (uintptr, syscall.Errno) {
	r, _, e := linux.Syscall6(trap, a1, a2, a3, a4, a5, a6)
	return r, syscall.Errno(e)
}

// Random fills p with random bytes from the tender.
func Random(p []byte) syscall.Errno {
	for len(p) > 0 {
		n, _, e := linux.Syscall6(sysGetrandom, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0, 0)
		if e == uintptr(syscall.EINTR) {
			continue
		}
		if e != 0 {
			return syscall.Errno(e)
		}
		p = p[n:]
	}
	return 0
}

const sysGetrandom = 318

// Exit ends the guest.
func Exit(status int) {
	for {
		linux.Syscall6(syscall.SYS_EXIT_GROUP, uintptr(status), 0, 0, 0, 0, 0)
	}
}

// PollReady makes the goroutines waiting on a runtime pollDesc runnable; mode
// is 'r', 'w' or their sum. pd and seq are those that the open hook got.
//
//go:linkname PollReady runtime.dew_pollReady
func PollReady(pd unsafe.Pointer, seq uintptr, mode int32)

// SetPollHooks tells the runtime who answers for descriptors that it wants to
// poll. open returns an errno.
//
//go:linkname SetPollHooks runtime.dew_setPollHooks
func SetPollHooks(open func(fd uintptr, pd unsafe.Pointer, seq uintptr) uintptr, close func(fd uintptr) uintptr)

// EventOpen prepares waiting for the tender's events with a tag of package abi.
//
//go:linkname EventOpen runtime.dew_hostPollOpen
func EventOpen(tag uint32)

// EventReset forgets an event: read until EAGAIN after it, then EventWait.
//
//go:linkname EventReset runtime.dew_hostPollReset
func EventReset(tag uint32)

// Share lets other threads run what the reader of packets has made runnable; it
// calls it when it goes on reading.
//
//go:linkname Share runtime.dew_share
func Share()

// Waiting counts goroutines, by +1 and -1, that block in a call of the library
// OS for something other than time or a pollDesc: a program that has such is not
// deadlocked.
//
//go:linkname Waiting runtime.dew_waiting
func Waiting(delta int32)

// EventWait parks the calling goroutine until the next event with the tag.
//
//go:linkname EventWait runtime.dew_hostPollWait
func EventWait(tag uint32)

// OnStack tells whether p points into the calling goroutine's stack. What is
// kept in the heap or handed to another goroutine must not.
//
//go:linkname OnStack runtime.dew_onStack
func OnStack(p unsafe.Pointer) bool

// Signal delivers a signal to the program through os/signal. It returns false
// when the program did not ask for it.
//
//go:linkname Signal runtime.dew_signal
func Signal(sig uint32) bool

// SignalIgnored tells whether the program ignores the signal.
//
//go:linkname SignalIgnored runtime.dew_signalIgnored
func SignalIgnored(sig uint32) bool

// SetSyscallHook makes f the answer to the program's system calls.
//
//go:linkname SetSyscallHook syscall.dew_setHook
func SetSyscallHook(f func(trap, a1, a2, a3, a4, a5, a6 uintptr, p1, p2, p3, p4, p5, p6 unsafe.Pointer) (r1, r2 uintptr, err syscall.Errno))

//go:linkname blockingCall syscall.dew_blockingCall
func blockingCall(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr)

// MemoryInUse is how many bytes the Go runtime has from the tender and uses.
//
//go:linkname MemoryInUse runtime.dew_memoryInUse
func MemoryInUse() uint64

// CPUTime is how long the program was busy, in ns.
//
//go:linkname CPUTime runtime.dew_cpuTime
func CPUTime() int64

// Nanotime is the monotonic clock, in ns.
//
//go:linkname Nanotime runtime.nanotime
func Nanotime() int64

// GoSystem runs f on a goroutine that the program does not see.
//
//go:linkname GoSystem runtime.dew_goSystem
func GoSystem(f func())

// SetMainHook makes f run when the program's main begins.
//
//go:linkname SetMainHook runtime.dew_setMainHook
func SetMainHook(f func())

// RuntimeStart is when the Go runtime was ready, as Nanotime tells it.
//
//go:linkname RuntimeStart runtime.dew_runtimeStart
func RuntimeStart() int64

// Profiling tells whether a CPU profile is being taken, by whomever.
//
//go:linkname Profiling runtime.dew_profiling
func Profiling() bool

// ReadProfile waits for samples of the CPU profile in the runtime's format;
// eof when it was stopped and all is read.
//
//go:linkname ReadProfile runtime.dew_readProfile
func ReadProfile() (samples []uint64, eof bool)
