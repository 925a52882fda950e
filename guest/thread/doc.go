// Package thread holds the threads of the one program: their saved registers,
// who runs next, who sleeps until when, futexes and signals. guest/kernel is
// its only caller and holds its one lock around every call.
//
// The kernel is event-style: a thread that is not running is a struct, never a
// stack. Each entry into the kernel saves the registers in the running
// thread's Thread, and each way out resumes whatever Thread Schedule returns.
// Table has a fixed number of threads and hands out indices and pointers into
// itself; it stores no pointers and never allocates from the Go heap. Time is
// a number of nanoseconds that the caller passes in, so all of it is tested on
// the host.
//
// It refuses the 129th thread with nil. Signals follow Linux for the one
// program that matters, the Go runtime: one handler per signal, alternate
// stacks, no queueing of real-time signals, and no default action but death
// or being ignored.
//
// Sources: Linux arch/x86/include/uapi/asm/sigcontext.h and ucontext.h,
// include/uapi/asm-generic/siginfo.h (v6.1), signal(7), futex(2); Intel SDM
// 325462-083 volume 1 section 13.4 (XSAVE area).
package thread
