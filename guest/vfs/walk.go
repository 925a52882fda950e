package vfs

import (
	"strings"
	"syscall"

	"github.com/dewpaas/dew/abi/image"
)

// maxLinks is how many symbolic links one path may lead through (MAXSYMLINKS
// of include/linux/namei.h).
const maxLinks = 40

// pathMax is PATH_MAX, with the terminating zero.
const pathMax = 4096

// maxName is the longest name in bytes.
const maxName = image.MaxName

// place is where a path leads: the directory, the name in it, and the file, if
// there is one. name is "." for a path that ends in a directory by its nature:
// "/", "." or "..".
type place struct {
	dir   *Node
	name  string
	node  *Node // nil: nothing has the name
	slash bool  // the path ended in a slash: only a directory will do
}

// nextPart splits a path at its first name: "/a/b" gives "a" and "/b". rest is
// empty after the last name, trailing slashes included.
func nextPart(p string) (part, rest string) {
	p = strings.TrimLeft(p, "/")
	i := strings.IndexByte(p, '/')
	if i < 0 {
		return p, ""
	}
	if strings.TrimLeft(p[i:], "/") == "" {
		return p[:i], ""
	}
	return p[:i], p[i:]
}

// walk follows a path from base. follow tells whether a symbolic link in the
// last place is followed. A last name that does not exist is no error. f.mu is
// held.
func (f *FS) walk(base *Node, path string, follow bool) (place, syscall.Errno) {
	switch {
	case path == "":
		return place{}, syscall.ENOENT
	case len(path) >= pathMax:
		return place{}, syscall.ENAMETOOLONG
	case !base.isDir() && path[0] != '/':
		return place{}, syscall.ENOTDIR
	}
	links := 0
	return f.walkFrom(base, path, follow, &links)
}

func (f *FS) walkFrom(dir *Node, path string, follow bool, links *int) (place, syscall.Errno) {
	if path[0] == '/' {
		dir = f.root
	}
	slash := strings.HasSuffix(path, "/")
	for {
		part, rest := nextPart(path)
		if part == "" {
			return place{dir: dir, name: ".", node: dir, slash: true}, 0
		}
		last := rest == ""
		n, err := dir.step(part)
		if err == syscall.ENOENT && last {
			return place{dir: dir, name: part, slash: slash}, 0
		}
		if err != 0 {
			return place{}, err
		}
		if n.isLink() && (!last || follow || slash) {
			if *links++; *links > maxLinks {
				return place{}, syscall.ELOOP
			}
			if n.synth != nil && n.synth.Open != nil && last && !slash { // a magic link: opening it opens what it stands for
				return place{dir: dir, name: part, node: n}, 0
			}
			t := n.linkTarget()
			if t == "" {
				return place{}, syscall.ENOENT
			}
			to, err := f.walkFrom(dir, t, true, links)
			if err != 0 {
				return place{}, err
			}
			to.slash = to.slash || last && slash
			if last {
				return to, checkSlash(to)
			}
			n = to.node
			if n == nil {
				return place{}, syscall.ENOENT
			}
		}
		if last {
			p := place{dir: dir, name: part, node: n, slash: slash}
			if part == "." || part == ".." {
				p.name = "."
			}
			return p, checkSlash(p)
		}
		if !n.isDir() {
			return place{}, syscall.ENOTDIR
		}
		dir, path = n, rest
	}
}

// checkSlash refuses "file/".
func checkSlash(p place) syscall.Errno {
	if p.slash && p.node != nil && !p.node.isDir() {
		return syscall.ENOTDIR
	}
	return 0
}

// step goes from a directory to one of its names, "." and ".." included.
func (n *Node) step(part string) (*Node, syscall.Errno) {
	switch {
	case part == ".":
		return n, 0
	case part == "..":
		return n.parent, 0
	case len(part) > maxName:
		return nil, syscall.ENAMETOOLONG
	}
	return n.find(part)
}

// find looks a name up in a directory: memory first, the image below it next.
func (n *Node) find(name string) (*Node, syscall.Errno) {
	if c, ok := n.entries[name]; ok {
		if c == nil {
			return nil, syscall.ENOENT
		}
		return c, 0
	}
	if n.synth != nil && n.synth.Find != nil {
		s, ok := n.synth.Find(name)
		if !ok {
			return nil, syscall.ENOENT
		}
		c := n.fs.synthetic(s)
		c.parent, c.name = n, name
		return c, 0
	}
	if n.below == nil || n.fs.image == nil {
		return nil, syscall.ENOENT
	}
	ino, err := n.fs.image.Lookup(*n.below, name)
	if err == image.ErrNotFound {
		return nil, syscall.ENOENT
	}
	if err != nil {
		return nil, syscall.EIO
	}
	c, errno := n.fs.meet(ino)
	if errno != 0 {
		return nil, errno
	}
	if c.parent == nil {
		c.parent, c.name = n, name
	}
	return c, 0
}

// set gives a name to a file, or removes the name where c is nil.
func (n *Node) set(name string, c *Node) {
	if n.entries == nil {
		n.entries = map[string]*Node{}
	}
	if c == nil && !n.inImage(name) {
		delete(n.entries, name)
		return
	}
	n.entries[name] = c
}

// inImage tells whether the image below the directory has the name.
func (n *Node) inImage(name string) bool {
	if n.below == nil || n.fs.image == nil {
		return false
	}
	_, err := n.fs.image.Lookup(*n.below, name)
	return err == nil
}

func (n *Node) linkTarget() string {
	if n.synth != nil && n.synth.Target != nil {
		return n.synth.Target()
	}
	return n.target
}

// Path returns the absolute path under which the file was last linked. ok is
// false when it has none any more.
func (n *Node) Path() (path string, ok bool) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	gone := n.links == 0 || n.dead
	for ; n != n.fs.root; n = n.parent {
		if n.parent == nil {
			return "", false
		}
		path = "/" + n.name + path
	}
	if path == "" {
		path = "/"
	}
	return path, !gone
}

// existing walks to a file that must be there.
func (f *FS) existing(base *Node, path string, follow bool) (*Node, syscall.Errno) {
	p, err := f.walk(base, path, follow)
	if err != 0 {
		return nil, err
	}
	if p.node == nil {
		return nil, syscall.ENOENT
	}
	return p.node, 0
}
