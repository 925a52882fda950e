package syscall

import (
	"syscall"

	"github.com/dewpaas/dew/guest/control"
)

// kill reaches the guest itself, which is all there is: process 1, its group
// and everybody.
func kill(c Call) (uintptr, syscall.Errno) {
	switch c.int(0) {
	case pid, 0, -1: // -1 is also the group of process 1
		return 0, raise(c.int(1))
	}
	return 0, syscall.ESRCH
}

func tkill(c Call) (uintptr, syscall.Errno) {
	if c.int(0) != pid {
		return 0, syscall.ESRCH
	}
	return 0, raise(c.int(1))
}

func tgkill(c Call) (uintptr, syscall.Errno) {
	if c.int(0) != pid || c.int(1) != pid {
		return 0, syscall.ESRCH
	}
	return 0, raise(c.int(2))
}

func raise(sig int) syscall.Errno {
	if sig < 0 || sig > 64 {
		return syscall.EINVAL
	}
	if sig > 0 {
		control.Deliver(uint32(sig))
	}
	return 0
}
