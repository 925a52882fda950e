package syscall

import (
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/vfs"
)

// atCwd is AT_FDCWD.
const atCwd = -100

// Flags of the -at calls (include/uapi/linux/fcntl.h).
const (
	atNoFollow  = 0x100
	atRemoveDir = 0x200
	atFollow    = 0x400
	atEmptyPath = 0x1000
)

// cwd is the working directory, umask what is taken off new files' permissions.
var (
	cwd   atomic.Pointer[vfs.Node]
	umask atomic.Uint32
)

func workdir() *vfs.Node {
	f := tree() // which may enter one
	if n := cwd.Load(); n != nil {
		return n
	}
	return f.Root()
}

// base is the directory that a relative path of an -at call begins in.
// Argument n is its descriptor. An absolute path needs none.
func (c *Call) base(n int, path string) (*vfs.Node, syscall.Errno) {
	if c.int(n) == atCwd || strings.HasPrefix(path, "/") {
		return workdir(), 0
	}
	return node(c.int(n))
}

// node is the file of a descriptor in the file system.
func node(number int) (*vfs.Node, syscall.Errno) {
	r, ok := Files.Get(number)
	if !ok {
		return nil, syscall.EBADF
	}
	defer r.Put()
	h, ok := r.File.(*vfs.Handle)
	if !ok {
		return nil, syscall.ENOTDIR
	}
	return h.Node(), 0
}

// baseAndPath reads the two arguments that -at calls begin with.
func (c *Call) baseAndPath(n int) (*vfs.Node, string, syscall.Errno) {
	p, err := c.path(n + 1)
	if err != 0 {
		return nil, "", err
	}
	b, err := c.base(n, p)
	return b, p, err
}

func open(c Call) (uintptr, syscall.Errno) {
	p, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	return openAt(workdir(), p, c.int(1), uint32(c.A[2]))
}

func creat(c Call) (uintptr, syscall.Errno) {
	p, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	return openAt(workdir(), p, syscall.O_CREAT|syscall.O_WRONLY|syscall.O_TRUNC, uint32(c.A[1]))
}

func openat(c Call) (uintptr, syscall.Errno) {
	b, p, err := c.baseAndPath(0)
	if err != 0 {
		return 0, err
	}
	return openAt(b, p, c.int(2), uint32(c.A[3]))
}

func openAt(base *vfs.Node, path string, flags int, mode uint32) (uintptr, syscall.Errno) {
	if n, ok := reopened(path); ok {
		return count(Files.Dup(n, 0, flags&syscall.O_CLOEXEC != 0))
	}
	f, err := tree().Open(base, path, flags, mode&0o7777&^umask.Load())
	if err != 0 {
		return 0, err
	}
	return install(f, flags)
}

// install gives a file a number, or closes it when there is none.
func install(f fd.File, flags int) (uintptr, syscall.Errno) {
	const once = syscall.O_CREAT | syscall.O_EXCL | syscall.O_TRUNC | syscall.O_NOCTTY | syscall.O_DIRECTORY | syscall.O_NOFOLLOW
	n, err := Files.Install(f, flags&^once, 0)
	if err != 0 {
		f.Close()
	}
	return uintptr(n), err
}

// reopened tells whether a path names an open descriptor: /dev/stdin and the
// like. It becomes a duplicate, as on a terminal; a regular file's position is
// shared then, other than on Linux.
func reopened(path string) (int, bool) {
	if !strings.HasPrefix(path, "/dev/") && !strings.HasPrefix(path, "/proc/") {
		return 0, false
	}
	switch path {
	case "/dev/stdin":
		return 0, true
	case "/dev/stdout":
		return 1, true
	case "/dev/stderr":
		return 2, true
	}
	rest, ok := strings.CutPrefix(path, "/dev/fd/")
	if !ok {
		rest, ok = strings.CutPrefix(path, "/proc/self/fd/")
	}
	if !ok {
		rest, ok = strings.CutPrefix(path, "/proc/1/fd/")
	}
	if !ok {
		return 0, false
	}
	return number(rest)
}

// number reads a short decimal number.
func number(s string) (int, bool) {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || i > 6 {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, s != ""
}

func closeFile(c Call) (uintptr, syscall.Errno) { return 0, Files.Close(c.int(0)) }

func closeRange(c Call) (uintptr, syscall.Errno) {
	const onlyMark = 4 // CLOSE_RANGE_CLOEXEC
	first, last := uint32(c.A[0]), uint32(c.A[1])
	if first > last {
		return 0, syscall.EINVAL
	}
	for _, n := range Files.Numbers() {
		if uint32(n) < first || uint32(n) > last {
			continue
		}
		if c.A[2]&onlyMark != 0 {
			Files.SetCloseOnExec(n, true)
		} else {
			Files.Close(n)
		}
	}
	return 0, 0
}

func dup(c Call) (uintptr, syscall.Errno) { return count(Files.Dup(c.int(0), 0, false)) }

func dup2(c Call) (uintptr, syscall.Errno) {
	if c.int(0) == c.int(1) {
		r, err := c.file(0)
		if err == 0 {
			r.Put()
		}
		return uintptr(c.int(1)), err
	}
	return uintptr(c.int(1)), Files.DupTo(c.int(0), c.int(1), false)
}

func dup3(c Call) (uintptr, syscall.Errno) {
	if c.int(0) == c.int(1) || c.int(2)&^syscall.O_CLOEXEC != 0 {
		return 0, syscall.EINVAL
	}
	return uintptr(c.int(1)), Files.DupTo(c.int(0), c.int(1), c.int(2) != 0)
}

// Commands of fcntl(2) that package syscall has no names for.
const (
	fOFDGetLk = 36
	fOFDSetLk = 37
	fOFDWait  = 38
	fAddSeals = 1033
	fGetSeals = 1034
)

func fcntl(c Call) (uintptr, syscall.Errno) {
	r, err := c.file(0)
	if err != 0 {
		return 0, err
	}
	defer r.Put()
	switch cmd := c.int(1); cmd {
	case syscall.F_DUPFD, syscall.F_DUPFD_CLOEXEC:
		return count(Files.Dup(c.int(0), c.int(2), cmd == syscall.F_DUPFD_CLOEXEC))
	case syscall.F_GETFD:
		on, err := Files.CloseOnExec(c.int(0))
		if on {
			return syscall.FD_CLOEXEC, err
		}
		return 0, err
	case syscall.F_SETFD:
		return 0, Files.SetCloseOnExec(c.int(0), c.A[2]&syscall.FD_CLOEXEC != 0)
	case syscall.F_GETFL:
		return uintptr(r.Flags()), 0
	case syscall.F_SETFL:
		r.SetFlags(c.int(2))
		return 0, 0
	case fAddSeals, fGetSeals:
		return sealFile(&c, r, cmd)
	}
	return fcntlLock(&c, r)
}

func sealFile(c *Call, r fd.Ref, cmd int) (uintptr, syscall.Errno) {
	h, ok := r.File.(*vfs.Handle)
	if !ok {
		return 0, syscall.EINVAL
	}
	if cmd == fGetSeals {
		return uintptr(h.Seals()), 0
	}
	return 0, h.AddSeals(uint32(c.A[2]))
}

// fcntlLock answers the record locks: a process never conflicts with itself,
// and here is only one; locks of a description are taken on the whole file.
func fcntlLock(c *Call, r fd.Ref) (uintptr, syscall.Errno) {
	h, ok := r.File.(*vfs.Handle)
	lock := at[syscall.Flock_t](c, 2)
	switch c.int(1) {
	case syscall.F_GETLK, syscall.F_SETLK, syscall.F_SETLKW, fOFDGetLk, fOFDSetLk, fOFDWait:
	default:
		return 0, syscall.EINVAL
	}
	if !ok {
		return 0, syscall.EBADF
	}
	if lock == nil {
		return 0, syscall.EFAULT
	}
	operation := map[int16]int{syscall.F_RDLCK: syscall.LOCK_SH, syscall.F_WRLCK: syscall.LOCK_EX, syscall.F_UNLCK: syscall.LOCK_UN}[lock.Type]
	switch c.int(1) {
	case syscall.F_GETLK, fOFDGetLk:
		lock.Type = syscall.F_UNLCK
	case fOFDSetLk:
		return 0, h.Flock(operation | syscall.LOCK_NB)
	case fOFDWait:
		return 0, h.Flock(operation)
	}
	return 0, 0
}

func flock(c Call) (uintptr, syscall.Errno) {
	r, err := c.file(0)
	if err != 0 {
		return 0, err
	}
	defer r.Put()
	h, ok := r.File.(*vfs.Handle)
	if !ok {
		return 0, syscall.EINVAL
	}
	return 0, h.Flock(c.int(1))
}
