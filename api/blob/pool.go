package blob

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sort"
	"sync"
)

// Each kept zip has an index beside it: which files it holds, by SHA-1 and
// size, which is how the CLI names what it would rather leave out of an upload.
// One record is the key (20 bytes of SHA-1, 8 of size) and 4 bytes of the
// entry's place in the zip, big endian; records are sorted.
const (
	keySize    = sha1.Size + 8
	recordSize = keySize + 4
)

// File names the bytes of one file.
type File struct {
	SHA1 [sha1.Size]byte
	Size int64
}

// Want is a file of a new package that is taken from an older one.
type Want struct {
	File
	Path string
	Mode fs.FileMode
}

// ErrNoFile says that a wanted file is in none of the packages.
var ErrNoFile = errors.New("a matched file is no longer here: push again")

func (f File) key() []byte { return binary.BigEndian.AppendUint64(f.SHA1[:], uint64(f.Size)) }

// index is the sorted records of one zip.
type index []byte

func makeIndex(files map[int]File) index {
	records := make([][]byte, 0, len(files))
	for entry, f := range files {
		records = append(records, binary.BigEndian.AppendUint32(f.key(), uint32(entry)))
	}
	slices.SortFunc(records, bytes.Compare)
	return slices.Concat(records...)
}

// find tells which entry of the zip has the bytes of f.
func (x index) find(f File) (entry int, ok bool) {
	key := f.key()
	at := func(i int) []byte { return x[i*recordSize:][:recordSize] }
	i, found := sort.Find(len(x)/recordSize, func(i int) int { return bytes.Compare(key, at(i)[:keySize]) })
	if !found {
		return 0, false
	}
	return int(binary.BigEndian.Uint32(at(i)[keySize:])), true
}

// indices remembers indexes that were read, up to a number of bytes.
type indices struct {
	mu    sync.Mutex // guards the rest
	known map[string]index
	size  int
}

const maxIndices = 64 << 20

func (s *Store) index(sum string) index {
	s.indices.mu.Lock()
	defer s.indices.mu.Unlock()
	x, ok := s.indices.known[sum]
	if ok {
		return x
	}
	// A missing or torn index matches nothing, which only costs an upload.
	x, _ = os.ReadFile(s.Path(sum) + ".index")
	if s.indices.size += len(x); s.indices.size > maxIndices {
		s.indices.known, s.indices.size = nil, len(x)
	}
	if s.indices.known == nil {
		s.indices.known = map[string]index{}
	}
	s.indices.known[sum] = x
	return x
}

// Has tells whether one of the packages has the bytes of f.
func (s *Store) Has(packages []string, f File) bool {
	return slices.ContainsFunc(packages, func(sum string) bool {
		_, ok := s.index(sum).find(f)
		return ok
	})
}

// combine writes a zip of what was uploaded, if anything was, and of the wanted
// files, which are copied as they are compressed in older packages.
func (s *Store) combine(w io.Writer, uploaded io.ReaderAt, size int64, packages []string, wants []Want, l Limits) error {
	out := zip.NewWriter(w)
	if size > 0 {
		in, err := openZip(uploaded, size, l)
		if err != nil {
			return err
		}
		for _, f := range in.File {
			if err := out.Copy(f); err != nil {
				return fmt.Errorf("combine: %w", err)
			}
		}
	}
	open := shelf{store: s, zips: map[string]*zip.ReadCloser{}}
	defer open.close()
	left := l.Bytes
	for _, want := range wants {
		f, err := open.find(packages, want.File)
		if err != nil {
			return err
		}
		// What is copied is bounded before it is copied: one file wanted many
		// times would be a bomb.
		if left -= max(want.Size, int64(f.CompressedSize64)); left < 0 {
			return bad("it unpacks to more bytes than are allowed")
		}
		if err := copyAs(out, f, want); err != nil {
			return err
		}
	}
	return out.Close()
}

func copyAs(out *zip.Writer, f *zip.File, want Want) error {
	h := f.FileHeader
	h.Name = want.Path
	h.SetMode(want.Mode.Perm() | 0o600)
	h.Extra, h.Comment = nil, ""
	in, err := f.OpenRaw()
	if err != nil {
		return fmt.Errorf("combine: %w", err)
	}
	w, err := out.CreateRaw(&h)
	if err != nil {
		return fmt.Errorf("combine: %w", err)
	}
	if _, err := io.Copy(w, in); err != nil {
		return fmt.Errorf("combine: %w", err)
	}
	return nil
}

// shelf keeps packages open while one is combined.
type shelf struct {
	store *Store
	zips  map[string]*zip.ReadCloser
}

func (s shelf) close() {
	for _, z := range s.zips {
		z.Close() // only read
	}
}

func (s shelf) find(packages []string, f File) (*zip.File, error) {
	for _, sum := range packages {
		entry, ok := s.store.index(sum).find(f)
		if !ok {
			continue
		}
		z := s.zips[sum]
		if z == nil {
			var err error
			if z, err = zip.OpenReader(s.store.Path(sum)); err != nil {
				continue // it was removed, or is damaged: another may have the file
			}
			s.zips[sum] = z
		}
		if entry < len(z.File) && z.File[entry].UncompressedSize64 == uint64(f.Size) {
			return z.File[entry], nil
		}
	}
	return nil, ErrNoFile
}
