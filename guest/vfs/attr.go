package vfs

import "syscall"

// device is st_dev of all files: there is one file system.
const device = 0x2e

// fill writes st as stat(2). f.mu is held.
func (n *Node) fill(st *syscall.Stat_t) {
	*st = syscall.Stat_t{
		Dev: device, Ino: n.ino, Mode: n.mode, Nlink: uint64(n.links), Uid: n.uid, Gid: n.gid,
		Blksize: pageSize,
		Atim:    syscall.NsecToTimespec(n.times[atime]),
		Mtim:    syscall.NsecToTimespec(n.times[mtime]),
		Ctim:    syscall.NsecToTimespec(n.times[ctime]),
	}
	switch {
	case n.synth != nil:
		st.Rdev = n.synth.Device
	case n.isRegular():
		n.mu.RLock()
		st.Size, st.Blocks = n.data.size, n.data.blocks()
		n.mu.RUnlock()
	case n.isDir():
		st.Size = pageSize
	case n.isLink():
		st.Size = int64(len(n.target))
	}
}

// Stat fills st for a path.
func (f *FS) Stat(base *Node, path string, follow bool, st *syscall.Stat_t) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.existing(base, path, follow)
	if err == 0 {
		n.fill(st)
	}
	return err
}

// Stat fills st for a file.
func (n *Node) Stat(st *syscall.Stat_t) {
	n.fs.mu.Lock()
	n.fill(st)
	n.fs.mu.Unlock()
}

// Find returns the file of a path, for calls that go on with it.
func (f *FS) Find(base *Node, path string, follow bool) (*Node, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.existing(base, path, follow)
}

// IsDir tells whether the file is a directory.
func (n *Node) IsDir() bool { return n.isDir() }

// Access is access(2) for root: everything may be read and written, and
// executed where anybody may.
func (n *Node) Access(mode int) syscall.Errno {
	const execute = 1
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if mode&execute != 0 && !n.isDir() && n.mode&0o111 == 0 {
		return syscall.EACCES
	}
	return 0
}

// Chmod is chmod(2).
func (n *Node) Chmod(mode uint32) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if n.synth != nil {
		return syscall.EPERM
	}
	n.mode = n.kind() | mode&0o7777
	n.touch(ctime)
	return 0
}

// Chown is chown(2); -1 leaves an owner as it is.
func (n *Node) Chown(uid, gid int) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if n.synth != nil {
		return syscall.EPERM
	}
	if uid != -1 {
		n.uid = uint32(uid)
	}
	if gid != -1 {
		n.gid = uint32(gid)
	}
	if n.isRegular() && n.mode&0o111 != 0 {
		n.mode &^= syscall.S_ISUID | syscall.S_ISGID
	}
	n.touch(ctime)
	return 0
}

// Omit as a time leaves it as it is.
const Omit = -1 << 63

// SetTimes sets the times of access and change, ns since 1970.
func (n *Node) SetTimes(access, modify int64) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if n.synth != nil {
		return syscall.EPERM
	}
	if access != Omit {
		n.times[atime] = access
	}
	if modify != Omit {
		n.times[mtime] = modify
	}
	n.touch(ctime)
	return 0
}

// Truncate is truncate(2).
func (n *Node) Truncate(size int64) syscall.Errno {
	switch {
	case size < 0:
		return syscall.EINVAL
	case n.isDir():
		return syscall.EISDIR
	case n.synth != nil:
		return 0
	case !n.isRegular():
		return syscall.EINVAL
	}
	n.mu.Lock()
	err := n.data.resize(size)
	n.mu.Unlock()
	if err == 0 {
		n.changed()
	}
	return err
}

// changed marks that the content was written to.
func (n *Node) changed() {
	n.fs.mu.Lock()
	n.touch(mtime, ctime)
	n.fs.mu.Unlock()
}
