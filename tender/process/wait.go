package process

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// waitPidfd collects an ended process without waiting: info.pid stays 0 while
// it runs.
func waitPidfd(fd int, info *childInfo, usage *unix.Rusage) error {
	for {
		_, _, errno := unix.Syscall6(unix.SYS_WAITID, unix.P_PIDFD, uintptr(fd), uintptr(unsafe.Pointer(info)),
			unix.WEXITED|unix.WNOHANG, uintptr(unsafe.Pointer(usage)), 0)
		switch errno {
		case 0, unix.EAGAIN: // a non-blocking pidfd answers EAGAIN for "not yet" (waitid(2))
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}
