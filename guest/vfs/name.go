package vfs

import (
	"strings"
	"syscall"
)

// add makes a file of the mode under the name of p, which must be free. f.mu is held.
func (f *FS) add(p place, mode uint32) (*Node, syscall.Errno) {
	switch {
	case p.node != nil:
		return nil, syscall.EEXIST
	case p.dir.dead:
		return nil, syscall.ENOENT
	case p.dir.synth != nil:
		return nil, syscall.EACCES
	case len(p.name) > maxName:
		return nil, syscall.ENAMETOOLONG
	}
	if err := f.charge(nodeCost + uint64(len(p.name))); err != 0 {
		return nil, err
	}
	n := f.make(mode)
	if n.isRegular() {
		n.data.fs = f
	}
	f.link(p, n)
	if n.isDir() {
		p.dir.links++
	}
	return n, 0
}

// link gives n the name of p. f.mu is held.
func (f *FS) link(p place, n *Node) {
	n.parent, n.name = p.dir, p.name
	p.dir.set(p.name, n)
	p.dir.touch(mtime, ctime)
}

// Mkdir is mkdir(2).
func (f *FS) Mkdir(base *Node, path string, mode uint32) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	// Slashes at the end are as if they were not there: a link is not followed.
	if name := strings.TrimRight(path, "/"); name != "" {
		path = name
	}
	p, err := f.walk(base, path, false)
	if err != 0 {
		return err
	}
	_, err = f.add(p, syscall.S_IFDIR|mode&0o1777)
	return err
}

// Mknod is mknod(2) for regular files. Other kinds need what a guest does not
// have: devices, and processes to share a named pipe with.
func (f *FS) Mknod(base *Node, path string, mode uint32) syscall.Errno {
	if kind := mode & syscall.S_IFMT; kind != 0 && kind != syscall.S_IFREG {
		return syscall.EPERM
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p, err := f.walk(base, path, false)
	if err != 0 {
		return err
	}
	if p.slash {
		return syscall.ENOENT
	}
	_, err = f.add(p, syscall.S_IFREG|mode&0o7777)
	return err
}

// MakeSocket makes the file that a Unix socket is bound to; EADDRINUSE if the
// name is taken.
func (f *FS) MakeSocket(base *Node, path string, mode uint32) (*Node, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, err := f.walk(base, path, false)
	if err != 0 {
		return nil, err
	}
	n, err := f.add(p, syscall.S_IFSOCK|mode&0o777)
	if err == syscall.EEXIST {
		err = syscall.EADDRINUSE
	}
	return n, err
}

// FindSocket finds the file that a Unix socket is bound to.
func (f *FS) FindSocket(base *Node, path string) (*Node, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.existing(base, path, true)
	if err == 0 && n.kind() != syscall.S_IFSOCK {
		err = syscall.ECONNREFUSED
	}
	return n, err
}

// Symlink is symlink(2).
func (f *FS) Symlink(target string, base *Node, path string) syscall.Errno {
	if target == "" {
		return syscall.ENOENT
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p, err := f.walk(base, path, false)
	if err != 0 {
		return err
	}
	if p.node == nil && p.slash {
		return syscall.ENOENT
	}
	if err := f.charge(uint64(len(target))); err != 0 {
		return err
	}
	n, err := f.add(p, syscall.S_IFLNK|0o777)
	if err != 0 {
		f.refund(uint64(len(target)))
		return err
	}
	n.target = target
	return 0
}

// Link is link(2): follow tells whether a symbolic link is followed.
func (f *FS) Link(oldBase *Node, oldPath string, newBase *Node, newPath string, follow bool) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.existing(oldBase, oldPath, follow)
	if err != 0 {
		return err
	}
	return f.linkNode(n, newBase, newPath)
}

// LinkNode gives an open file another name (AT_EMPTY_PATH, O_TMPFILE).
func (f *FS) LinkNode(n *Node, base *Node, path string) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.linkNode(n, base, path)
}

func (f *FS) linkNode(n *Node, base *Node, path string) syscall.Errno {
	p, err := f.walk(base, path, false)
	switch {
	case err != 0:
		return err
	case p.node != nil:
		return syscall.EEXIST
	case n.isDir() || n.synth != nil:
		return syscall.EPERM
	case p.slash || p.dir.dead:
		return syscall.ENOENT
	case p.dir.synth != nil:
		return syscall.EACCES
	}
	if err := f.charge(uint64(len(p.name)) + nodeCost/4); err != 0 {
		return err
	}
	n.links++
	n.touch(ctime)
	f.link(p, n)
	return 0
}

// Unlink is unlink(2), or rmdir(2) where dir is set.
func (f *FS) Unlink(base *Node, path string, dir bool) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, err := f.walk(base, path, false)
	switch {
	case err != 0:
		return err
	case p.node == nil:
		return syscall.ENOENT
	case dir && !p.node.isDir():
		return syscall.ENOTDIR
	case !dir && p.node.isDir():
		return syscall.EISDIR
	case p.name == ".":
		if p.node == f.root {
			return syscall.EBUSY
		}
		if len(path) > 1 && path[len(path)-2:] == ".." {
			return syscall.ENOTEMPTY
		}
		return syscall.EINVAL
	case p.dir.synth != nil:
		return syscall.EPERM
	case dir && !p.node.empty():
		return syscall.ENOTEMPTY
	}
	f.unname(p)
	return 0
}

// unname takes the name of p from its file. f.mu is held.
func (f *FS) unname(p place) {
	p.dir.set(p.name, nil)
	p.dir.touch(mtime, ctime)
	n := p.node
	n.touch(ctime)
	if n.isDir() {
		p.dir.links--
		n.links, n.dead = 0, true
	} else {
		n.links--
	}
	if n.ino > firstIno && n.synth == nil {
		f.refund(uint64(len(p.name)))
	}
	n.release()
}

// Flags of renameat2(2).
const (
	RenameNoReplace = 1
	RenameExchange  = 2
)

// Rename is renameat2(2).
func (f *FS) Rename(oldBase *Node, oldPath string, newBase *Node, newPath string, flags int) syscall.Errno {
	if flags&^(RenameNoReplace|RenameExchange) != 0 || flags == RenameNoReplace|RenameExchange {
		return syscall.EINVAL
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	from, err := f.walk(oldBase, oldPath, false)
	if err != 0 {
		return err
	}
	to, err := f.walk(newBase, newPath, false)
	if err == syscall.ENOTDIR && from.node != nil && !from.node.isDir() {
		return syscall.ENOTDIR
	}
	if err != 0 {
		return err
	}
	if err := checkRename(f, from, to, flags); err != 0 {
		return err
	}
	if from.node == to.node {
		return 0 // two names of one file: POSIX has rename do nothing
	}
	if flags == RenameExchange {
		f.exchange(from, to)
		return 0
	}
	extra := uint64(len(to.name))
	if to.node != nil {
		extra = 0
	}
	if err := f.charge(extra); err != 0 {
		return err
	}
	if to.node != nil {
		f.unname(to)
	}
	f.move(from, to)
	return 0
}

// checkRename tells whether from may take the place of to.
func checkRename(f *FS, from, to place, flags int) syscall.Errno {
	switch {
	case from.node == nil:
		return syscall.ENOENT
	case from.name == "." || to.name == ".":
		return syscall.EBUSY
	case from.dir.synth != nil || to.dir.synth != nil || from.node.synth != nil:
		return syscall.EXDEV
	case len(to.name) > maxName:
		return syscall.ENAMETOOLONG
	case to.dir.dead:
		return syscall.ENOENT
	case from.node.isDir() && to.dir.isBelow(from.node):
		return syscall.EINVAL
	case flags == RenameExchange && to.node == nil:
		return syscall.ENOENT
	case flags == RenameExchange && to.node.isDir() && from.dir.isBelow(to.node):
		return syscall.EINVAL
	case to.node == nil && to.slash && !from.node.isDir():
		return syscall.ENOTDIR
	case to.node == nil || flags == RenameExchange || from.node == to.node:
		return 0
	case flags == RenameNoReplace:
		return syscall.EEXIST
	case from.node.isDir() && !to.node.isDir():
		return syscall.ENOTDIR
	case !from.node.isDir() && to.node.isDir():
		return syscall.EISDIR
	case to.node.isDir() && from.dir.isBelow(to.node):
		return syscall.ENOTEMPTY
	case to.node.isDir() && !to.node.empty():
		return syscall.ENOTEMPTY
	}
	return 0
}

// isBelow tells whether n is dir or lies below it.
func (n *Node) isBelow(dir *Node) bool {
	for {
		if n == dir {
			return true
		}
		if n == n.fs.root || n.parent == nil {
			return false
		}
		n = n.parent
	}
}

func (f *FS) move(from, to place) {
	from.dir.set(from.name, nil)
	from.dir.touch(mtime, ctime)
	if from.node.isDir() && from.dir != to.dir {
		from.dir.links--
		to.dir.links++
	}
	f.link(to, from.node)
	from.node.touch(ctime)
}

func (f *FS) exchange(a, b place) {
	if a.node.isDir() != b.node.isDir() && a.dir != b.dir {
		if a.node.isDir() {
			a.dir.links--
			b.dir.links++
		} else {
			b.dir.links--
			a.dir.links++
		}
	}
	f.link(a, b.node)
	f.link(b, a.node)
}

// Readlink is readlink(2).
func (f *FS) Readlink(base *Node, path string) (string, syscall.Errno) {
	f.mu.Lock()
	n, err := f.existing(base, path, false)
	f.mu.Unlock() // a synthetic link may look at the tree
	if err != 0 {
		return "", err
	}
	return n.Readlink()
}

// Readlink returns the target of a symbolic link.
func (n *Node) Readlink() (string, syscall.Errno) {
	if !n.isLink() {
		return "", syscall.EINVAL
	}
	return n.linkTarget(), 0
}
