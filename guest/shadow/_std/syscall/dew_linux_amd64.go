package syscall

import (
	errorspkg "errors"
	"internal/runtime/syscall/linux"
	"unsafe"
)

// dewHook is the library OS's answer to system calls: set once, before any
// code of the program, when the process is a guest. The p arguments are those
// a arguments that are pointers, nil otherwise.
var dewHook func(trap, a1, a2, a3, a4, a5, a6 uintptr, p1, p2, p3, p4, p5, p6 unsafe.Pointer) (r1, r2 uintptr, err Errno)

//go:linkname dew_setHook
func dew_setHook(f func(trap, a1, a2, a3, a4, a5, a6 uintptr, p1, p2, p3, p4, p5, p6 unsafe.Pointer) (r1, r2 uintptr, err Errno)) {
	dewHook = f
}

// dewCall takes a system call to the library OS.
//
// A caller's uintptr may be the address of a variable on its goroutine's
// stack, and the stack moves once ordinary Go code runs. So arguments that are
// pointers become unsafe.Pointer here, while nothing can move yet: from then
// on the runtime adjusts them. Values below a page are no addresses (nil,
// flags, and AT_* numbers in calls whose argument is sometimes a pointer).
//
//go:nosplit
//go:nocheckptr
func dewCall(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err Errno) {
	var p1, p2, p3, p4, p5, p6 unsafe.Pointer
	if trap < uintptr(len(dewPointers)) {
		const page = 4096
		m := dewPointers[trap]
		if m&1 != 0 && a1 >= page {
			p1 = unsafe.Pointer(a1)
		}
		if m&2 != 0 && a2 >= page {
			p2 = unsafe.Pointer(a2)
		}
		if m&4 != 0 && a3 >= page {
			p3 = unsafe.Pointer(a3)
		}
		if m&8 != 0 && a4 >= page {
			p4 = unsafe.Pointer(a4)
		}
		if m&16 != 0 && a5 >= page {
			p5 = unsafe.Pointer(a5)
		}
		if m&32 != 0 && a6 >= page {
			p6 = unsafe.Pointer(a6)
		}
	}
	return dewHook(trap, a1, a2, a3, a4, a5, a6, p1, p2, p3, p4, p5, p6)
}

// dewNoProcesses is the answer to starting another program.
type dewNoProcesses struct{}

func (dewNoProcesses) Error() string {
	return "a droplet has no other processes: it cannot start programs"
}

func (dewNoProcesses) Is(target error) bool {
	return target == ENOSYS || target == errorspkg.ErrUnsupported
}

// dewRawSyscallNoError is std's assembly under another name.
func dewRawSyscallNoError(trap, a1, a2, a3 uintptr) (r1, r2 uintptr)

//go:nosplit
func rawSyscallNoError(trap, a1, a2, a3 uintptr) (r1, r2 uintptr) {
	if dewHook != nil {
		r1, r2, _ = dewCall(trap, a1, a2, a3, 0, 0, 0)
		return
	}
	return dewRawSyscallNoError(trap, a1, a2, a3)
}

// dew_blockingCall is a call to the tender that may block: the goroutine gives
// up its P, as in an ordinary system call.
//
//go:linkname dew_blockingCall
//go:uintptrkeepalive
//go:nosplit
func dew_blockingCall(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr) {
	runtime_entersyscall()
	r1, r2, errno = linux.Syscall6(trap, a1, a2, a3, a4, a5, a6)
	runtime_exitsyscall()
	return
}

// dewPointers has bit i set where argument i+1 of a call is a pointer
// (Linux 6.18, arch/x86/entry/syscalls/syscall_64.tbl and the calls' SYSCALL_DEFINE).
var dewPointers = [512]uint8{
	SYS_READ: 2, SYS_WRITE: 2, SYS_OPEN: 1, SYS_STAT: 3, SYS_FSTAT: 2, SYS_LSTAT: 3, SYS_POLL: 1,
	SYS_RT_SIGACTION: 6, SYS_RT_SIGPROCMASK: 6, SYS_IOCTL: 4, SYS_PREAD64: 2, SYS_PWRITE64: 2,
	SYS_READV: 2, SYS_WRITEV: 2, SYS_ACCESS: 1, SYS_PIPE: 1, SYS_SELECT: 2 | 4 | 8 | 16,
	SYS_MINCORE: 4, SYS_NANOSLEEP: 3, SYS_GETITIMER: 2, SYS_SETITIMER: 6, SYS_SENDFILE: 4,
	SYS_CONNECT: 2, SYS_ACCEPT: 6, SYS_SENDTO: 2 | 16, SYS_RECVFROM: 2 | 16 | 32, SYS_SENDMSG: 2,
	SYS_RECVMSG: 2, SYS_BIND: 2, SYS_GETSOCKNAME: 6, SYS_GETPEERNAME: 6, SYS_SOCKETPAIR: 8,
	SYS_SETSOCKOPT: 8, SYS_GETSOCKOPT: 8 | 16, SYS_EXECVE: 7, SYS_WAIT4: 2 | 8, SYS_UNAME: 1,
	SYS_FCNTL: 4, SYS_TRUNCATE: 1, SYS_GETDENTS: 2, SYS_GETCWD: 1, SYS_CHDIR: 1, SYS_RENAME: 3,
	SYS_MKDIR: 1, SYS_RMDIR: 1, SYS_CREAT: 1, SYS_LINK: 3, SYS_UNLINK: 1, SYS_SYMLINK: 3,
	SYS_READLINK: 3, SYS_CHMOD: 1, SYS_CHOWN: 1, SYS_LCHOWN: 1, SYS_GETTIMEOFDAY: 3,
	SYS_GETRLIMIT: 2, SYS_GETRUSAGE: 2, SYS_SYSINFO: 1, SYS_TIMES: 1, SYS_GETGROUPS: 2,
	SYS_SETGROUPS: 2, SYS_GETRESUID: 7, SYS_GETRESGID: 7, SYS_CAPGET: 3, SYS_CAPSET: 3,
	SYS_RT_SIGPENDING: 1, SYS_RT_SIGTIMEDWAIT: 7, SYS_SIGALTSTACK: 3, SYS_UTIME: 3, SYS_MKNOD: 1,
	SYS_USTAT: 2, SYS_STATFS: 3, SYS_FSTATFS: 2, SYS_SCHED_SETPARAM: 2, SYS_SCHED_GETPARAM: 2,
	SYS_MOUNT: 7 | 16, SYS_UMOUNT2: 1, SYS_SETHOSTNAME: 1, SYS_SETRLIMIT: 2, SYS_CHROOT: 1,
	SYS_SETXATTR: 7, SYS_LSETXATTR: 7, SYS_FSETXATTR: 6, SYS_GETXATTR: 7, SYS_LGETXATTR: 7,
	SYS_FGETXATTR: 6, SYS_LISTXATTR: 3, SYS_LLISTXATTR: 3, SYS_FLISTXATTR: 2, SYS_REMOVEXATTR: 3,
	SYS_LREMOVEXATTR: 3, SYS_FREMOVEXATTR: 2, SYS_TIME: 1, SYS_FUTEX: 1 | 8 | 16,
	SYS_SCHED_SETAFFINITY: 4, SYS_SCHED_GETAFFINITY: 4, SYS_GETDENTS64: 2, SYS_TIMER_CREATE: 6,
	SYS_CLOCK_SETTIME: 2, SYS_CLOCK_GETTIME: 2, SYS_CLOCK_GETRES: 2, SYS_CLOCK_NANOSLEEP: 4 | 8,
	SYS_EPOLL_WAIT: 2, SYS_EPOLL_CTL: 8, SYS_UTIMES: 3, SYS_WAITID: 4 | 16, SYS_INOTIFY_ADD_WATCH: 2,
	SYS_OPENAT: 2, SYS_MKDIRAT: 2, SYS_MKNODAT: 2, SYS_FCHOWNAT: 2, SYS_FUTIMESAT: 6,
	SYS_NEWFSTATAT: 6, SYS_UNLINKAT: 2, SYS_RENAMEAT: 2 | 8, SYS_LINKAT: 2 | 8, SYS_SYMLINKAT: 5,
	SYS_READLINKAT: 6, SYS_FCHMODAT: 2, SYS_FACCESSAT: 2, SYS_PSELECT6: 2 | 4 | 8 | 16, SYS_PPOLL: 1 | 4 | 8,
	SYS_SPLICE: 2 | 8, SYS_VMSPLICE: 2, SYS_UTIMENSAT: 6, SYS_EPOLL_PWAIT: 2 | 16, SYS_SIGNALFD: 2,
	SYS_TIMERFD_SETTIME: 4 | 8, SYS_TIMERFD_GETTIME: 2, SYS_ACCEPT4: 6, SYS_SIGNALFD4: 2,
	SYS_PIPE2: 1, SYS_PREADV: 2, SYS_PWRITEV: 2, SYS_RT_TGSIGQUEUEINFO: 8,
	299:           2 | 16, // recvmmsg
	SYS_PRLIMIT64: 4 | 8,
	303:           2 | 4 | 8, // name_to_handle_at
	307:           2,         // sendmmsg
	309:           3,         // getcpu
	314:           2,         // sched_setattr
	315:           2,         // sched_getattr
	316:           2 | 8,     // renameat2
	318:           1,         // getrandom
	319:           1,         // memfd_create
	322:           2 | 4 | 8, // execveat
	326:           2 | 8,     // copy_file_range
	327:           2,         // preadv2
	328:           2,         // pwritev2
	332:           2 | 16,    // statx
	435:           1,         // clone3
	437:           2 | 4,     // openat2
	439:           2,         // faccessat2
	441:           2 | 8,     // epoll_pwait2
	452:           2,         // fchmodat2
}
