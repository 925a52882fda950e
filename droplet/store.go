package droplet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Store keeps droplets in a folder of its own, verified and ready to run:
//
//	droplets/DIGEST        OCI manifests, each complete: its parts are there
//	blobs/sha256/DIGEST    parts, shared by the droplets that have them
//	lock                   shared by writers, exclusive to Sweep
//
// Files appear complete and on disk, or not at all, and never change. The
// folder is trusted: only its owner may write to it. It is safe for concurrent
// use, also by several processes.
type Store struct{ dir string }

// OpenStore opens or makes the folder.
func OpenStore(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{"droplets", "blobs/sha256"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("open droplet store: %w", err)
		}
	}
	return &Store{dir}, nil
}

func (s *Store) manifestPath(digest string) string { return filepath.Join(s.dir, "droplets", digest) }
func (s *Store) blobPath(sha256 string) string {
	return filepath.Join(s.dir, filepath.FromSlash(blobName(sha256)))
}

// Open returns a droplet by its digest: fs.ErrNotExist if the store does not
// have it. It costs two small reads, and notes the time of use for Sweep.
func (s *Store) Open(digest string) (*Droplet, error) {
	digest = strings.TrimPrefix(digest, "sha256:")
	if !hexDigest.MatchString(digest) {
		return nil, invalid("digest %.80q", digest)
	}
	raw, err := os.ReadFile(s.manifestPath(digest))
	if err != nil {
		return nil, fmt.Errorf("open droplet: %w", err)
	}
	a, err := s.artifact(raw)
	if err != nil {
		return nil, fmt.Errorf("open droplet %s: %w", digest, err)
	}
	if a.digest != digest {
		return nil, invalid("%s is damaged in the store", digest)
	}
	now := time.Now()
	if err := os.Chtimes(s.manifestPath(digest), now, now); err != nil && !errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("open droplet: %w", err)
	}
	return &Droplet{artifact: a, source: s, store: s}, nil
}

func (s *Store) artifact(raw []byte) (*artifact, error) {
	o, err := parseOCI(raw)
	if err != nil {
		return nil, err
	}
	config, err := load(s, Part{o.Config.Digest.Encoded(), o.Config.Size})
	if err != nil {
		return nil, err
	}
	return parseArtifact(raw, config)
}

// read makes the store a source of its own droplets.
func (s *Store) read(name string, size int64) (io.ReadCloser, error) {
	return s.open(Part{SHA256: name[strings.LastIndexByte(name, '/')+1:], Size: size})
}

// Close does nothing: droplets of a store hold no files.
func (s *Store) Close() error { return nil }

// open opens a part that is in the store.
func (s *Store) open(p Part) (*os.File, error) {
	f, err := os.Open(s.blobPath(p.SHA256))
	if err != nil {
		return nil, fmt.Errorf("open a part of a droplet: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() != p.Size {
		err = invalid("%s is damaged in the store: %d bytes of %d", p.SHA256, info.Size(), p.Size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Import copies a droplet into the store, which verifies all of it, and returns
// the one in the store. It must be there as a whole, also where the store has it.
func (s *Store) Import(d *Droplet) (*Droplet, error) {
	return s.add(d.artifact, d.source)
}

// Receive keeps a droplet that comes as one file, as Export writes it, once all
// of it is verified: the one with this digest, or any if that is "".
func (s *Store) Receive(r io.Reader, digest string) (*Droplet, error) {
	f, err := os.CreateTemp(s.dir, "new-") // not in a /tmp that may be memory
	if err != nil {
		return nil, fmt.Errorf("receive a droplet: %w", err)
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil { // nothing is left of it, however this ends
		return nil, fmt.Errorf("receive a droplet: %w", err)
	}
	if _, err := io.Copy(f, r); err != nil {
		return nil, fmt.Errorf("receive a droplet: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("receive a droplet: %w", err)
	}
	from, err := openArchive(f)
	if err != nil {
		return nil, fmt.Errorf("receive a droplet: %w", err)
	}
	a, err := readArtifact(from)
	if err != nil {
		return nil, fmt.Errorf("receive a droplet: %w", err)
	}
	sent := &Droplet{artifact: a, source: from}
	if digest != "" && sent.Digest() != digest {
		return nil, invalid("it is %s, not %s", sent.Digest(), digest)
	}
	return s.Import(sent)
}

func (s *Store) add(a *artifact, from source) (*Droplet, error) {
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if have, err := s.Open(a.digest); err == nil {
		if err := possessed(from, a.parts()); err != nil {
			return nil, fmt.Errorf("add droplet: %w", err)
		}
		return have, nil
	}
	checks := map[string][]func(*os.File) error{} // one part may be used as two kinds
	for _, p := range a.manifest.Programs {
		checks[p.SHA256] = append(checks[p.SHA256], checkProgramFile, makeExecutable)
	}
	if i := a.manifest.Image; i != nil {
		checks[i.SHA256] = append(checks[i.SHA256], checkImageFile)
	}
	for _, p := range []Part{a.sbom, a.provenance} {
		if _, err := loadJSON(from, p); err != nil {
			return nil, fmt.Errorf("add droplet: %w", err)
		}
	}
	for _, p := range a.parts() {
		if err := s.addPart(p, from, checks[p.SHA256]); err != nil {
			return nil, fmt.Errorf("add droplet: %w", err)
		}
	}
	raw := func(w io.Writer) error { _, err := io.Copy(w, bytes.NewReader(a.raw)); return err }
	if err := s.put(s.manifestPath(a.digest), raw, func(*os.File) error { return nil }); err != nil {
		return nil, fmt.Errorf("add droplet: %w", err)
	}
	return s.Open(a.digest)
}

// possessed refuses a source that names parts and does not have them. What the
// store has may be another tenant's: to know its digest, which bills of materials
// and provenances tell, is no right to its bytes.
func possessed(from source, parts []Part) error {
	for _, p := range parts {
		if err := copyPart(io.Discard, from, p); err != nil {
			return err
		}
	}
	return nil
}

// addPart copies a part. One that is there was verified when it came; but it
// may have come as another kind of part, so it is checked as this one.
func (s *Store) addPart(p Part, from source, checks []func(*os.File) error) error {
	check := func(f *os.File) error {
		for _, c := range checks {
			if err := c(f); err != nil {
				return err
			}
		}
		return nil
	}
	if f, err := s.open(p); err == nil {
		defer f.Close()
		if err := possessed(from, []Part{p}); err != nil {
			return err
		}
		return check(f)
	}
	return s.put(s.blobPath(p.SHA256), func(w io.Writer) error { return copyPart(w, from, p) }, check)
}

// makeExecutable lets any user execute the file, so that guests, each of which has
// a user of its own, share its pages: a tender would otherwise start a copy.
func makeExecutable(f *os.File) error { return f.Chmod(0o555) }

// readOnly is what every file of the store is at least.
func readOnly(f *os.File) error { return f.Chmod(0o444) }

// put makes one file, complete and on disk, or not at all.
func (s *Store) put(path string, write func(io.Writer) error, check func(*os.File) error) (err error) {
	f, err := os.CreateTemp(s.dir, "new-")
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := readOnly(f); err != nil {
		return err
	}
	if err := check(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// lock takes the store's lock, which ends with the process at the latest.
func (s *Store) lock(how int) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock droplet store: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock droplet store: %w", err)
	}
	return func() { f.Close() }, nil
}

// Sweep removes the droplets for which keep returns false, given the time of
// their last use, and the parts that no droplet has any more. Files of removed
// droplets that are open stay readable. It returns how many bytes it freed.
func (s *Store) Sweep(keep func(digest string, used time.Time) bool) (freed int64, err error) {
	unlock, err := s.lock(unix.LOCK_EX)
	if err != nil {
		return 0, err
	}
	defer unlock()
	used := map[string]bool{}
	err = s.each("droplets", func(path string, info fs.FileInfo) error {
		digest := info.Name()
		if hexDigest.MatchString(digest) && keep(digest, info.ModTime()) {
			return s.mark(digest, info.ModTime(), used)
		}
		freed += info.Size()
		return os.Remove(path)
	})
	if err != nil {
		return freed, fmt.Errorf("sweep droplet store: %w", err)
	}
	for _, sub := range []string{"blobs/sha256", "."} {
		err = s.each(sub, func(path string, info fs.FileInfo) error {
			if used[info.Name()] || sub == "." && !strings.HasPrefix(info.Name(), "new-") {
				return nil
			}
			freed += info.Size()
			return os.Remove(path)
		})
		if err != nil {
			return freed, fmt.Errorf("sweep droplet store: %w", err)
		}
	}
	return freed, nil
}

// mark notes the parts of a droplet that stays, without counting as a use.
func (s *Store) mark(digest string, modified time.Time, used map[string]bool) error {
	d, err := s.Open(digest)
	if err != nil {
		return err
	}
	for _, p := range d.parts() {
		used[p.SHA256] = true
	}
	return os.Chtimes(s.manifestPath(digest), modified, modified)
}

func (s *Store) each(sub string, f func(path string, info fs.FileInfo) error) error {
	dir := filepath.Join(s.dir, sub)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.IsDir() {
			continue
		}
		if err := f(filepath.Join(dir, e.Name()), info); err != nil {
			return err
		}
	}
	return nil
}
