package vfs

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dewpaas/dew/abi/image"
	"github.com/dewpaas/dew/guest/fd"
)

// FS is a file system.
type FS struct {
	mu    sync.Mutex // guards the tree: all fields of Nodes but content
	root  *Node
	image *image.Reader       // nil: only what is made in memory
	known map[image.Ino]*Node // image files met so far
	last  uint64              // highest inode number given out
	start int64               // time of all image files, ns since 1970
	quota uint64              // bytes
	used  atomic.Uint64       // bytes
}

// Numbers of files made in memory begin here, above those of any image.
const firstIno = 1 << 32

// Node is one file.
type Node struct {
	fs    *FS
	ino   uint64
	mode  uint32 // kind and permissions
	uid   uint32
	gid   uint32
	links uint32
	opens int // Handles
	times [3]int64

	// parent and name are where the file was last linked: unique for a
	// directory, a good answer for other files.
	parent *Node
	name   string

	below   *image.Info      // the image file that this is or was; a directory looks through to it
	entries map[string]*Node // directory: names made or met in memory; nil: removed
	target  string           // symbolic link
	synth   *Synthetic       // made by package guest/proc
	dead    bool             // a removed directory: nothing can be made in it

	mu    sync.RWMutex // guards content and locks
	data  content
	locks flocks
}

// Which of Node.times.
const (
	atime = iota
	mtime
	ctime
)

// New makes a file system over an image, or over nothing when img is nil.
// quota bounds the memory that changes may take, in bytes.
func New(img *image.Reader, quota uint64) *FS {
	f := &FS{image: img, quota: quota, last: firstIno, start: time.Now().UnixNano()}
	if img == nil {
		f.root = f.make(syscall.S_IFDIR | 0o755)
	} else if root, err := f.meet(0); err == 0 {
		f.root = root
	} else {
		f.root = f.make(syscall.S_IFDIR | 0o755)
	}
	f.root.links = 2
	f.root.parent = f.root
	return f
}

// Root returns the root directory.
func (f *FS) Root() *Node { return f.root }

// make makes a file that has no name yet. f.mu is held, or f is new.
func (f *FS) make(mode uint32) *Node {
	f.last++
	now := time.Now().UnixNano()
	n := &Node{fs: f, ino: f.last, mode: mode, times: [3]int64{now, now, now}, links: 1}
	if n.isDir() {
		n.links = 2
		n.entries = map[string]*Node{}
	}
	return n
}

// meet returns the Node of an image file. f.mu is held, or f is new.
func (f *FS) meet(ino image.Ino) (*Node, syscall.Errno) {
	if n := f.known[ino]; n != nil {
		return n, 0
	}
	info, err := f.image.Stat(ino)
	if err != nil {
		return nil, syscall.EIO
	}
	n := &Node{fs: f, ino: uint64(ino) + 1, mode: info.Mode, links: info.Links, below: &info,
		times: [3]int64{f.start, f.start, f.start}}
	switch info.Mode & image.ModeKind {
	case image.ModeSymlink:
		t, err := f.image.Target(info)
		if err != nil {
			return nil, syscall.EIO
		}
		n.target = string(t)
	case image.ModeRegular:
		c, err := f.image.Content(info)
		if err != nil {
			return nil, syscall.EIO
		}
		n.data = content{fs: f, base: c, size: int64(len(c))}
	}
	if f.known == nil {
		f.known = map[image.Ino]*Node{}
	}
	f.known[ino] = n
	return n, 0
}

// nodeCost is what a file made in memory takes beside its content and name.
const nodeCost = 512

// charge takes bytes of the quota.
func (f *FS) charge(n uint64) syscall.Errno {
	for {
		used := f.used.Load()
		if n > f.quota || used > f.quota-n {
			return syscall.ENOSPC
		}
		if f.used.CompareAndSwap(used, used+n) {
			return 0
		}
	}
}

func (f *FS) refund(n uint64) { f.used.Add(-n) }

// Usage returns the quota and how much of it is used, in bytes.
func (f *FS) Usage() (used, quota uint64) { return f.used.Load(), f.quota }

func (n *Node) kind() uint32    { return n.mode & syscall.S_IFMT }
func (n *Node) isDir() bool     { return n.kind() == syscall.S_IFDIR }
func (n *Node) isLink() bool    { return n.kind() == syscall.S_IFLNK }
func (n *Node) isRegular() bool { return n.kind() == syscall.S_IFREG }

// touch sets the given times to now. f.mu is held.
func (n *Node) touch(which ...int) {
	now := time.Now().UnixNano()
	for _, w := range which {
		n.times[w] = now
	}
}

// release gives back the quota of a file that has neither name nor Handle.
// f.mu is held.
func (n *Node) release() {
	if n.links > 0 || n.opens > 0 || n.synth != nil {
		return
	}
	n.mu.Lock()
	n.data.truncate(0)
	n.mu.Unlock()
	if n.ino > firstIno {
		n.fs.refund(nodeCost + uint64(len(n.target)))
	}
}

// Statfs fills st as statfs(2).
func (f *FS) Statfs(st *syscall.Statfs_t) {
	used, quota := f.Usage()
	free := (quota - min(used, quota)) / pageSize
	*st = syscall.Statfs_t{
		Type:  0x794c7630, // OVERLAYFS_SUPER_MAGIC
		Bsize: pageSize, Frsize: pageSize, Namelen: image.MaxName,
		Blocks: quota / pageSize, Bfree: free, Bavail: free,
		Files: quota / nodeCost, Ffree: free * (pageSize / nodeCost),
	}
	if f.image != nil {
		st.Blocks += f.image.Size() / pageSize
	}
}

// Synthetic is a file whose content is made when it is asked for.
type Synthetic struct {
	Mode   uint32                                   // kind and permissions
	Device uint64                                   // st_rdev of a device
	Text   func() []byte                            // regular: the content at the time of opening
	Open   func(flags int) (fd.File, syscall.Errno) // if not nil, what opening gives
	Target func() string                            // symbolic link
	List   func() []string                          // directory: its names
	Find   func(name string) (*Synthetic, bool)     // directory: one of them
	Store  func(p []byte) syscall.Errno             // regular: takes what is written
}

// Place puts a synthetic file at an absolute path, over whatever is there.
// Missing directories are made. The quota is not charged.
func (f *FS) Place(path string, s *Synthetic) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir := f.root
	rest := path
	for {
		var part string
		part, rest = nextPart(rest)
		if rest == "" {
			n := f.synthetic(s)
			n.parent, n.name = dir, part
			dir.set(part, n)
			return 0
		}
		n, err := dir.find(part)
		if err == syscall.ENOENT {
			n = f.make(syscall.S_IFDIR | 0o755)
			n.parent, n.name = dir, part
			dir.set(part, n)
			dir.links++
		} else if err != 0 {
			return err
		}
		if !n.isDir() {
			return syscall.ENOTDIR
		}
		dir = n
	}
}

// synthetic makes the Node of s. f.mu is held.
func (f *FS) synthetic(s *Synthetic) *Node {
	n := f.make(s.Mode)
	n.synth = s
	return n
}
