package droplet

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi/image"
)

// Droplet is one droplet, from an archive, a folder or a Store.
type Droplet struct {
	*artifact
	source source
	store  *Store // nil: the bytes are not verified before they are used
}

// Open opens a droplet that somebody sent: one file, or a folder with an OCI
// image layout. Only its manifest is read; everything else is verified when it
// is asked for. To run one many times, put it into a Store.
func Open(path string) (*Droplet, error) {
	s, err := openSource(path)
	if err != nil {
		return nil, fmt.Errorf("open droplet: %w", err)
	}
	a, err := readArtifact(s)
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("open droplet %s: %w", path, err)
	}
	return &Droplet{artifact: a, source: s}, nil
}

func openSource(path string) (source, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		f.Close()
		root, err := os.OpenRoot(path)
		return folder{root}, err
	case !info.Mode().IsRegular():
		err = invalid("%s is neither file nor folder", path)
	default:
		a, bad := openArchive(f)
		if bad == nil {
			return a, nil
		}
		err = bad
	}
	f.Close()
	return nil, err
}

// Close releases what Open opened. Files that were handed out stay open.
func (d *Droplet) Close() error { return d.source.Close() }

// Digest is the SHA-256 of the droplet's OCI manifest, hex: its identity.
func (d *Droplet) Digest() string { return d.digest }

// Manifest says what the droplet is. The caller must not change it.
func (d *Droplet) Manifest() *Manifest { return d.manifest }

// Size is how many bytes the droplet has, parts that it has twice counted once.
func (d *Droplet) Size() int64 {
	total, seen := int64(len(d.raw)), map[string]bool{}
	for _, p := range d.parts() {
		if !seen[p.SHA256] {
			total += p.Size
		}
		seen[p.SHA256] = true
	}
	return total
}

// Program opens a program: a file open for reading only, which a tender takes
// as its descriptor. The caller closes it.
func (d *Droplet) Program(name string) (*os.File, error) {
	i := slices.IndexFunc(d.manifest.Programs, func(p Program) bool { return p.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no program %q: the droplet has %s", name, d.manifest.names())
	}
	return d.file(d.manifest.Programs[i].Part, checkProgramFile)
}

// Image opens the file-system image, as Program does. It is nil, without an
// error, where the droplet has none.
func (d *Droplet) Image() (*os.File, error) {
	if d.manifest.Image == nil {
		return nil, nil
	}
	return d.file(*d.manifest.Image, checkImageFile)
}

// SBOM is the bill of materials, CycloneDX JSON.
func (d *Droplet) SBOM() ([]byte, error) { return loadJSON(d.source, d.sbom) }

// Provenance tells how the droplet was made: an in-toto statement.
func (d *Droplet) Provenance() ([]byte, error) { return loadJSON(d.source, d.provenance) }

func loadJSON(s source, p Part) ([]byte, error) {
	b, err := load(s, p)
	if err == nil && !json.Valid(b) {
		err = invalid("%s is no JSON", p.SHA256)
	}
	return b, err
}

// file opens a part. One that does not come from a store is copied into memory
// that nobody can change, and verified there.
func (d *Droplet) file(p Part, check func(*os.File) error) (*os.File, error) {
	if d.store != nil {
		return d.store.open(p)
	}
	fd, err := unix.MemfdCreate("droplet", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make memory for a part: %w", err)
	}
	w := os.NewFile(uintptr(fd), "droplet")
	defer w.Close()
	if err := copyPart(w, d.source, p); err != nil {
		return nil, err
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(w.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("seal a part: %w", err)
	}
	if err := check(w); err != nil {
		return nil, err
	}
	// Opened again, it is read-only, and its name leads to it while it is open.
	again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a part: %w", err)
	}
	return os.NewFile(uintptr(again), fmt.Sprintf("/proc/self/fd/%d", again)), nil
}

func checkProgramFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return checkProgram(f, info.Size())
}

// checkImageFile walks a whole file-system image. It is mapped, not read: most
// of it is the contents of files, which need no check.
func checkImageFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the file-system image: %w", err)
	}
	defer unix.Munmap(b)
	return checkImage(b)
}

func checkImage(b []byte) error {
	r, err := image.Open(b)
	if err != nil {
		return invalid("%v", err)
	}
	if r.Size() != uint64(len(b)) {
		return invalid("the file-system image has %d bytes too many", uint64(len(b))-r.Size())
	}
	if err := r.Check(); err != nil {
		return invalid("%v", err)
	}
	return nil
}
