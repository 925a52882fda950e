package stager

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const tenantPrefix = "tenant-"

var tenantName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// caches are the build and module caches of the request's tenant. Builds of one
// tenant may poison each other's, which they could not do to others'; what
// tenants share are the compiled packages of the standard library, which they
// cannot write to, and downloads, which only stager/modproxy writes.
func (w *work) caches(kind string) (build, modules string, err error) {
	if w.build != "" {
		return w.build, w.modules, nil
	}
	defer func() {
		if err == nil {
			w.build, w.modules = build, modules
		}
	}()
	if w.shared != "" {
		modules := filepath.Join(w.tmp(), "modules")
		return w.shared, modules, w.writable(modules)
	}
	base, err := w.tenantFolder(kind, w.Tenant)
	if err != nil {
		return "", "", err
	}
	build, modules = filepath.Join(base, "build"), filepath.Join(base, "modules")
	err = errors.Join(os.MkdirAll(base, 0o700), w.writable(build), w.writable(modules))
	if err == nil {
		err = w.share(build)
	}
	return build, modules, err
}

// freeze gives what a sandbox wrote to the caller, so that no sandbox can change
// it any more.
func freeze(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o444)
		switch {
		case d.IsDir():
			mode = 0o755
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is no file", path)
		}
		return errors.Join(os.Lchown(path, os.Geteuid(), os.Getegid()), os.Chmod(path, mode))
	})
}

// share puts the compiled standard library into a tenant's build cache: as hard
// links to files that sandboxes may only read. Without root a sandbox runs as
// the files' owner, and gets copies. What is in the cache already was written by
// sandboxes and may be anything: no link in it is followed out of it.
func (w *work) share(build string) error {
	if w.bare.Load() {
		return nil
	}
	from, err := w.std()
	if err != nil {
		return err
	}
	if from == "" || w.shares.fresh(build, from) {
		return nil
	}
	if err := w.link(from, build); err != nil {
		return err
	}
	w.shares.note(build, from)
	return nil
}

// shareAgain is how long a cache is believed to have what was put into it: the go
// command drops what it has not used for five days.
const shareAgain = time.Hour

// shares remembers which layer was put into which folder, since to look costs a
// twentieth of a small build.
type shares struct {
	mu   sync.Mutex // guards last
	last map[string]sharing
}

type sharing struct {
	layer string
	into  folder
	at    time.Time
}

func (s *shares) fresh(build, layer string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.last[build]
	return last.layer == layer && last.into == folderAt(build) && time.Since(last.at) < shareAgain
}

func (s *shares) note(build, layer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil || len(s.last) > 10_000 { // of spaces that are gone, most
		s.last = map[string]sharing{}
	}
	s.last[build] = sharing{layer, folderAt(build), time.Now()}
}

// folder tells one folder from another that was made in its place, which may have
// the same inode.
type folder struct {
	inode uint64
	born  unix.StatxTimestamp
}

func folderAt(path string) (f folder) {
	var s unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &s) == nil {
		f = folder{s.Ino, s.Btime}
	}
	return f
}

// link puts the files of one build cache into another.
func (w *work) link(from, build string) error {
	cache, err := os.OpenRoot(build)
	if err != nil {
		return err
	}
	defer cache.Close()
	// The go command drops entries that were not used for five days; it cannot
	// note the use of what it does not own.
	now := time.Now()
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		if d.IsDir() {
			return w.writableIn(cache, rel)
		}
		if filepath.Dir(rel) == "." { // the cache's own books
			return nil
		}
		if info, err := d.Info(); err == nil && now.Sub(info.ModTime()) > 24*time.Hour {
			os.Chtimes(path, now, now)
		}
		return put(cache, rel, path)
	})
}

// writableIn makes a folder in a root that the sandbox of this build may write to.
func (w *work) writableIn(root *os.Root, name string) error {
	if info, err := root.Lstat(name); err == nil && !info.IsDir() {
		if err := root.Remove(name); err != nil {
			return err
		}
	}
	if err := root.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Chmod(0o755); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	return dir.Chown(int(w.uid), int(w.uid))
}

// put makes a file of a root the same as one elsewhere, where there is none yet.
func put(root *os.Root, name, from string) error {
	if _, err := root.Lstat(name); err == nil {
		return nil
	}
	dir, err := root.OpenFile(filepath.Dir(name), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	if os.Geteuid() == 0 {
		err := unix.Linkat(unix.AT_FDCWD, from, int(dir.Fd()), filepath.Base(name), 0)
		if !errors.Is(err, unix.EXDEV) { // the caches lie on one file system
			return ignore(err, fs.ErrExist)
		}
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o444)
	if err != nil {
		return ignore(err, fs.ErrExist)
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// Forget removes the caches of tenants for which keep returns false. No build of
// such a tenant may be under way.
func (b *Builder) Forget(keep func(tenant string) bool) error {
	dirs, err := filepath.Glob(filepath.Join(b.c.Cache, "*", tenantPrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		if !keep(strings.TrimPrefix(filepath.Base(dir), tenantPrefix)) {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}

// Shrink removes the caches of a tenant that have more bytes than that. No build
// of the tenant may be under way.
func (b *Builder) Shrink(tenant string, bytes int64) error {
	dir, err := b.tenantFolder(boxed, tenant)
	if tenant == "" || err != nil || used([]string{dir}) <= bytes {
		return nil
	}
	return os.RemoveAll(dir)
}

// Trim removes the oldest downloads until they have at most so many bytes.
func (b *Builder) Trim(bytes int64) error {
	type download struct {
		path string
		size int64
		at   time.Time
	}
	var all []download
	var total int64
	dir := filepath.Join(b.c.Cache, "downloads")
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignore(err, fs.ErrNotExist)
		}
		info, err := d.Info()
		if err != nil {
			return ignore(err, fs.ErrNotExist)
		}
		total += info.Size()
		all = append(all, download{path, info.Size(), info.ModTime()})
		return nil
	})
	if err != nil {
		return fmt.Errorf("trim downloads: %w", err)
	}
	slices.SortFunc(all, func(a, b download) int { return a.at.Compare(b.at) })
	for _, d := range all {
		if total <= bytes {
			break
		}
		if err := os.Remove(d.path); ignore(err, fs.ErrNotExist) != nil {
			return fmt.Errorf("trim downloads: %w", err)
		}
		total -= d.size
	}
	return nil
}

func ignore(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}
