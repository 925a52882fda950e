package source

import (
	"archive/zip"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	ignore "github.com/sabhiram/go-gitignore"
)

// Entry is one file, folder or symbolic link of a package.
type Entry struct {
	Path string // with slashes, below the top
	Mode fs.FileMode
	Size int64    // of a file, in bytes
	SHA1 [20]byte // of a file
	Link string   // where a symbolic link leads
}

// Tree is the content of a package.
type Tree struct {
	Entries []Entry // in the order of their paths; a folder before what is in it
	root    fs.FS
	close   func() error
}

// ErrEmpty says that a folder or zip holds nothing that could be sent.
var ErrEmpty = errors.New("there is nothing to push")

// Open reads a folder or a zip, and the digest of every file in it.
func Open(path string) (*Tree, error) {
	t, err := open(path)
	if err != nil {
		return nil, err
	}
	if err := t.read(); err != nil {
		t.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(t.Entries) == 0 {
		t.Close()
		return nil, fmt.Errorf("%s: %w", path, ErrEmpty)
	}
	return t, nil
}

func open(path string) (*Tree, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return &Tree{root: os.DirFS(path), close: func() error { return nil }}, nil
	}
	z, err := zip.OpenReader(path)
	if errors.Is(err, zip.ErrFormat) {
		return nil, fmt.Errorf("%s is neither a folder nor a zip", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &Tree{root: &z.Reader, close: z.Close}, nil
}

// Close lets go of the zip.
func (t *Tree) Close() error { return t.close() }

// never are names that are left out wherever they stand.
func never() []string {
	return []string{".cfignore", ".DS_Store", ".git", ".gitignore", ".hg", ".svn", "_darcs", "manifest.yaml", "manifest.yml"}
}

// rules are those of .cfignore. What is never sent comes last, so that no rule
// can bring it back.
func (t *Tree) rules() (*ignore.GitIgnore, error) {
	text, err := fs.ReadFile(t.root, ".cfignore")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return ignore.CompileIgnoreLines(append(strings.Split(string(text), "\n"), never()...)...), nil
}

func (t *Tree) read() error {
	rules, err := t.rules()
	if err != nil {
		return err
	}
	unsent := ignore.CompileIgnoreLines(never()...)
	return fs.WalkDir(t.root, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == ".":
			return nil
		case rules.MatchesPath(path):
			// A rule with "!" may bring back what is in an ignored folder.
			if d.IsDir() && unsent.MatchesPath(path) {
				return fs.SkipDir
			}
			return nil
		}
		e, err := t.entry(path, d)
		if err != nil {
			return err
		}
		t.Entries = append(t.Entries, e)
		return nil
	})
}

func (t *Tree) entry(path string, d fs.DirEntry) (Entry, error) {
	info, err := d.Info()
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Path: path, Mode: info.Mode()}
	switch mode := e.Mode; {
	case mode.IsDir():
	case mode&fs.ModeSymlink != 0:
		e.Link, err = t.readLink(path)
	case mode.IsRegular():
		e.SHA1, e.Size, err = t.digest(path, io.Discard)
	default:
		err = fmt.Errorf("%s is neither file, folder nor link: name it in .cfignore to leave it out", path)
	}
	return e, err
}

// readLink tells where a link leads. In a zip that is its content.
func (t *Tree) readLink(path string) (string, error) {
	if l, ok := t.root.(fs.ReadLinkFS); ok {
		return l.ReadLink(path)
	}
	f, err := t.root.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096)) // PATH_MAX of limits.h
	return string(b), err
}

// digest copies a file to w and tells its SHA-1 and size.
func (t *Tree) digest(path string, w io.Writer) (sum [20]byte, size int64, err error) {
	f, err := t.root.Open(path)
	if err != nil {
		return sum, 0, err
	}
	defer f.Close()
	h := sha1.New()
	size, err = io.Copy(io.MultiWriter(h, w), f)
	return [20]byte(h.Sum(nil)), size, err
}

// ErrChanged says that a file is not what it was when the push began.
var ErrChanged = errors.New("it changed while it was pushed")

// WriteZip writes the entries but those whose path is in omit.
func (t *Tree) WriteZip(w io.Writer, omit map[string]bool) error {
	z := zip.NewWriter(w)
	for _, e := range t.Entries {
		if omit[e.Path] {
			continue
		}
		if err := t.add(z, e); err != nil {
			return fmt.Errorf("pack %s: %w", e.Path, err)
		}
	}
	return z.Close()
}

// add writes one entry. It has no time, so that the same files make the same
// zip.
func (t *Tree) add(z *zip.Writer, e Entry) error {
	h := &zip.FileHeader{Name: e.Path, Method: zip.Deflate}
	h.SetMode(e.Mode)
	if e.Mode.IsDir() {
		h.Name += "/"
		h.Method = zip.Store
	}
	w, err := z.CreateHeader(h)
	switch {
	case err != nil:
		return err
	case e.Mode.IsDir():
		return nil
	case e.Mode&fs.ModeSymlink != 0:
		_, err = io.WriteString(w, e.Link)
		return err
	}
	sum, _, err := t.digest(e.Path, w)
	if err == nil && sum != e.SHA1 {
		err = ErrChanged
	}
	return err
}
