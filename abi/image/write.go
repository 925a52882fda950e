package image

import (
	"errors"
	"io"
	"slices"
	"sort"
	"strings"
)

// Source is one file that goes into an image.
type Source struct {
	Path   string // slash-separated, no leading slash: "app/public/index.html"
	Mode   uint32 // kind and permissions, as in stat(2)
	Size   uint64 // of a regular file's content, in bytes
	Target string // of a symbolic link
	// Open returns a regular file's content; it is called once, in the order of
	// paths, and must give exactly Size bytes.
	Open func() (io.ReadCloser, error)
}

// node is a file while the tree is laid out.
type node struct {
	name     string
	source   Source
	children []*node
	parent   *node
	ino      Ino
	at       uint64
}

// Write writes the image of the sources to w. Missing directories are made
// with mode 0755. Two sources of one path, and paths that are not clean, are
// errors. The same sources give the same bytes in whatever order they come.
func Write(w io.Writer, sources []Source) error {
	root := &node{source: Source{Mode: ModeDir | 0o755}}
	for _, s := range sources {
		if err := root.insert(s); err != nil {
			return err
		}
	}
	l := layout{}
	l.number(root)
	return l.write(w)
}

func (n *node) insert(s Source) error {
	parts := strings.Split(s.Path, "/")
	for i, part := range parts {
		if !legal(part) {
			return errors.New("image: not a legal path: " + s.Path)
		}
		child := n.child(part)
		switch last := i == len(parts)-1; {
		case child == nil:
			child = &node{name: part, parent: n, source: Source{Mode: ModeDir | 0o755}}
			if last {
				child.source = s
			}
			n.children = append(n.children, child)
		case last && child.source.Mode&ModeKind == ModeDir && s.Mode&ModeKind == ModeDir:
			child.source.Mode = s.Mode
		case last:
			return errors.New("image: two files of one path: " + s.Path)
		case child.source.Mode&ModeKind != ModeDir:
			return errors.New("image: a file is in the way of a folder: " + s.Path)
		}
		n = child
	}
	return nil
}

// child searches linearly from the end: sources mostly come in order, folder
// by folder, so the last child is nearly always the one.
func (n *node) child(name string) *node {
	for _, c := range slices.Backward(n.children) {
		if c.name == name {
			return c
		}
	}
	return nil
}

// layout holds the parts of an image in the order in which they are written.
type layout struct {
	nodes   []*node
	entries []byte
	names   []byte
}

// number gives inodes in breadth-first order, so that a directory comes after
// its parent, and lays out each directory's entries as one run.
func (l *layout) number(root *node) {
	l.nodes = []*node{root}
	for i := 0; i < len(l.nodes); i++ {
		n := l.nodes[i]
		n.ino = Ino(i)
		sort.Slice(n.children, func(a, b int) bool { return n.children[a].name < n.children[b].name })
		l.nodes = append(l.nodes, n.children...)
	}
	for _, n := range l.nodes {
		switch n.source.Mode & ModeKind {
		case ModeDir:
			n.at = uint64(len(l.entries) / entrySize)
			for _, c := range n.children {
				l.entries = append32(l.entries, uint32(c.ino))
				l.entries = append32(l.entries, uint32(len(c.name)))
				l.entries = append64(l.entries, uint64(len(l.names)))
				l.names = append(l.names, c.name...)
			}
		case ModeSymlink:
			n.at = uint64(len(l.names))
			l.names = append(l.names, n.source.Target...)
		}
	}
}

func (l *layout) write(w io.Writer) error {
	end := headerSize + uint64(len(l.nodes))*inodeSize + uint64(len(l.entries)) + uint64(len(l.names))
	for _, n := range l.nodes {
		if n.source.Mode&ModeKind == ModeRegular && n.source.Size > 0 {
			n.at = align(end)
			end = n.at + n.source.Size
		}
	}
	// The image ends on a block, so that mapping its last file maps no other's bytes.
	size := align(end)
	if err := l.writeHead(w, size); err != nil {
		return err
	}
	at := headerSize + uint64(len(l.nodes))*inodeSize + uint64(len(l.entries)) + uint64(len(l.names))
	for _, n := range l.nodes {
		if n.source.Mode&ModeKind != ModeRegular || n.source.Size == 0 {
			continue
		}
		if err := pad(w, n.at-at); err != nil {
			return err
		}
		if err := n.copyContent(w); err != nil {
			return err
		}
		at = n.at + n.source.Size
	}
	return pad(w, size-at)
}

func (l *layout) writeHead(w io.Writer, size uint64) error {
	b := append32([]byte(Magic), uint32(len(l.nodes)))
	b = append32(b, uint32(len(l.entries)/entrySize))
	b = append64(b, size)
	b = append64(b, uint64(len(l.names)))
	b = append(b, make([]byte, headerSize-len(b))...)
	for _, n := range l.nodes {
		b = n.appendInode(b)
	}
	for _, part := range [][]byte{b, l.entries, l.names} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) appendInode(b []byte) []byte {
	links, size, parent := uint32(1), n.source.Size, Ino(0)
	switch n.source.Mode & ModeKind {
	case ModeDir:
		links, size = 2, uint64(len(n.children))
		for _, c := range n.children {
			if c.source.Mode&ModeKind == ModeDir {
				links++
			}
		}
	case ModeSymlink:
		size = uint64(len(n.source.Target))
	}
	if n.parent != nil {
		parent = n.parent.ino
	}
	start := len(b)
	b = append32(b, n.source.Mode)
	b = append32(b, links)
	b = append32(b, uint32(parent))
	b = append32(b, 0)
	b = append64(b, size)
	b = append64(b, n.at)
	return append(b, make([]byte, inodeSize-(len(b)-start))...)
}

// copyContent copies exactly Size bytes: a file that changed its length while
// the image was written is an error, not a damaged image.
func (n *node) copyContent(w io.Writer) error {
	r, err := n.source.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	copied, err := io.Copy(w, io.LimitReader(r, int64(n.source.Size)))
	if err != nil {
		return err
	}
	var more [1]byte
	if k, _ := r.Read(more[:]); uint64(copied) != n.source.Size || k > 0 {
		return errors.New("image: file changed while it was read: " + n.source.Path)
	}
	return nil
}

func pad(w io.Writer, n uint64) error {
	if n == 0 {
		return nil
	}
	_, err := w.Write(make([]byte, n))
	return err
}

func align(n uint64) uint64 { return (n + BlockSize - 1) &^ (BlockSize - 1) }

func append32(b []byte, v uint32) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

func append64(b []byte, v uint64) []byte { return append32(append32(b, uint32(v)), uint32(v>>32)) }
