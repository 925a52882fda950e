package sandbox

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/tender/seccomp"
)

// plainCalls are the system calls that a command may make with any arguments:
// those of Go's runtime, of packages os, os/exec, net and syscall, and of the
// go command, compiler, assembler and linker beyond them. Found with strace over
// builds and by reading the packages (Go 1.26). What is not here answers ENOSYS,
// as on a kernel without it: mounts, namespaces, tracing of others, keys, BPF,
// performance events, io_uring, modules, new seccomp filters, device nodes,
// anonymous executables, sockets that pass descriptors, and what is to come.
var plainCalls = []uint32{
	// Threads, time, memory.
	unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY, unix.SYS_TIME,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETRANDOM, unix.SYS_MADVISE, unix.SYS_MUNMAP, unix.SYS_MINCORE, unix.SYS_MSYNC, unix.SYS_BRK,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_TGKILL, unix.SYS_RESTART_SYSCALL,
	// Processes: they see none but those of the sandbox.
	unix.SYS_EXECVE, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_WAIT4, unix.SYS_WAITID, unix.SYS_KILL, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_SEND_SIGNAL,
	unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID, unix.SYS_SETSID, unix.SYS_SETPGID,
	unix.SYS_UNAME, unix.SYS_GETRUSAGE, unix.SYS_GETRLIMIT, unix.SYS_PRLIMIT64, unix.SYS_SYSINFO, unix.SYS_UMASK,
	// Descriptors.
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_LSEEK, unix.SYS_CLOSE, unix.SYS_FCNTL,
	unix.SYS_DUP, unix.SYS_DUP2, unix.SYS_DUP3, unix.SYS_PIPE2, unix.SYS_EVENTFD2, unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT,
	unix.SYS_COPY_FILE_RANGE, unix.SYS_SENDFILE, unix.SYS_SPLICE,
	// Files: mounts and their owners decide.
	unix.SYS_OPENAT, unix.SYS_NEWFSTATAT, unix.SYS_FSTAT, unix.SYS_STATX, unix.SYS_GETDENTS64, unix.SYS_GETCWD, unix.SYS_CHDIR, unix.SYS_FCHDIR,
	unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2, unix.SYS_READLINKAT, unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT,
	unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_UTIMENSAT, unix.SYS_TRUNCATE, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FLOCK,
	// The relay, which is all of the network.
	unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_GETSOCKOPT, unix.SYS_SETSOCKOPT, unix.SYS_SHUTDOWN,
}

// busyCalls are those of the above that builds make most, of 10 to 30 % each to
// one in a hundred.
var busyCalls = []uint32{unix.SYS_FUTEX, unix.SYS_NEWFSTATAT, unix.SYS_READ, unix.SYS_OPENAT, unix.SYS_CLOSE, unix.SYS_NANOSLEEP, unix.SYS_EPOLL_PWAIT, unix.SYS_WRITE, unix.SYS_FCNTL,
	unix.SYS_EPOLL_CTL, unix.SYS_RT_SIGACTION, unix.SYS_PREAD64, unix.SYS_GETDENTS64, unix.SYS_MADVISE, unix.SYS_RT_SIGPROCMASK, unix.SYS_FSTAT, unix.SYS_READLINKAT, unix.SYS_SCHED_YIELD}

// newNamespaces are the flags of clone(2) that make some.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// calls is the table of what a command may ask of the kernel.
func (s *setup) calls() []seccomp.Rule {
	rules := []seccomp.Rule{
		// Without clone3, whose flags no filter can see: Go falls back.
		only(unix.SYS_CLONE, seccomp.Within(0, ^uint32(newNamespaces))),
		// No page is ever executable but those that execve maps.
		only(unix.SYS_MMAP, seccomp.Within(2, unix.PROT_READ|unix.PROT_WRITE)),
		only(unix.SYS_MPROTECT, seccomp.Within(2, unix.PROT_READ|unix.PROT_WRITE)),
		only(unix.SYS_SOCKET, seccomp.Among(0, unix.AF_INET, unix.AF_INET6), seccomp.Among(1, unix.SOCK_STREAM, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)),
		only(unix.SYS_ARCH_PRCTL, seccomp.Among(0, seccomp.ArchSetFS)),
		only(unix.SYS_PRCTL, seccomp.Among(0, unix.PR_SET_VMA)),
		only(unix.SYS_IOCTL, seccomp.Among(1, unix.TCGETS, unix.TIOCGWINSZ)),
	}
	if s.UID >= 0 { // the first process's child becomes this user, once and for all
		rules = append(rules, only(unix.SYS_SETUID, seccomp.Among(0, uint32(s.UID))), only(unix.SYS_SETGID, seccomp.Among(0, uint32(s.UID))), only(unix.SYS_SETGROUPS, seccomp.Among(0, 0)))
	}
	for _, n := range plainCalls {
		rules = append(rules, seccomp.Rule{Call: n, Hot: slices.Contains(busyCalls, n)})
	}
	return rules
}

func only(call uint32, all ...seccomp.Condition) seccomp.Rule {
	return seccomp.Rule{Call: call, Alternatives: [][]seccomp.Condition{all}}
}

// filter puts the calling thread, and what it starts, behind the table for good.
func (s *setup) filter() error {
	code, err := seccomp.Compile(s.calls(), seccomp.Absent)
	if err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(code)), Filter: unsafe.SliceData(code)}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("filter system calls: %w: %w", errHere, errno)
	}
	return nil
}
