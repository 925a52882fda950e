package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"time"
)

// Store is a folder of blobs. It is safe for concurrent use; as many zips as there
// are CPUs are inflated at once, others wait.
type Store struct {
	dir     string
	indices indices
	slots   chan struct{} // one for each zip that is being read
}

// Open opens or makes the folder. What a crash left half written is removed.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the blobs: %w", err)
	}
	torn, err := filepath.Glob(filepath.Join(dir, "upload-*"))
	if err != nil {
		return nil, fmt.Errorf("open the blobs: %w", err)
	}
	for _, name := range torn {
		if err := os.Remove(name); err != nil {
			return nil, fmt.Errorf("open the blobs: %w", err)
		}
	}
	return &Store{dir: dir, slots: make(chan struct{}, runtime.NumCPU())}, nil
}

// Path is where the blob with this digest is, if it is there.
func (s *Store) Path(sum string) string { return filepath.Join(s.dir, sum) }

// Open opens a blob to be read. fs.ErrNotExist says that it is not here.
func (s *Store) Open(_ context.Context, sum string) (*os.File, error) {
	f, err := os.Open(s.Path(sum))
	if err != nil {
		return nil, fmt.Errorf("open a blob: %w", err)
	}
	return f, nil
}

// ErrSize is a blob over the limit.
var ErrSize = errors.New("the upload is larger than is allowed")

// Put keeps what r has, at most limit bytes, if check finds nothing wrong, and
// returns its SHA-256, in hex.
func (s *Store) Put(r io.Reader, limit int64, check func(io.ReaderAt, int64) error) (sum string, err error) {
	err = s.scratch(func(f *os.File) error {
		n, err := fill(f, r, limit)
		if err != nil {
			return err
		}
		if err := check(f, n); err != nil {
			return err
		}
		sum, err = s.keep(f)
		return err
	})
	return sum, err
}

// PutZip keeps a package: the zip that r has, or none if r is nil, and the
// wanted files of older packages. The whole must pass Check.
func (s *Store) PutZip(r io.Reader, limit int64, packages []string, wants []Want, l Limits) (sum string, err error) {
	err = s.scratch(func(uploaded *os.File) error {
		var n int64
		if r != nil {
			if n, err = fill(uploaded, r, limit); err != nil {
				return err
			}
			if n == 0 && len(wants) == 0 {
				return bad("it is empty")
			}
		}
		if len(wants) == 0 {
			sum, err = s.keepZip(uploaded, n, l)
			return err
		}
		return s.scratch(func(whole *os.File) error {
			if err := s.combine(whole, uploaded, n, packages, wants, l); err != nil {
				return err
			}
			size, err := whole.Seek(0, io.SeekEnd)
			if err == nil {
				sum, err = s.keepZip(whole, size, l)
			}
			return err
		})
	})
	return sum, err
}

func (s *Store) keepZip(f *os.File, size int64, l Limits) (string, error) {
	s.slots <- struct{}{}
	files, err := check(f, size, l)
	<-s.slots
	if err != nil {
		return "", err
	}
	sum, err := s.keep(f)
	if err != nil {
		return "", err
	}
	return sum, s.scratch(func(x *os.File) error {
		_, err := x.Write(makeIndex(files))
		if err == nil {
			err = os.Rename(x.Name(), s.Path(sum)+".index")
		}
		return err
	})
}

// scratch lends a file of the folder that is gone afterwards, unless it was
// renamed.
func (s *Store) scratch(use func(*os.File) error) (err error) {
	f, err := os.CreateTemp(s.dir, "upload-")
	if err != nil {
		return fmt.Errorf("keep a blob: %w", err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if rm := os.Remove(f.Name()); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}()
	return use(f)
}

func fill(f *os.File, r io.Reader, limit int64) (int64, error) {
	n, err := io.Copy(f, io.LimitReader(r, limit+1))
	if err != nil {
		return n, fmt.Errorf("keep a blob: %w", err)
	}
	if n > limit {
		return n, ErrSize
	}
	return n, nil
}

// keep gives a written file its name. It is on disk before it has one.
func (s *Store) keep(f *os.File) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		return "", fmt.Errorf("keep a blob: %w", err)
	}
	if err := f.Sync(); err != nil {
		return "", fmt.Errorf("keep a blob: %w", err)
	}
	sum := hex.EncodeToString(h.Sum(nil))
	if err := os.Rename(f.Name(), s.Path(sum)); err != nil {
		return "", fmt.Errorf("keep a blob: %w", err)
	}
	return sum, s.syncDir()
}

func (s *Store) syncDir() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return fmt.Errorf("keep a blob: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

var sumForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Sweep removes blobs that have not been touched since before and of which
// needed says that nobody names them, and returns how many.
func (s *Store) Sweep(before time.Time, needed func(sum string) bool) (int, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, fmt.Errorf("sweep the blobs: %w", err)
	}
	n := 0
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !sumForm.MatchString(e.Name()) || info.ModTime().After(before) || needed(e.Name()) {
			continue
		}
		if err := os.Remove(s.Path(e.Name())); err != nil {
			return n, fmt.Errorf("sweep the blobs: %w", err)
		}
		os.Remove(s.Path(e.Name()) + ".index") // droplets have none
		n++
	}
	return n, nil
}
