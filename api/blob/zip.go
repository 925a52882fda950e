package blob

import (
	"archive/zip"
	"cmp"
	"crypto/sha1"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of what a zip may unpack to.
type Limits struct {
	Bytes int64
	Files int
}

// ErrZip is every reason to refuse a zip.
var ErrZip = errors.New("refused zip")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrZip, fmt.Sprintf(format, args...))
}

// maxTarget bounds the target of a symbolic link: Linux's PATH_MAX.
const maxTarget = 4096

// Check reads the whole zip and finds what would be dangerous or impossible to
// unpack. A zip that passes has clean, distinct, local names of files, folders
// and symbolic links; links are relative, stay inside, and nothing lies below one.
func Check(r io.ReaderAt, size int64, l Limits) error {
	_, err := check(r, size, l)
	return err
}

// check also tells which entry has which bytes, for entries that are not empty.
func check(r io.ReaderAt, size int64, l Limits) (map[int]File, error) {
	z, err := openZip(r, size, l)
	if err != nil {
		return nil, err
	}
	c := checker{kinds: map[string]fs.FileMode{}, folders: map[string]bool{".": true}, limits: l, left: l.Bytes, sum: sha1.New()}
	files := map[int]File{}
	for i, f := range z.File {
		found, err := c.entry(f)
		if err != nil {
			return nil, err
		}
		if f.Mode().IsRegular() && found.Size > 0 {
			files[i] = found
		}
	}
	return files, c.parents()
}

// maxDirectory bounds what is read to know the names of all entries: package zip
// holds an entry of some hundred bytes for each 46 of them. It is 240 bytes for
// each of 100,000 files, which are as many as the CLI sends.
const maxDirectory = 24 << 20

var errDirectory = errors.New("its directory is too long")

// openZip reads a directory that nobody has looked at: what it names is as many
// entries as may be, of bytes of their own.
func openZip(r io.ReaderAt, size int64, l Limits) (*zip.Reader, error) {
	b := &bounded{r, maxDirectory}
	z, err := zip.NewReader(b, size)
	if err != nil {
		return nil, bad("not a zip: %v", err)
	}
	b.left = math.MaxInt // z reads the files through it too
	if len(z.File) > l.Files {
		return nil, bad("%d files are more than %d", len(z.File), l.Files)
	}
	return z, apart(z.File)
}

// bounded reads so many bytes at most.
type bounded struct {
	io.ReaderAt
	left int
}

func (b *bounded) ReadAt(p []byte, at int64) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errDirectory
	}
	return b.ReaderAt.ReadAt(p, at)
}

// apart refuses entries that share bytes of the zip: so a few bytes could be
// inflated a hundred thousand times (David Fifield, "A better zip bomb", WOOT 2019).
func apart(files []*zip.File) error {
	type span struct {
		from, to int64
		name     string
	}
	spans := make([]span, 0, len(files))
	for _, f := range files {
		from, err := f.DataOffset()
		if err != nil {
			return bad("%.100q: %v", f.Name, err)
		}
		to := from + int64(f.CompressedSize64)
		if to < from {
			return bad("%.100q is said to have %d bytes", f.Name, f.CompressedSize64)
		}
		spans = append(spans, span{from, to, f.Name})
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	const localHeader = 30 // at least, before the next one's bytes (APPNOTE 4.3.7)
	for i := 1; i < len(spans); i++ {
		if spans[i].from-localHeader < spans[i-1].to {
			return bad("%.100q and %.100q overlap", spans[i-1].name, spans[i].name)
		}
	}
	return nil
}

type checker struct {
	kinds   map[string]fs.FileMode // by clean name
	folders map[string]bool        // that names lie in, whether they are listed or not
	limits  Limits
	left    int64 // bytes that may still come
	sum     hash.Hash
}

func (c *checker) entry(f *zip.File) (File, error) {
	name := strings.TrimSuffix(f.Name, "/")
	if err := goodName(name); err != nil {
		return File{}, err
	}
	mode := f.Mode()
	if old, twice := c.kinds[name]; twice && !(old.IsDir() && mode.IsDir()) {
		return File{}, bad("%.100q is in it twice", name)
	}
	c.kinds[name] = mode.Type()
	link := mode.Type() == fs.ModeSymlink
	if !mode.IsRegular() && !mode.IsDir() && !link {
		return File{}, bad("%.100q is a device or a pipe: packages hold files, folders and links only", name)
	}
	target := &strings.Builder{}
	found, err := c.inflate(f, link, target)
	if err == nil && link {
		err = goodLink(name, target.String())
	}
	return found, err
}

// maxPart bounds what is between two slashes of a name: Linux's NAME_MAX.
const maxPart = 255

func goodName(name string) error {
	if !utf8.ValidString(name) {
		return bad("the name %.100q is not UTF-8", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > maxPart {
			return bad("the name %.100q has more than %d bytes between two slashes", name, maxPart)
		}
	}
	if name == "" || len(name) > maxTarget || !filepath.IsLocal(name) || path.Clean(name) != name || strings.ContainsAny(name, "\\\x00") {
		return bad("the name %.100q leaves the package or is not clean", name)
	}
	return nil
}

// goodLink refuses what could lead out. A clean target has ".." only at its
// start, where the folders above the link are real ones (see parents); so no
// chain of links that each pass can leave.
func goodLink(name, target string) error {
	if target == "" || strings.ContainsAny(target, "\\\x00") || path.IsAbs(target) || path.Clean(target) != target || !filepath.IsLocal(path.Join(path.Dir(name), target)) {
		return bad("the link %.100q leaves the package: its target is %.100q", name, target)
	}
	return nil
}

// parents refuses names below something that is no folder, and more folders
// than there may be files: one long name makes thousands.
func (c *checker) parents() error {
	for name, kind := range c.kinds {
		if kind.IsDir() {
			name += "/"
		}
		for dir := path.Dir(name); !c.folders[dir]; dir = path.Dir(dir) {
			if kind, listed := c.kinds[dir]; listed && !kind.IsDir() {
				return bad("%.100q lies below %.100q, which is no folder", name, dir)
			}
			if c.folders[dir] = true; len(c.folders) > c.limits.Files+1 {
				return bad("its names make more than %d folders", c.limits.Files)
			}
		}
	}
	return nil
}

// inflate reads one file to its end, which verifies its checksum, and counts
// its bytes instead of believing the header.
func (c *checker) inflate(f *zip.File, link bool, target *strings.Builder) (File, error) {
	in, err := f.Open()
	if err != nil {
		return File{}, bad("%.100q: %v", f.Name, err)
	}
	defer in.Close() // the checksum is verified by reading to the end
	limit := c.left
	var into io.Writer = c.sum
	if link {
		limit, into = min(limit, maxTarget), io.MultiWriter(c.sum, target)
	}
	c.sum.Reset()
	n, err := io.Copy(into, io.LimitReader(in, limit+1))
	if err != nil {
		return File{}, bad("%.100q: %v", f.Name, err)
	}
	if n > limit {
		return File{}, bad("%.100q unpacks to more bytes than are allowed", f.Name)
	}
	c.left -= n
	found := File{Size: n}
	c.sum.Sum(found.SHA1[:0])
	return found, nil
}
