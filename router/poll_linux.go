package router

import (
	"syscall"
	"unsafe"
)

func pollNow(p *pollFD) (broken, ended bool) {
	syscall.Syscall(syscall.SYS_POLL, uintptr(unsafe.Pointer(p)), 1, 0)
	return p.revents&(pollErr|pollHup) != 0, p.revents&pollRdHup != 0
}
