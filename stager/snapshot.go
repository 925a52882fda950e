package stager

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// source is one file of a snapshot.
type source struct {
	name   string // slash-separated
	sum    string // SHA-256 of content, or of the link's target
	size   int64
	exec   bool
	target string // of a symbolic link, relative; "": a regular file
}

// versionControl are folders that say how the source came to be: they are no
// part of it.
var versionControl = []string{".git", ".hg", ".svn", ".bzr", "CVS"}

// snapshot copies the source, so that what is described is what is built,
// whoever changes the original meanwhile.
func (w *work) snapshot() error {
	left, folders := w.Limits.Disk, 0
	err := fs.WalkDir(w.Files, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(versionControl, d.Name()):
			return fs.SkipDir
		case d.IsDir():
			if folders++; w.Limits.Files > 0 && folders > w.Limits.Files+1 { // the root is one
				return because(ErrLimit, "the source has more than %d folders", w.Limits.Files)
			}
			return os.MkdirAll(filepath.Join(w.src(), filepath.FromSlash(name)), 0o755)
		case strings.HasSuffix(name, ".dew"): // what an earlier build left
			return nil
		case w.Limits.Files > 0 && len(w.sources) >= w.Limits.Files:
			return because(ErrLimit, "the source has more than %d files", w.Limits.Files)
		case w.ctx.Err() != nil:
			return w.ctx.Err()
		}
		s, err := w.take(name, d, left)
		if err != nil {
			return err
		}
		if left > 0 {
			left = max(left-s.size, 1)
		}
		w.sources = append(w.sources, s)
		return nil
	})
	if errors.Is(err, syscall.ENAMETOOLONG) {
		err = because(ErrSource, "a path in it is too long: %.300s", strings.TrimPrefix(pathOf(err), w.src()))
	}
	if err != nil {
		return fmt.Errorf("take the source: %w", err)
	}
	w.digest = dirHash(w.sources)
	return nil
}

// pathOf is the path that an error is about.
func pathOf(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Path
	}
	return err.Error()
}

func (w *work) take(name string, d fs.DirEntry, left int64) (source, error) {
	s := source{name: name}
	place := filepath.Join(w.src(), filepath.FromSlash(name))
	switch d.Type() {
	case fs.ModeSymlink:
		target, err := fs.ReadLink(w.Files, name)
		if err != nil {
			return s, err
		}
		if path.IsAbs(target) || !filepath.IsLocal(filepath.Join(path.Dir(name), target)) {
			return s, because(ErrSource, "the link %s leads out of it, to %s", name, target)
		}
		h := sha256.Sum256([]byte(target))
		s.target, s.sum = target, hex.EncodeToString(h[:])
		return s, os.Symlink(target, place)
	case 0:
		return s, s.copy(w.Files, place, left)
	}
	return s, because(ErrSource, "%s is neither file, folder nor link", name)
}

func (s *source) copy(from fs.FS, place string, left int64) error {
	in, err := from.Open(s.name)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if s.exec = info.Mode()&0o111 != 0; s.exec {
		mode = 0o755
	}
	out, err := os.OpenFile(place, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer out.Close()
	h := sha256.New()
	var r io.Reader = in
	if left > 0 {
		r = io.LimitReader(in, left+1)
	}
	if s.size, err = io.Copy(io.MultiWriter(out, h), r); err != nil {
		return err
	}
	if left > 0 && s.size > left {
		return because(ErrLimit, "the source is too large, at %s", s.name)
	}
	s.sum = hex.EncodeToString(h.Sum(nil))
	if err := out.Chmod(mode); err != nil { // whatever the umask
		return err
	}
	return out.Close()
}

// dirHash is the Hash1 of golang.org/x/mod/sumdb/dirhash in hex, which in-toto
// calls dirHash1: over the lines "digest, two blanks, name", by name.
func dirHash(sources []source) string {
	slices.SortFunc(sources, func(a, b source) int { return strings.Compare(a.name, b.name) })
	h := sha256.New()
	for _, s := range sources {
		fmt.Fprintf(h, "%s  %s\n", s.sum, s.name)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// read returns a file of the snapshot, nil where it is not there.
func (w *work) read(name string, limit int64) ([]byte, error) {
	f, err := os.OpenInRoot(w.src(), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = because(ErrSource, "%s is larger than %d bytes", name, limit)
	}
	return b, err
}
