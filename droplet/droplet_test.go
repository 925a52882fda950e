package droplet

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
)

func TestEqualPartsGiveEqualBytes(t *testing.T) {
	one, err := os.ReadFile(exported(t))
	check(t, err)
	two, err := os.ReadFile(exported(t))
	check(t, err)
	if !bytes.Equal(one, two) {
		t.Error("two droplets of equal parts differ")
	}
}

func content(t *testing.T, f *os.File, err error) []byte {
	t.Helper()
	check(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	check(t, err)
	return b
}

// holds checks that a droplet gives back what spec put in.
func holds(t *testing.T, d *Droplet) {
	t.Helper()
	m := d.Manifest()
	if m.Format != FormatVersion || m.Kernel != KernelGo || m.Contract != abi.Version || m.Workdir != "/app" || len(m.Modules) != 2 ||
		m.Programs[0].Name != "hello" || m.Programs[1].Package != "example.com/hello/work" || m.Processes["worker"] != "bin/work" {
		t.Errorf("%+v", m)
	}
	for _, name := range []string{"hello", "work"} {
		f, err := d.Program(name)
		check(t, err)
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			t.Errorf("%s: a program can be written to", name)
		}
		if got := content(t, f, err); !bytes.Equal(got, program(name)) {
			t.Errorf("%s: %d other bytes", name, len(got))
		}
	}
	f, err := d.Image()
	if got := content(t, f, err); !bytes.Contains(got, []byte("<p>hello")) {
		t.Error("the image is not what was written")
	}
	if b, err := d.SBOM(); err != nil || !strings.Contains(string(b), "CycloneDX") {
		t.Errorf("%s, %v", b, err)
	}
	if b, err := d.Provenance(); err != nil || !strings.Contains(string(b), "in-toto") {
		t.Errorf("%s, %v", b, err)
	}
}

func TestADropletTravels(t *testing.T) {
	s := store(t)
	d, err := s.Write(spec(t))
	check(t, err)
	holds(t, d)
	path := filepath.Join(t.TempDir(), "app.dew")
	check(t, d.WriteFile(path))

	sent, err := Open(path)
	check(t, err)
	defer sent.Close()
	holds(t, sent)
	other := store(t)
	arrived, err := other.Import(sent)
	check(t, err)
	holds(t, arrived)
	if sent.Digest() != d.Digest() || arrived.Digest() != d.Digest() || arrived.Size() != d.Size() {
		t.Errorf("digests %s, %s, %s", d.Digest(), sent.Digest(), arrived.Digest())
	}
	again, err := other.Open("sha256:" + d.Digest())
	check(t, err)
	holds(t, again)
	check(t, again.WriteFile(path+"2"))
	one, _ := os.ReadFile(path)
	two, _ := os.ReadFile(path + "2")
	if !bytes.Equal(one, two) {
		t.Error("the file changed on its way through a store")
	}
}

// The file is an OCI image layout: unpacked by any tar it is one as a folder,
// which is read too, in whatever order another tool writes it.
func TestFolderAndForeignTar(t *testing.T) {
	path, dir := exported(t), t.TempDir()
	if out, err := exec.Command("tar", "-xf", path, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	d, err := Open(dir)
	check(t, err)
	defer d.Close()
	holds(t, d)
	foreign := filepath.Join(t.TempDir(), "foreign.tar")
	if out, err := exec.Command("tar", "-C", dir, "-cf", foreign, "./blobs", "./oci-layout", "./index.json").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	f, err := Open(foreign)
	check(t, err)
	defer f.Close()
	holds(t, f)
	if f.Digest() != d.Digest() {
		t.Error("another digest")
	}
}

func TestImportVerifiesEveryByte(t *testing.T) {
	path := exported(t)
	good, err := os.ReadFile(path)
	check(t, err)
	at := 0
	for at < len(good) {
		bad := bytes.Clone(good)
		bad[at] ^= 0x40
		check(t, os.WriteFile(path, bad, 0o644))
		s := store(t)
		d, err := Open(path)
		if err == nil {
			_, err = s.Import(d)
			d.Close()
		}
		// Padding of the tar is nobody's: what is imported must be the same.
		if left, _ := os.ReadDir(filepath.Join(s.dir, "droplets")); err != nil && len(left) > 0 {
			t.Fatalf("byte %d: refused, %v, but kept", at, err)
		}
		if err == nil {
			have, err := s.Open(d.Digest())
			check(t, err)
			holds(t, have)
		}
		at += 251
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	check(t, unix.Mkfifo(filepath.Join(dir, "oci-layout"), 0o600))
	for name, path := range map[string]string{
		"no tar":         write(t, []byte("hello")),
		"empty":          write(t, nil),
		"empty folder":   t.TempDir(),
		"pipe in folder": dir,
		"device":         "/dev/zero",
		"cut tar":        write(t, readSome(t, exported(t), 1000)),
	} {
		if d, err := Open(path); !errors.Is(err, ErrInvalid) || d != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func readSome(t *testing.T, path string, n int) []byte {
	b, err := os.ReadFile(path)
	check(t, err)
	return b[:n]
}

func TestFolderDoesNotLeadOut(t *testing.T) {
	dir := t.TempDir()
	secret := write(t, []byte(`{"imageLayoutVersion":"1.0.0"}`))
	check(t, os.Symlink(secret, filepath.Join(dir, "oci-layout")))
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Error(err)
	}
}

func TestTarWithTwoOfAName(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	check(t, entry(w, "index.json", 0))
	check(t, entry(w, "index.json", 0))
	check(t, w.Close())
	if _, err := Open(write(t, b.Bytes())); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestWriteRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Spec){
		"no program":      func(s *Spec) { s.Programs = nil },
		"same name twice": func(s *Spec) { s.Programs[1].Name = s.Programs[0].Name },
		"name with slash": func(s *Spec) { s.Programs[0].Name = "a/b" },
		"no ELF":          func(s *Spec) { s.Programs[0].Path = s.Image },
		"no image":        func(s *Spec) { s.Image = s.Programs[0].Path },
		"no JSON":         func(s *Spec) { s.SBOM = []byte("{") },
		"unknown program": func(s *Spec) { s.Manifest.Processes["web"] = "other" },
		"shell":           func(s *Spec) { s.Manifest.Processes["web"] = "hello && work" },
		"process type":    func(s *Spec) { s.Manifest.Processes["a b"] = "hello" },
		"workdir":         func(s *Spec) { s.Manifest.Workdir = "app" },
	} {
		p, s := spec(t), store(t)
		spoil(p)
		if d, err := s.Write(p); err == nil || d != nil {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(filepath.Join(s.dir, "droplets")); len(left) != 0 {
			t.Errorf("%s: %v is left", name, left)
		}
	}
}

// One program may be known by two names: its bytes are kept once.
func TestSharedParts(t *testing.T) {
	p, s := spec(t), store(t)
	p.Programs[0].Path = p.Programs[1].Path
	d, err := s.Write(p)
	check(t, err)
	blobs, err := os.ReadDir(filepath.Join(s.dir, "blobs/sha256"))
	check(t, err)
	if len(blobs) != 5 { // program, image, SBOM, provenance, manifest
		t.Errorf("%d blobs", len(blobs))
	}
	path := filepath.Join(t.TempDir(), "a")
	check(t, d.WriteFile(path))
	again, err := Open(path)
	check(t, err)
	defer again.Close()
}

// A part that came in as one kind is not trusted as another.
func TestAPartIsCheckedAsWhatItIs(t *testing.T) {
	p, s := spec(t), store(t)
	p.SBOM = []byte(`{"format":1}`)
	_, err := s.Write(p)
	check(t, err)
	p.Programs[0].Path = write(t, p.SBOM)
	if _, err := s.Write(p); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// A tender starts a program that any user may execute without copying it.
func TestOnlyProgramsAreExecutable(t *testing.T) {
	d, err := store(t).Write(spec(t))
	check(t, err)
	elf, err := d.Program(d.Manifest().Programs[0].Name)
	check(t, err)
	defer elf.Close()
	img, err := d.Image()
	check(t, err)
	defer img.Close()
	for f, want := range map[*os.File]os.FileMode{elf: 0o555, img: 0o444} {
		if info, err := f.Stat(); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", f.Name(), info.Mode(), err, want)
		}
	}
}

func TestWritersRace(t *testing.T) {
	s, p := store(t), spec(t)
	var racers sync.WaitGroup
	for range 8 {
		racers.Go(func() {
			d, err := s.Write(p)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s.Sweep(func(string, time.Time) bool { return true }); err != nil {
				t.Error(err)
			}
			f, err := d.Program("hello")
			if err != nil {
				t.Error(err)
				return
			}
			f.Close()
		})
	}
	racers.Wait()
}

func TestSweepKeepsWhatIsUsed(t *testing.T) {
	s, p := store(t), spec(t)
	old, err := s.Write(p)
	check(t, err)
	p.Programs[1].Path = write(t, program("newer"))
	young, err := s.Write(p)
	check(t, err)
	held, err := old.Program("hello")
	check(t, err)
	before := time.Now().Add(-time.Hour).Truncate(time.Second)
	check(t, os.Chtimes(s.manifestPath(old.Digest()), before, before))

	var seen time.Time
	freed, err := s.Sweep(func(digest string, used time.Time) bool {
		if digest == old.Digest() {
			seen = used
		}
		return digest != old.Digest()
	})
	check(t, err)
	if !seen.Equal(before) || freed < int64(len(program(""))) {
		t.Errorf("used %v, freed %d", seen, freed)
	}
	if _, err := s.Open(old.Digest()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if got := content(t, held, nil); !bytes.Equal(got, program("hello")) {
		t.Error("an open file changed")
	}
	f, err := young.Program("work") // shared with the old one
	content(t, f, err)
	if fine, err := s.Open(young.Digest()); err != nil || !reflect.DeepEqual(fine.Manifest(), young.Manifest()) {
		t.Error(err)
	}
}

func TestFullDiskLeavesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24k"); err != nil {
		t.Skip("needs to mount: ", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, 0) })
	s, err := OpenStore(dir)
	check(t, err)
	if _, err := s.Write(spec(t)); !errors.Is(err, unix.ENOSPC) {
		t.Error(err)
	}
	if _, err := s.Sweep(func(string, time.Time) bool { return true }); err != nil {
		t.Error(err)
	}
	for _, sub := range []string{".", "droplets", "blobs/sha256"} {
		s.each(sub, func(path string, info fs.FileInfo) error {
			if info.Name() != "lock" {
				t.Errorf("%s is left", path)
			}
			return nil
		})
	}
}

// without writes a droplet file anew, without some of the files in it.
func without(t *testing.T, path string, gone func(name string) bool) string {
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		if gone(h.Name) {
			continue
		}
		check(t, w.WriteHeader(h))
		_, err = io.Copy(w, r)
		check(t, err)
	}
	check(t, w.Close())
	return write(t, b.Bytes())
}

// TestADigestIsNoKey: whoever names parts that the store has, and cannot show
// them, does not get them.
func TestADigestIsNoKey(t *testing.T) {
	s := store(t)
	victim, err := s.Write(spec(t))
	check(t, err)
	file := filepath.Join(t.TempDir(), "app.dew")
	check(t, victim.WriteFile(file))
	image := blobName(victim.Manifest().Image.SHA256)

	same, err := Open(without(t, file, func(name string) bool { return name == image }))
	check(t, err)
	defer same.Close()
	if _, err := s.Import(same); !errors.Is(err, ErrInvalid) {
		t.Errorf("the manifest alone got the droplet: %v", err)
	}

	other := spec(t)
	other.Manifest.Toolchain = "go1.26.9"
	d, err := store(t).Write(other)
	check(t, err)
	file = filepath.Join(t.TempDir(), "other.dew")
	check(t, d.WriteFile(file))
	forged, err := Open(without(t, file, func(name string) bool { return name == image }))
	check(t, err)
	defer forged.Close()
	if _, err := s.Import(forged); !errors.Is(err, ErrInvalid) {
		t.Errorf("a digest got the image: %v", err)
	}
}
