package droplet

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	oci "github.com/opencontainers/image-spec/specs-go/v1"
)

// source is where the files of an image layout come from. Nothing that it gives
// is believed.
type source interface {
	// read returns the bytes of a file of the layout, whose length is size, or
	// at most maxDocument where size is negative.
	read(name string, size int64) (io.ReadCloser, error)
	Close() error
}

func blobName(sha256 string) string { return oci.ImageBlobsDir + "/sha256/" + sha256 }

// document reads a small file as a whole.
func document(s source, name string) ([]byte, error) {
	r, err := s.read(name, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err == nil && len(b) > maxDocument {
		err = invalid("%s is larger than %d bytes", name, maxDocument)
	}
	return b, err
}

// copyPart copies a part to w and verifies its digest and size.
func copyPart(w io.Writer, s source, p Part) error {
	r, err := s.read(blobName(p.SHA256), p.Size)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(r, p.Size+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", p.SHA256, err)
	}
	if n != p.Size || hex.EncodeToString(h.Sum(nil)) != p.SHA256 {
		return invalid("the bytes of %s are not those of its digest", p.SHA256)
	}
	return nil
}

// load reads a small part.
func load(s source, p Part) ([]byte, error) {
	if p.Size > maxDocument {
		return nil, invalid("%s is larger than %d bytes", p.SHA256, maxDocument)
	}
	var b bytes.Buffer
	err := copyPart(&b, s, p)
	return b.Bytes(), err
}

// readArtifact finds the droplet of a layout.
func readArtifact(s source) (*artifact, error) {
	layout, err := document(s, oci.ImageLayoutFile)
	if err != nil {
		return nil, err
	}
	if err := checkLayout(layout); err != nil {
		return nil, err
	}
	index, err := document(s, oci.ImageIndexFile)
	if err != nil {
		return nil, err
	}
	root, err := parseIndex(index)
	if err != nil {
		return nil, err
	}
	raw, err := load(s, root)
	if err != nil {
		return nil, err
	}
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

// archive is a tar of a layout, in which files are found without reading
// what is between them.
type archive struct {
	f     *os.File
	files map[string]*io.SectionReader
}

const maxEntries = 4096

var layoutFile = regexp.MustCompile(`^(oci-layout|index\.json|blobs/sha256/[0-9a-f]{64})$`)

func openArchive(f *os.File) (*archive, error) {
	a := &archive{f: f, files: map[string]*io.SectionReader{}}
	t := tar.NewReader(f)
	for range maxEntries {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, invalid("tar: %v", err)
		}
		name := strings.TrimPrefix(h.Name, "./")
		if !layoutFile.MatchString(name) {
			continue
		}
		if h.Typeflag != tar.TypeReg || a.files[name] != nil {
			return nil, invalid("tar: %s is there twice, or is no file", name)
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		a.files[name] = io.NewSectionReader(f, at, h.Size)
	}
	return nil, invalid("tar: more than %d entries", maxEntries)
}

func (a *archive) read(name string, size int64) (io.ReadCloser, error) {
	s := a.files[name]
	if s == nil || size >= 0 && s.Size() != size {
		return nil, invalid("%s is missing, or has another size", name)
	}
	return io.NopCloser(io.NewSectionReader(s, 0, s.Size())), nil
}

func (a *archive) Close() error { return a.f.Close() }

// folder is a layout as a folder.
type folder struct{ root *os.Root }

func (d folder) read(name string, size int64) (io.ReadCloser, error) {
	f, err := d.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe must not stop us
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, invalid("%s is missing", name)
		}
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || size >= 0 && info.Size() != size) {
		err = invalid("%s is no file, or has another size", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (d folder) Close() error { return d.root.Close() }
