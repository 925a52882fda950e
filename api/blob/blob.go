package blob

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Store is a folder of blobs. It is safe for concurrent use.
type Store struct{ dir string }

// Open opens or makes the folder.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the blobs: %w", err)
	}
	return &Store{dir}, nil
}

// Path is where the blob with this digest is, if it is there.
func (s *Store) Path(sum string) string { return filepath.Join(s.dir, sum) }

// ErrSize is a blob over the limit.
var ErrSize = errors.New("the upload is larger than is allowed")

// Put keeps what r has, at most limit bytes, if check finds nothing wrong, and
// returns its SHA-256.
func (s *Store) Put(r io.Reader, limit int64, check func(io.ReaderAt, int64) error) (sum string, err error) {
	f, err := os.CreateTemp(s.dir, "upload-")
	if err != nil {
		return "", fmt.Errorf("keep a blob: %w", err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if rm := os.Remove(f.Name()); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(r, limit+1))
	if err != nil {
		return "", fmt.Errorf("keep a blob: %w", err)
	}
	if n > limit {
		return "", ErrSize
	}
	if err := check(f, n); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", fmt.Errorf("keep a blob: %w", err)
	}
	sum = hex.EncodeToString(h.Sum(nil))
	return sum, os.Rename(f.Name(), s.Path(sum))
}

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

// Check reads the whole zip and finds what would be dangerous or impossible to
// unpack.
func Check(r io.ReaderAt, size int64, l Limits) error {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return bad("not a zip: %v", err)
	}
	if len(z.File) > l.Files {
		return bad("%d files are more than %d", len(z.File), l.Files)
	}
	seen := map[string]bool{}
	left := l.Bytes
	for _, f := range z.File {
		name := strings.TrimSuffix(f.Name, "/")
		if err := goodName(name); err != nil {
			return err
		}
		if seen[name] {
			return bad("%.100q is in it twice", name)
		}
		seen[name] = true
		if mode := f.Mode(); !mode.IsRegular() && !mode.IsDir() {
			return bad("%.100q is a link or a device: packages hold files and folders only", name)
		}
		n, err := inflate(f, left)
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}

func goodName(name string) error {
	if name == "" || len(name) > 4096 || !filepath.IsLocal(name) || path.Clean(name) != name || strings.ContainsAny(name, "\\\x00") {
		return bad("the name %.100q leaves the package or is not clean", name)
	}
	return nil
}

// inflate counts the bytes of one file, which must not exceed left.
func inflate(f *zip.File, left int64) (int64, error) {
	in, err := f.Open()
	if err != nil {
		return 0, bad("%.100q: %v", f.Name, err)
	}
	defer in.Close() // the checksum is verified by reading to the end
	n, err := io.Copy(io.Discard, io.LimitReader(in, left+1))
	if err != nil {
		return 0, bad("%.100q: %v", f.Name, err)
	}
	if n > left {
		return 0, bad("it unpacks to more bytes than are allowed")
	}
	return n, nil
}
