package syscall

import (
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/dewpaas/dew/guest/control"
)

// Handler answers one system call.
type Handler func(Call) (uintptr, syscall.Errno)

const failed = ^uintptr(0)

// Answer is what the syscall hook calls.
func Answer(trap, a1, a2, a3, a4, a5, a6 uintptr, p1, p2, p3, p4, p5, p6 unsafe.Pointer) (r1, r2 uintptr, err syscall.Errno) {
	if trap >= uintptr(len(table)) || table[trap].Handler == nil {
		unknown(trap)
		return failed, 0, syscall.ENOSYS
	}
	r1, err = table[trap].Handler(Call{
		A: [6]uintptr{a1, a2, a3, a4, a5, a6},
		P: [6]unsafe.Pointer{p1, p2, p3, p4, p5, p6},
	})
	if err != 0 {
		return failed, 0, err
	}
	return r1, 0, 0
}

// missed counts calls that were answered ENOSYS, by number; what is beyond the
// table is counted in its last element.
var missed [len(table) + 1]atomic.Uint32

// unknown counts a call that nobody answers, and reports it the first time.
func unknown(trap uintptr) {
	n := min(trap, uintptr(len(table)))
	if missed[n].Add(1) == 1 {
		control.Report("system call " + name(trap) + " is not there: the program got ENOSYS")
	}
}

// name is the name of a call, or its number.
func name(trap uintptr) string {
	if trap < uintptr(len(table)) && table[trap].Name != "" {
		return table[trap].Name
	}
	return strconv.Itoa(int(trap))
}

// Missed returns how often a call was answered ENOSYS for want of a handler.
func Missed(trap int) uint32 { return missed[min(trap, len(table))].Load() }
