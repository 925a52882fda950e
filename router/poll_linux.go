package router

import (
	"syscall"
	"unsafe"
)

func pollNow(p *pollFD) (broken, ended bool) {
	syscall.Syscall(syscall.SYS_POLL, uintptr(unsafe.Pointer(p)), 1, 0)
	return p.revents&(pollErr|pollHup) != 0, p.revents&pollRdHup != 0
}

// descriptors is how many files the process may have open.
func descriptors() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<30))
}
