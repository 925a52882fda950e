package image

import "errors"

const (
	// Magic opens every image.
	Magic = "DEWIMG1\n"

	headerSize = 64
	inodeSize  = 64
	entrySize  = 16

	// BlockSize is what file contents are aligned to, in bytes: a page.
	BlockSize = 4096

	// MaxName is the longest name in bytes (Linux NAME_MAX).
	MaxName = 255
	// MaxTarget is the longest symbolic link target in bytes (PATH_MAX - 1).
	MaxTarget = 4095
)

// File kinds of Mode, as in stat(2).
const (
	ModeKind    = 0o170000
	ModeDir     = 0o040000
	ModeRegular = 0o100000
	ModeSymlink = 0o120000
)

// ErrDamaged is returned where an image contradicts itself.
var ErrDamaged = errors.New("file-system image is damaged")

// ErrNotFound is returned for a name that a directory does not have.
var ErrNotFound = errors.New("no such entry in the file-system image")

// Ino numbers a file of the image; 0 is the root directory.
type Ino uint32

// Reader reads an image in place. It holds the slice given to Open and
// nothing else; a copy is as good as the original.
type Reader struct {
	b       []byte
	inodes  uint32
	entries uint32
	entryAt uint64
	nameAt  uint64
	nameLen uint64
}

// Open checks the header of the image in b, which may have trailing bytes.
//
//	 0 magic      8 bytes
//	 8 inodes     u32
//	12 entries    u32
//	16 size       u64, of the whole image
//	24 names      u64, length in bytes of all names
//	32 zero       32 bytes
func Open(b []byte) (*Reader, error) {
	if len(b) < headerSize || string(b[:8]) != Magic {
		return nil, errors.New("not a file-system image: wrong magic")
	}
	r := &Reader{inodes: u32(b[8:]), entries: u32(b[12:]), nameLen: u64(b[24:])}
	size := u64(b[16:])
	if size > uint64(len(b)) || r.inodes == 0 {
		return nil, ErrDamaged
	}
	r.entryAt = headerSize + uint64(r.inodes)*inodeSize
	r.nameAt = r.entryAt + uint64(r.entries)*entrySize
	if r.nameAt > size || r.nameLen > size-r.nameAt {
		return nil, ErrDamaged
	}
	r.b = b[:size:size]
	if n, err := r.Stat(0); err != nil || !n.IsDir() {
		return nil, ErrDamaged
	}
	return r, nil
}

// Size returns the length of the image in bytes.
func (r *Reader) Size() uint64 { return uint64(len(r.b)) }

// Files returns how many inodes the image has.
func (r *Reader) Files() int { return int(r.inodes) }

// Info describes one file.
type Info struct {
	Ino    Ino
	Mode   uint32 // kind and permissions, as in stat(2)
	Links  uint32 // directories: 2 + sub-directories
	Parent Ino    // of a directory; the root's is the root
	Size   uint64 // regular: bytes of content; symlink: bytes of target; directory: entries

	at uint64 // regular: offset of the content; symlink: in names; directory: first entry
}

// IsDir tells whether the file is a directory.
func (i Info) IsDir() bool { return i.Mode&ModeKind == ModeDir }

// Stat reads the inode.
//
//	 0 mode    u32
//	 4 links   u32
//	 8 parent  u32
//	12 zero    u32
//	16 size    u64
//	24 at      u64
//	32 zero    32 bytes
func (r *Reader) Stat(ino Ino) (Info, error) {
	if uint32(ino) >= r.inodes {
		return Info{}, ErrDamaged
	}
	n := r.b[headerSize+uint64(ino)*inodeSize:][:inodeSize]
	i := Info{Ino: ino, Mode: u32(n), Links: u32(n[4:]), Parent: Ino(u32(n[8:])), Size: u64(n[16:]), at: u64(n[24:])}
	if !r.fits(i) {
		return Info{}, ErrDamaged
	}
	return i, nil
}

// fits tells whether what the inode points to lies in its part of the image.
func (r *Reader) fits(i Info) bool {
	switch i.Mode & ModeKind {
	case ModeDir:
		return uint32(i.Parent) < r.inodes && within(i.at, i.Size, uint64(r.entries))
	case ModeSymlink:
		return i.Size <= MaxTarget && within(i.at, i.Size, r.nameLen)
	case ModeRegular:
		return i.Size == 0 || i.at >= r.nameAt+r.nameLen && within(i.at, i.Size, uint64(len(r.b)))
	}
	return false
}

func within(at, size, limit uint64) bool { return at <= limit && size <= limit-at }

// Content returns the bytes of a regular file: a slice of the image.
func (r *Reader) Content(i Info) ([]byte, error) {
	if i.Mode&ModeKind != ModeRegular || !r.fits(i) {
		return nil, ErrDamaged
	}
	if i.Size == 0 {
		return nil, nil
	}
	return r.b[i.at : i.at+i.Size : i.at+i.Size], nil
}

// Offset returns where in the image the content of a regular file begins.
func (r *Reader) Offset(i Info) uint64 { return i.at }

// Target returns the target of a symbolic link: a slice of the image.
func (r *Reader) Target(i Info) ([]byte, error) {
	if i.Mode&ModeKind != ModeSymlink || !r.fits(i) {
		return nil, ErrDamaged
	}
	return r.b[r.nameAt+i.at:][:i.Size:i.Size], nil
}

// Entry is one name in a directory.
type Entry struct {
	Name []byte // a slice of the image
	Ino  Ino
}

// Entry returns the n-th entry of a directory, 0 <= n < dir.Size. Entries are
// in ascending order of their names' bytes and do not hold "." and "..".
//
//	0 ino      u32
//	4 length   u32, of the name in bytes
//	8 name     u64, offset in names
func (r *Reader) Entry(dir Info, n uint64) (Entry, error) {
	if !dir.IsDir() || !r.fits(dir) || n >= dir.Size {
		return Entry{}, ErrDamaged
	}
	e := r.b[r.entryAt+(dir.at+n)*entrySize:][:entrySize]
	length, at := uint64(u32(e[4:])), u64(e[8:])
	if length == 0 || length > MaxName || !within(at, length, r.nameLen) || u32(e) >= r.inodes {
		return Entry{}, ErrDamaged
	}
	return Entry{Name: r.b[r.nameAt+at:][:length:length], Ino: Ino(u32(e))}, nil
}

// Lookup finds a name in a directory by binary search.
func (r *Reader) Lookup(dir Info, name string) (Ino, error) {
	low, high := uint64(0), dir.Size
	for low < high {
		middle := low + (high-low)/2
		e, err := r.Entry(dir, middle)
		if err != nil {
			return 0, err
		}
		switch {
		case string(e.Name) == name:
			return e.Ino, nil
		case string(e.Name) < name:
			low = middle + 1
		default:
			high = middle
		}
	}
	return 0, ErrNotFound
}

// Check walks the whole image: every inode is readable, every directory but
// the root is in exactly one directory, entries are sorted, legal and unique.
func (r *Reader) Check() error {
	named := make([]uint32, r.inodes)
	left := uint64(r.entries) // each entry belongs to one directory: the walk is linear
	for ino := range r.inodes {
		i, err := r.Stat(Ino(ino))
		if err != nil {
			return err
		}
		if i.IsDir() {
			if i.Size > left {
				return ErrDamaged
			}
			left -= i.Size
			if err := r.checkDir(i, named); err != nil {
				return err
			}
		}
	}
	return r.checkNamed(named)
}

func (r *Reader) checkDir(dir Info, named []uint32) error {
	var last string
	for n := range dir.Size {
		e, err := r.Entry(dir, n)
		if err != nil {
			return err
		}
		child, err := r.Stat(e.Ino)
		if err != nil {
			return err
		}
		name := string(e.Name)
		if !legal(name) || n > 0 && name <= last || child.IsDir() && child.Parent != dir.Ino {
			return ErrDamaged
		}
		last = name
		named[e.Ino]++
	}
	return nil
}

// checkNamed refuses directories that no path reaches, or more than one, and
// so cycles: each directory has one parent, and walking up must end at the root.
func (r *Reader) checkNamed(named []uint32) error {
	if named[0] != 0 {
		return ErrDamaged
	}
	for ino := Ino(1); uint32(ino) < r.inodes; ino++ {
		i, _ := r.Stat(ino)
		if named[ino] == 0 || i.IsDir() && named[ino] != 1 {
			return ErrDamaged
		}
	}
	// The writer gives a directory a higher number than its parent has; holding
	// every image to that makes a cycle impossible without marking visits.
	for ino := Ino(1); uint32(ino) < r.inodes; ino++ {
		if i, _ := r.Stat(ino); i.IsDir() && i.Parent >= ino {
			return ErrDamaged
		}
	}
	return nil
}

// legal tells whether a name can stand in a directory.
func legal(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > MaxName {
		return false
	}
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return false
		}
	}
	return true
}

func u32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func u64(b []byte) uint64 { return uint64(u32(b)) | uint64(u32(b[4:]))<<32 }
