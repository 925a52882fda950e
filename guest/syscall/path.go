package syscall

import (
	"syscall"
	"time"

	"github.com/dewpaas/dew/guest/vfs"
)

func stat(c Call) (uintptr, syscall.Errno)  { return statPath(&c, true) }
func lstat(c Call) (uintptr, syscall.Errno) { return statPath(&c, false) }

func statPath(c *Call, follow bool) (uintptr, syscall.Errno) {
	p, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	st := at[syscall.Stat_t](c, 1)
	if st == nil {
		return 0, syscall.EFAULT
	}
	return 0, tree().Stat(workdir(), p, follow, st)
}

func fstat(c Call) (uintptr, syscall.Errno) {
	r, err := c.file(0)
	if err != 0 {
		return 0, err
	}
	defer r.Put()
	st := at[syscall.Stat_t](&c, 1)
	if st == nil {
		return 0, syscall.EFAULT
	}
	return 0, r.Stat(st)
}

func newfstatat(c Call) (uintptr, syscall.Errno) {
	st := at[syscall.Stat_t](&c, 2)
	if st == nil {
		return 0, syscall.EFAULT
	}
	return 0, statAt(&c, 3, st)
}

// statAt serves newfstatat and statx, whose flags are argument n.
func statAt(c *Call, n int, st *syscall.Stat_t) syscall.Errno {
	p, err := c.path(1)
	if err != 0 {
		return err
	}
	if p == "" && c.A[n]&atEmptyPath != 0 && c.int(0) != atCwd {
		r, err := c.file(0)
		if err != 0 {
			return err
		}
		defer r.Put()
		return r.Stat(st)
	}
	b, err := c.base(0, p)
	if err != 0 {
		return err
	}
	return tree().Stat(b, p, c.A[n]&atNoFollow == 0, st)
}

// statxTime and statxResult are struct statx (include/uapi/linux/stat.h).
type statxTime struct {
	sec  int64
	nsec uint32
	_    int32
}

type statxResult struct {
	mask, blksize          uint32
	_                      uint64 // attributes: none
	nlink, uid, gid        uint32
	mode                   uint16
	_                      uint16
	ino, size, blocks, _   uint64    // attributes_mask: none
	atime, _, ctime, mtime statxTime // btime: not kept
	rdevMajor, rdevMinor   uint32
	_, devMinor            uint32 // devMajor: always 0
	_                      [14]uint64
}

func statx(c Call) (uintptr, syscall.Errno) {
	const basic = 0x7ff // STATX_BASIC_STATS
	out := at[statxResult](&c, 4)
	if out == nil {
		return 0, syscall.EFAULT
	}
	var st syscall.Stat_t
	if err := statAt(&c, 2, &st); err != 0 {
		return 0, err
	}
	when := func(t syscall.Timespec) statxTime { return statxTime{sec: t.Sec, nsec: uint32(t.Nsec)} }
	*out = statxResult{mask: basic, blksize: uint32(st.Blksize), nlink: uint32(st.Nlink), uid: st.Uid, gid: st.Gid,
		mode: uint16(st.Mode), ino: st.Ino, size: uint64(st.Size), blocks: uint64(st.Blocks),
		atime: when(st.Atim), ctime: when(st.Ctim), mtime: when(st.Mtim),
		rdevMajor: uint32(st.Rdev >> 8), rdevMinor: uint32(st.Rdev & 0xff), devMinor: uint32(st.Dev)}
	return 0, 0
}

func access(c Call) (uintptr, syscall.Errno) {
	p, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	return 0, accessAt(workdir(), p, c.int(1), true)
}

func faccessat(c Call) (uintptr, syscall.Errno) {
	b, p, err := c.baseAndPath(0)
	if err != 0 {
		return 0, err
	}
	return 0, accessAt(b, p, c.int(2), true)
}

func faccessat2(c Call) (uintptr, syscall.Errno) {
	if n, err := emptyPath(&c, 3); n != nil || err != 0 {
		if err != 0 {
			return 0, err
		}
		return 0, n.Access(c.int(2))
	}
	b, p, err := c.baseAndPath(0)
	if err != 0 {
		return 0, err
	}
	return 0, accessAt(b, p, c.int(2), c.A[3]&atNoFollow == 0)
}

// emptyPath is the file of argument 0 where argument 1 is an empty path and
// the flags in argument n allow that; nil otherwise.
func emptyPath(c *Call, n int) (*vfs.Node, syscall.Errno) {
	if c.A[n]&atEmptyPath == 0 {
		return nil, 0
	}
	if p, err := c.path(1); err != 0 || p != "" {
		return nil, err
	}
	if c.int(0) == atCwd {
		return workdir(), 0
	}
	return node(c.int(0))
}

func accessAt(b *vfs.Node, p string, mode int, follow bool) syscall.Errno {
	n, err := tree().Find(b, p, follow)
	if err != 0 {
		return err
	}
	return n.Access(mode)
}

func chmod(c Call) (uintptr, syscall.Errno) {
	p, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	return chmodAt(workdir(), p, uint32(c.A[1]), true)
}

func fchmodat(c Call) (uintptr, syscall.Errno) {
	b, p, err := c.baseAndPath(0)
	if err != 0 {
		return 0, err
	}
	return chmodAt(b, p, uint32(c.A[2]), true)
}

func fchmodat2(c Call) (uintptr, syscall.Errno) {
	b, p, err := c.baseAndPath(0)
	if err != 0 {
		return 0, err
	}
	return chmodAt(b, p, uint32(c.A[2]), c.A[3]&atNoFollow == 0)
}

func chmodAt(b *vfs.Node, p string, mode uint32, follow bool) (uintptr, syscall.Errno) {
	n, err := tree().Find(b, p, follow)
	if err != 0 {
		return 0, err
	}
	var st syscall.Stat_t
	if n.Stat(&st); st.Mode&syscall.S_IFMT == syscall.S_IFLNK {
		return 0, syscall.EOPNOTSUPP
	}
	return 0, n.Chmod(mode)
}

func fchmod(c Call) (uintptr, syscall.Errno) {
	n, err := changeable(&c)
	if err != 0 {
		return 0, err
	}
	return 0, n.Chmod(uint32(c.A[1]))
}

// changeable is the file of argument 0, for calls that change its attributes.
func changeable(c *Call) (*vfs.Node, syscall.Errno) {
	n, err := node(c.int(0))
	if err == syscall.ENOTDIR {
		err = syscall.EINVAL
	}
	return n, err
}

func chown(c Call) (uintptr, syscall.Errno)  { return chownPath(&c, true) }
func lchown(c Call) (uintptr, syscall.Errno) { return chownPath(&c, false) }

func chownPath(c *Call, follow bool) (uintptr, syscall.Errno) {
	p, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	n, err := tree().Find(workdir(), p, follow)
	if err != 0 {
		return 0, err
	}
	return 0, n.Chown(c.int(1), c.int(2))
}

func fchown(c Call) (uintptr, syscall.Errno) {
	n, err := changeable(&c)
	if err != 0 {
		return 0, err
	}
	return 0, n.Chown(c.int(1), c.int(2))
}

func fchownat(c Call) (uintptr, syscall.Errno) {
	n, err := emptyPath(&c, 4)
	if n == nil && err == 0 {
		var b *vfs.Node
		var p string
		if b, p, err = c.baseAndPath(0); err == 0 {
			n, err = tree().Find(b, p, c.A[4]&atNoFollow == 0)
		}
	}
	if err != 0 {
		return 0, err
	}
	return 0, n.Chown(c.int(2), c.int(3))
}

// Values of tv_nsec in utimensat(2).
const (
	timeNow  = 1<<30 - 1
	timeOmit = 1<<30 - 2
)

func utimensat(c Call) (uintptr, syscall.Errno) {
	access, modify, err := twoTimes(at[[2]syscall.Timespec](&c, 2))
	if err != 0 {
		return 0, err
	}
	var n *vfs.Node
	if c.P[1] == nil {
		n, err = changeable(&c)
	} else if n, err = emptyPath(&c, 3); n == nil && err == 0 {
		var b *vfs.Node
		var p string
		if b, p, err = c.baseAndPath(0); err == 0 {
			n, err = tree().Find(b, p, c.A[3]&atNoFollow == 0)
		}
	}
	if err != 0 {
		return 0, err
	}
	return 0, n.SetTimes(access, modify)
}

func twoTimes(ts *[2]syscall.Timespec) (access, modify int64, err syscall.Errno) {
	now := time.Now().UnixNano()
	if ts == nil {
		return now, now, 0
	}
	both := [2]int64{}
	for i, t := range ts {
		switch {
		case t.Nsec == timeNow:
			both[i] = now
		case t.Nsec == timeOmit:
			both[i] = vfs.Omit
		case t.Nsec < 0 || t.Nsec >= 1e9:
			return 0, 0, syscall.EINVAL
		default:
			both[i] = t.Nano()
		}
	}
	return both[0], both[1], 0
}

func utimes(c Call) (uintptr, syscall.Errno)    { return utimesAt(&c, 0, atCwd, 1) }
func futimesat(c Call) (uintptr, syscall.Errno) { return utimesAt(&c, 1, c.int(0), 2) }

func utimesAt(c *Call, path, dir, times int) (uintptr, syscall.Errno) {
	p, err := c.path(path)
	if err != 0 {
		return 0, err
	}
	b := workdir()
	if dir != atCwd && p[:min(1, len(p))] != "/" {
		if b, err = node(dir); err != 0 {
			return 0, err
		}
	}
	now := time.Now().UnixNano()
	access, modify := now, now
	if tv := at[[2]syscall.Timeval](c, times); tv != nil {
		access, modify = tv[0].Nano(), tv[1].Nano()
	}
	n, err := tree().Find(b, p, true)
	if err != 0 {
		return 0, err
	}
	return 0, n.SetTimes(access, modify)
}

func mkdir(c Call) (uintptr, syscall.Errno) {
	p, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	return 0, tree().Mkdir(workdir(), p, uint32(c.A[1])&^umask.Load())
}

func mkdirat(c Call) (uintptr, syscall.Errno) {
	b, p, err := c.baseAndPath(0)
	if err != 0 {
		return 0, err
	}
	return 0, tree().Mkdir(b, p, uint32(c.A[2])&^umask.Load())
}

func mknod(c Call) (uintptr, syscall.Errno) {
	p, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	return 0, tree().Mknod(workdir(), p, uint32(c.A[1])&^umask.Load())
}

func mknodat(c Call) (uintptr, syscall.Errno) {
	b, p, err := c.baseAndPath(0)
	if err != 0 {
		return 0, err
	}
	return 0, tree().Mknod(b, p, uint32(c.A[2])&^umask.Load())
}

func unlink(c Call) (uintptr, syscall.Errno) { return remove(&c, false) }
func rmdir(c Call) (uintptr, syscall.Errno)  { return remove(&c, true) }

func remove(c *Call, dir bool) (uintptr, syscall.Errno) {
	p, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	return 0, tree().Unlink(workdir(), p, dir)
}

func unlinkat(c Call) (uintptr, syscall.Errno) {
	b, p, err := c.baseAndPath(0)
	if err != 0 {
		return 0, err
	}
	return 0, tree().Unlink(b, p, c.A[2]&atRemoveDir != 0)
}

func rename(c Call) (uintptr, syscall.Errno) {
	from, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	to, err := c.path(1)
	if err != 0 {
		return 0, err
	}
	return 0, tree().Rename(workdir(), from, workdir(), to, 0)
}

func renameat(c Call) (uintptr, syscall.Errno)  { return renameAt(&c, 0) }
func renameat2(c Call) (uintptr, syscall.Errno) { return renameAt(&c, c.int(4)) }

func renameAt(c *Call, flags int) (uintptr, syscall.Errno) {
	fromBase, from, err := c.baseAndPath(0)
	if err != 0 {
		return 0, err
	}
	toBase, to, err := c.baseAndPath(2)
	if err != 0 {
		return 0, err
	}
	return 0, tree().Rename(fromBase, from, toBase, to, flags)
}

func link(c Call) (uintptr, syscall.Errno) {
	from, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	to, err := c.path(1)
	if err != 0 {
		return 0, err
	}
	return 0, tree().Link(workdir(), from, workdir(), to, false)
}

func linkat(c Call) (uintptr, syscall.Errno) {
	toBase, to, err := c.baseAndPath(2)
	if err != 0 {
		return 0, err
	}
	if n, err := emptyPath(&c, 4); n != nil || err != 0 {
		if err != 0 {
			return 0, err
		}
		return 0, tree().LinkNode(n, toBase, to)
	}
	fromBase, from, err := c.baseAndPath(0)
	if err != 0 {
		return 0, err
	}
	return 0, tree().Link(fromBase, from, toBase, to, c.A[4]&atFollow != 0)
}

func symlink(c Call) (uintptr, syscall.Errno) {
	target, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	p, err := c.path(1)
	if err != 0 {
		return 0, err
	}
	return 0, tree().Symlink(target, workdir(), p)
}

func symlinkat(c Call) (uintptr, syscall.Errno) {
	target, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	b, p, err := c.baseAndPath(1)
	if err != 0 {
		return 0, err
	}
	return 0, tree().Symlink(target, b, p)
}

func readlink(c Call) (uintptr, syscall.Errno) {
	p, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	return readlinkAt(&c, workdir(), p, 1)
}

func readlinkat(c Call) (uintptr, syscall.Errno) {
	b, p, err := c.baseAndPath(0)
	if err != 0 {
		return 0, err
	}
	return readlinkAt(&c, b, p, 2)
}

func readlinkAt(c *Call, b *vfs.Node, p string, n int) (uintptr, syscall.Errno) {
	if c.int(n+1) <= 0 {
		return 0, syscall.EINVAL
	}
	out, err := c.bytes(n, c.A[n+1])
	if err != 0 {
		return 0, err
	}
	var target string
	if p == "" {
		target, err = b.Readlink()
	} else {
		target, err = tree().Readlink(b, p)
	}
	return uintptr(copy(out, target)), err
}

func truncate(c Call) (uintptr, syscall.Errno) {
	p, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	n, err := tree().Find(workdir(), p, true)
	if err != 0 {
		return 0, err
	}
	return 0, n.Truncate(int64(c.A[1]))
}

// handle is the file of argument n where it is one of the file system.
func (c *Call) handle(n int, other syscall.Errno) (*vfs.Handle, func(), syscall.Errno) {
	r, err := c.file(n)
	if err != 0 {
		return nil, nil, err
	}
	h, ok := r.File.(*vfs.Handle)
	if !ok {
		r.Put()
		return nil, nil, other
	}
	return h, r.Put, 0
}

func ftruncate(c Call) (uintptr, syscall.Errno) {
	h, done, err := c.handle(0, syscall.EINVAL)
	if err != 0 {
		return 0, err
	}
	defer done()
	return 0, h.Truncate(int64(c.A[1]))
}

func fallocate(c Call) (uintptr, syscall.Errno) {
	h, done, err := c.handle(0, syscall.ESPIPE)
	if err != 0 {
		return 0, err
	}
	defer done()
	return 0, h.Allocate(c.int(1), int64(c.A[2]), int64(c.A[3]))
}

func getdents64(c Call) (uintptr, syscall.Errno) {
	h, done, err := c.handle(0, syscall.ENOTDIR)
	if err != 0 {
		return 0, err
	}
	defer done()
	p, err := c.bytes(1, c.A[2])
	if err != 0 {
		return 0, err
	}
	return count(h.Dirents(p))
}

// fsync checks the descriptor: memory is as safe as it will get.
func fsync(c Call) (uintptr, syscall.Errno) {
	_, done, err := c.handle(0, syscall.EINVAL)
	if err == 0 {
		done()
	}
	return 0, err
}

func getcwd(c Call) (uintptr, syscall.Errno) {
	p, ok := workdir().Path()
	if !ok {
		return 0, syscall.ENOENT
	}
	if uintptr(len(p)) >= c.A[1] {
		return 0, syscall.ERANGE
	}
	out, err := c.bytes(0, c.A[1])
	if err != 0 {
		return 0, err
	}
	out[copy(out, p)] = 0
	return uintptr(len(p) + 1), 0
}

func chdir(c Call) (uintptr, syscall.Errno) {
	p, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	n, err := tree().Find(workdir(), p, true)
	if err != 0 {
		return 0, err
	}
	return 0, enter(n)
}

func fchdir(c Call) (uintptr, syscall.Errno) {
	n, err := node(c.int(0))
	if err != 0 {
		return 0, err
	}
	return 0, enter(n)
}

func enter(n *vfs.Node) syscall.Errno {
	if !n.IsDir() {
		return syscall.ENOTDIR
	}
	cwd.Store(n)
	return 0
}

func setUmask(c Call) (uintptr, syscall.Errno) {
	return uintptr(umask.Swap(uint32(c.A[0]) & 0o777)), 0
}

func statfs(c Call) (uintptr, syscall.Errno) {
	p, err := c.path(0)
	if err != 0 {
		return 0, err
	}
	if _, err := tree().Find(workdir(), p, true); err != 0 {
		return 0, err
	}
	return fillStatfs(&c)
}

func fstatfs(c Call) (uintptr, syscall.Errno) {
	_, done, err := c.handle(0, syscall.ENOSYS)
	if err != 0 {
		return 0, err
	}
	done()
	return fillStatfs(&c)
}

func fillStatfs(c *Call) (uintptr, syscall.Errno) {
	st := at[syscall.Statfs_t](c, 1)
	if st == nil {
		return 0, syscall.EFAULT
	}
	tree().Statfs(st)
	return 0, 0
}

func memfdCreate(c Call) (uintptr, syscall.Errno) {
	const closeOnExec, sealable = 1, 2
	name, err := c.path(0)
	switch {
	case err != 0:
		return 0, err
	case len(name) > 249 || c.A[1]&^(closeOnExec|sealable|8) != 0:
		return 0, syscall.EINVAL
	}
	h, err := tree().Memfd(name, c.A[1]&sealable != 0)
	if err != 0 {
		return 0, err
	}
	flags := syscall.O_RDWR
	if c.A[1]&closeOnExec != 0 {
		flags |= syscall.O_CLOEXEC
	}
	return install(h, flags)
}
