package main

import (
	"fmt"
	"syscall"
	"unsafe"
)

// syscall6 makes a system call that no library OS sees.
func syscall6(number, a, b, c, d, e, f uintptr) (result uintptr)

// int80 makes a 32-bit system call.
func int80(number, a, b, c uintptr) (result uintptr)

// child makes a process that only waits.
func child(flags uintptr) (pid uintptr)

// Calls that package syscall does not name, of arch/x86/entry/syscalls/syscall_64.tbl.
const (
	sysMemfd        = 319
	sysExecveat     = 322
	sysUserfault    = 323
	sysBPF          = 321
	sysPerfEvent    = 298
	sysVMReadv      = 310
	sysVMWritev     = 311
	sysSetns        = 308
	sysHandleAt     = 304
	sysNameToHandle = 303
	sysPidfdSend    = 424
	sysRingSetup    = 425
	sysRingEnter    = 426
	sysPidfdOpen    = 434
	sysClone3       = 435
	sysOpenat2      = 437
	sysPidfdGetfd   = 438
	atFDCWD         = ^uintptr(99) // -100
)

// refusal is an error number of a call, with the call's number.
type refusal struct {
	number uintptr
	errno  syscall.Errno
}

func (r *refusal) Error() string { return fmt.Sprintf("call %d: %v", r.number, r.errno) }

// try makes a system call.
func try(number uintptr, a ...uintptr) (uintptr, error) {
	var v [6]uintptr
	copy(v[:], a)
	r := syscall6(number, v[0], v[1], v[2], v[3], v[4], v[5])
	if r > ^uintptr(4095) {
		return 0, &refusal{number, syscall.Errno(-r)}
	}
	return r, nil
}

// call makes a system call whose result does not matter.
func call(number uintptr, a ...uintptr) { try(number, a...) }

// only drops a result.
func only(_ uintptr, err error) error { return err }

// address of a value that does not move: callers keep it in a global or on the
// heap, and alive.
func address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// cString is s with a zero behind it, on the heap.
func cString(s string) uintptr {
	b := append([]byte(s), 0)
	kept = append(kept, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

// buffer is n bytes on the heap, for calls to fill.
func buffer(n int) ([]byte, uintptr) {
	b := make([]byte, n)
	kept = append(kept, b)
	return b, uintptr(unsafe.Pointer(&b[0]))
}

// kept is what only numbers point to.
var kept [][]byte

// memory is n bytes at an address that is no object of Go.
func memory(at uintptr, n int) []byte { return unsafe.Slice((*byte)(unsafe.Add(nil, at)), n) }

// rest is a millisecond without Go's scheduler.
func rest() {
	wait := &syscall.Timespec{Nsec: 1e6}
	call(syscall.SYS_NANOSLEEP, address(wait), 0)
}
