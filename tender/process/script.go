package process

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is one system call of a script. The assembly knows its layout.
type call struct {
	number uintptr
	args   [6]uintptr
	result uintptr // written by the child
}

// script is a list of calls for a child that shares our memory. The child
// stops at the first that fails.
type script struct {
	calls []call
	names []string // of each call, for people
	keep  []any    // what the arguments point to
}

// do appends a call.
func (s *script) do(name string, number uintptr, args ...uintptr) {
	c := call{number: number}
	copy(c.args[:], args)
	s.calls = append(s.calls, c)
	s.names = append(s.names, name)
}

// text keeps a C string for the script. It lives on the heap, which does not
// move.
func (s *script) text(v string) uintptr {
	b := append([]byte(v), 0)
	s.keep = append(s.keep, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

// texts keeps a null-terminated vector of C strings.
func (s *script) texts(v []string) uintptr {
	p := make([]uintptr, len(v)+1)
	for i, t := range v {
		p[i] = s.text(t)
	}
	s.keep = append(s.keep, p)
	return uintptr(unsafe.Pointer(&p[0]))
}

// value keeps what p points to.
func value[T any](s *script, v T) uintptr {
	p := new(T)
	*p = v
	s.keep = append(s.keep, p)
	return uintptr(unsafe.Pointer(p))
}

// child is what a script became.
type child struct {
	pid   int
	pidfd int
}

// cloneArgs is struct clone_args of version 0 (include/uapi/linux/sched.h).
type cloneArgs struct {
	flags, pidfd, _, _, exitSignal, _, _, _ uint64 // child_tid, parent_tid; stack, stack_size, tls: not used
}

// run clones with the namespaces of flags and carries out the script. The last
// call of the script must replace the program. Needs Linux 5.5, for
// CLONE_CLEAR_SIGHAND.
func (s *script) run(flags uint64) (child, error) {
	pidfd := new(int32)
	const sharing = unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND
	args := &cloneArgs{flags: flags | sharing, pidfd: uint64(uintptr(unsafe.Pointer(pidfd))), exitSignal: uint64(unix.SIGCHLD)}
	syscall.ForkLock.Lock()
	pid, errno := spawnQuietly(args, unsafe.Sizeof(*args), &s.calls[0], uintptr(len(s.calls)))
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(pidfd)
	runtime.KeepAlive(s)
	if errno != 0 {
		return child{}, fmt.Errorf("clone3 with namespaces %#x: %w", flags, syscall.Errno(errno))
	}
	c := child{int(pid), int(*pidfd)}
	if err := s.failure(); err != nil {
		c.discard()
		return child{}, err
	}
	return c, nil
}

// failure finds the call at which the child stopped.
func (s *script) failure() error {
	for i, c := range s.calls {
		if errno := -c.result; errno > 0 && errno < 4096 {
			return fmt.Errorf("%s: %w", s.names[i], syscall.Errno(errno))
		}
	}
	return nil
}

// discard waits for a child that has failed.
func (c child) discard() {
	unix.PidfdSendSignal(c.pidfd, unix.SIGKILL, nil, 0)
	for unix.Waitid(unix.P_PIDFD, c.pidfd, nil, unix.WEXITED, nil) == unix.EINTR {
	}
	unix.Close(c.pidfd)
}

//go:noescape
func spawn(args *cloneArgs, size uintptr, script *call, n uintptr) (pid, errno uintptr)

// beforeFork blocks all signals on this thread: a handler must not run in the
// child, on memory that is also its parent's.
//
//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:norace
//go:nosplit
func spawnQuietly(args *cloneArgs, size uintptr, script *call, n uintptr) (pid, errno uintptr) {
	beforeFork()
	pid, errno = spawn(args, size, script, n)
	afterFork()
	return pid, errno
}
