package droplet

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dewpaas/dew/abi"
)

// Spec is what a droplet is made of.
type Spec struct {
	// Manifest without format, kernel, contract, programs and image, which are
	// filled in.
	Manifest   Manifest
	Programs   []ProgramFile
	Image      string // path of the file-system image; "": none
	SBOM       []byte // CycloneDX JSON
	Provenance []byte // in-toto JSON
}

// ProgramFile is a program before it is in a droplet.
type ProgramFile struct {
	Name    string
	Package string
	Path    string
}

// Write makes a droplet of its parts. Equal parts give an equal digest.
func (s *Store) Write(spec *Spec) (*Droplet, error) {
	m := spec.Manifest
	m.Format, m.Kernel, m.Contract = FormatVersion, KernelGo, abi.Version
	parts := scattered{}
	m.Programs, m.Image = nil, nil
	for _, p := range spec.Programs {
		part, err := parts.file(p.Path)
		if err != nil {
			return nil, fmt.Errorf("write droplet: %w", err)
		}
		m.Programs = append(m.Programs, Program{p.Name, p.Package, part})
	}
	slices.SortFunc(m.Programs, func(a, b Program) int { return strings.Compare(a.Name, b.Name) })
	if spec.Image != "" {
		part, err := parts.file(spec.Image)
		if err != nil {
			return nil, fmt.Errorf("write droplet: %w", err)
		}
		m.Image = &part
	}
	a, err := newArtifact(&m, parts.bytes(spec.SBOM), parts.bytes(spec.Provenance))
	if err != nil {
		return nil, fmt.Errorf("write droplet: %w", err)
	}
	parts.bytes(a.config)
	return s.add(a, parts)
}

// scattered is a source whose parts lie in files and in memory, by the name
// that they have in a layout.
type scattered map[string]func() (io.ReadCloser, error)

// file takes a file as a part.
func (s scattered) file(path string) (Part, error) {
	f, err := os.Open(path)
	if err != nil {
		return Part{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return Part{}, err
	}
	p := Part{hex.EncodeToString(h.Sum(nil)), n}
	s[blobName(p.SHA256)] = func() (io.ReadCloser, error) { return os.Open(path) }
	return p, nil
}

func (s scattered) bytes(b []byte) Part {
	p := partOf(b)
	s[blobName(p.SHA256)] = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	return p
}

func (s scattered) read(name string, _ int64) (io.ReadCloser, error) {
	open := s[name]
	if open == nil {
		return nil, fmt.Errorf("no part %s", name)
	}
	return open()
}

func (s scattered) Close() error { return nil }

// Export writes the droplet as one file: an uncompressed tar of an OCI image
// layout, manifests first. Equal droplets give equal bytes.
func (d *Droplet) Export(w io.Writer) error {
	t := tar.NewWriter(w)
	layout, err := json.Marshal(oci.ImageLayout{Version: oci.ImageLayoutVersion})
	if err != nil {
		return err
	}
	small := []struct {
		name string
		data []byte
	}{{oci.ImageLayoutFile, layout}, {oci.ImageIndexFile, d.index()}, {blobName(d.digest), d.raw}, {blobName(sum(d.config)), d.config}}
	for _, f := range small {
		if err := entry(t, f.name, int64(len(f.data))); err != nil {
			return err
		}
		if _, err := t.Write(f.data); err != nil {
			return fmt.Errorf("export droplet: %w", err)
		}
	}
	done := map[string]bool{sum(d.config): true}
	for _, p := range d.parts() {
		if done[p.SHA256] {
			continue
		}
		done[p.SHA256] = true
		if err := entry(t, blobName(p.SHA256), p.Size); err != nil {
			return err
		}
		if err := copyPart(t, d.source, p); err != nil {
			return fmt.Errorf("export droplet: %w", err)
		}
	}
	return t.Close()
}

func entry(t *tar.Writer, name string, size int64) error {
	err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o444, Format: tar.FormatUSTAR})
	if err != nil {
		return fmt.Errorf("export droplet: %w", err)
	}
	return nil
}

// WriteFile exports the droplet to a file that is complete or not there.
func (d *Droplet) WriteFile(path string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return fmt.Errorf("export droplet: %w", err)
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := d.Export(f); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
