package main

import (
	"runtime"
	"syscall"
)

// privilegeSteps reach for rights over the host's kernel.
func privilegeSteps() map[string]step {
	return map[string]step{
		"mount":     mount,
		"root":      func(args) error { return held(try(syscall.SYS_SETRESUID, 0, 0, 0)) },
		"real-time": func(args) error { return held(try(syscall.SYS_SCHED_SETSCHEDULER, 0, 1, address(&[1]int32{1}))) },
		"host-name": func(a args) error {
			return held(try(syscall.SYS_SETHOSTNAME, cString(a.text(0)), uintptr(len(a.text(0)))))
		},
		"kernel-log":  kernelLog,
		"bpf":         func(args) error { return held(try(sysBPF, 0, address(&[16]uint32{2, 4, 8, 1}), 64)) },
		"user-fault":  func(args) error { return held(try(sysUserfault, 1)) }, // UFFD_USER_MODE_ONLY
		"perf":        perf,
		"memory-file": func(args) error { return held(try(sysMemfd, cString("dew-breach"), 0)) },
		"rwx-memory": func(args) error {
			return held(try(syscall.SYS_MMAP, 0, 4096, 7, syscall.MAP_PRIVATE|syscall.MAP_ANON, ^uintptr(0), 0))
		},
		"make-rwx":     makeRWX,
		"raw-disk":     func(a args) error { return device(a, "/dewbreach-disk", syscall.S_IFBLK) },
		"kernel-image": func(args) error { return held(try(syscall.SYS_OPENAT, atFDCWD, cString("/proc/kcore"), 0)) },
	}
}

// held stays when a call succeeded, so that the harness can see what it gave.
func held(_ uintptr, err error) error {
	if err != nil {
		return err
	}
	return hold(nil)
}

func mount(a args) error {
	runtime.LockOSThread()
	return held(try(syscall.SYS_MOUNT, cString("dew-breach"), cString(a.text(0)), cString("tmpfs"), 0, 0))
}

// kernelLog prints the kernel's messages.
func kernelLog(args) error {
	b, at := buffer(1 << 20)
	n, err := try(syscall.SYS_SYSLOG, 3, at, uintptr(len(b)))
	for left := b[:n]; len(left) > 0 && err == nil; {
		var wrote uintptr
		wrote, err = try(syscall.SYS_WRITE, 1, address(&left[0]), uintptr(len(left)))
		left = left[wrote:]
	}
	return err
}

// perf opens a software counter of its own process (struct perf_event_attr).
func perf(args) error {
	const software, cpuClock, size = 1, 0, 64
	attr := &[16]uint32{software, size, cpuClock}
	attr[10] = 1 << 5 // exclude_kernel
	return held(try(sysPerfEvent, address(attr), 0, ^uintptr(0), ^uintptr(0), 0))
}

// makeRWX turns data into code.
func makeRWX(args) error {
	at, err := try(syscall.SYS_MMAP, 0, 4096, 3, syscall.MAP_PRIVATE|syscall.MAP_ANON, ^uintptr(0), 0)
	if err != nil {
		return err
	}
	return held(try(syscall.SYS_MPROTECT, at, 4096, 7))
}

// device makes a file of a device of the host, by its numbers, and opens it.
func device(a args, path string, kind uintptr) error {
	name := cString(path)
	if err := only(try(syscall.SYS_MKNOD, name, kind|0o600, a.number(0))); err != nil {
		return err
	}
	fd, err := try(syscall.SYS_OPENAT, atFDCWD, name, 0)
	call(syscall.SYS_UNLINK, name)
	return held(fd, err)
}
