package image

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func file(path, content string) Source {
	return Source{Path: path, Mode: ModeRegular | 0o644, Size: uint64(len(content)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
}

func sampleSources() []Source {
	return []Source{
		file("app/web", strings.Repeat("x", 5000)),
		file("app/public/index.html", "<p>hello"),
		file("app/empty", ""),
		{Path: "app/current", Mode: ModeSymlink | 0o777, Target: "public"},
		{Path: "tmp", Mode: ModeDir | 0o1777},
		file("etc/hosts", "127.0.0.1 localhost\n"),
	}
}

func encode(t testing.TB, sources []Source) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, sources); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// walk finds a path the way a guest does, without following links.
func walk(t *testing.T, r *Reader, path string) Info {
	t.Helper()
	i, err := r.Stat(0)
	for _, part := range strings.Split(path, "/") {
		if err != nil {
			break
		}
		var ino Ino
		if ino, err = r.Lookup(i, part); err == nil {
			i, err = r.Stat(ino)
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return i
}

func TestReaderFindsWhatWasWritten(t *testing.T) {
	r, err := Open(encode(t, sampleSources()))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	for _, s := range sampleSources() {
		i := walk(t, r, s.Path)
		if i.Mode != s.Mode {
			t.Errorf("%s: mode %o, want %o", s.Path, i.Mode, s.Mode)
		}
		switch s.Mode & ModeKind {
		case ModeRegular:
			want, _ := s.Open()
			wantBytes, _ := io.ReadAll(want)
			got, err := r.Content(i)
			if err != nil || !bytes.Equal(got, wantBytes) {
				t.Errorf("%s: %d bytes, error %v", s.Path, len(got), err)
			}
			if len(got) > 0 && r.Offset(i)%BlockSize != 0 {
				t.Errorf("%s begins at %d, not on a block", s.Path, r.Offset(i))
			}
		case ModeSymlink:
			if got, err := r.Target(i); err != nil || string(got) != s.Target {
				t.Errorf("%s: target %q, error %v", s.Path, got, err)
			}
		}
	}
	if app := walk(t, r, "app"); app.Links != 3 || app.Size != 4 {
		t.Errorf("app has %d links and %d entries, want 3 and 4", app.Links, app.Size)
	}
	if _, err := r.Lookup(walk(t, r, "app"), "nothing"); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing name: %v", err)
	}
}

func TestOrderOfSourcesDoesNotMatter(t *testing.T) {
	want := encode(t, sampleSources())
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		s := sampleSources()
		rng.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
		if !bytes.Equal(encode(t, s), want) {
			t.Fatal("another order of the same sources gave other bytes")
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	for name, sources := range map[string][]Source{
		"escape":      {file("../etc/passwd", "x")},
		"absolute":    {file("/etc/passwd", "x")},
		"dot":         {file("a/./b", "x")},
		"empty":       {file("", "x")},
		"twice":       {file("a", "x"), file("a", "y")},
		"file as dir": {file("a", "x"), file("a/b", "y")},
		"long name":   {file(strings.Repeat("n", MaxName+1), "x")},
		"shrunk": {{Path: "a", Mode: ModeRegular, Size: 5,
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("1234")), nil }}},
		"grown": {{Path: "a", Mode: ModeRegular, Size: 5,
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("123456")), nil }}},
	} {
		if err := Write(io.Discard, sources); err == nil {
			t.Errorf("%s was written", name)
		}
	}
}

func TestCheckRefusesDamage(t *testing.T) {
	good := encode(t, sampleSources())
	entries := headerSize + len(sampleInodes(t, good))*inodeSize
	for name, damage := range map[string]func(b []byte){
		"inode count":        func(b []byte) { b[8] = 0xff; b[9] = 0xff },
		"no inodes":          func(b []byte) { copy(b[8:12], "\x00\x00\x00\x00") },
		"size beyond":        func(b []byte) { b[20] = 1 },
		"names beyond":       func(b []byte) { b[30] = 1 },
		"root is a file":     func(b []byte) { b[headerSize+1] = 0x81 },
		"mode of no kind":    func(b []byte) { b[headerSize+inodeSize+1] = 0 },
		"entry to no inode":  func(b []byte) { b[entries] = 0xff },
		"entry to the root":  func(b []byte) { b[entries] = 0 },
		"name too long":      func(b []byte) { b[entries+5] = 0xff },
		"name beyond":        func(b []byte) { b[entries+12] = 0xff },
		"directory twice":    func(b []byte) { copy(b[entries+entrySize:], b[entries:entries+4]) },
		"content in headers": func(b []byte) { setRegularAt(t, b, 8) },
	} {
		t.Run(name, func(t *testing.T) {
			b := slices.Clone(good)
			damage(b)
			r, err := Open(b)
			if err == nil {
				err = r.Check()
			}
			if err == nil {
				t.Error("accepted")
			}
		})
	}
}

func sampleInodes(t *testing.T, b []byte) []Info {
	r, err := Open(b)
	if err != nil {
		t.Fatal(err)
	}
	var all []Info
	for ino := range r.Files() {
		i, err := r.Stat(Ino(ino))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, i)
	}
	return all
}

func setRegularAt(t *testing.T, b []byte, at byte) {
	for _, i := range sampleInodes(t, b) {
		if i.Mode&ModeKind == ModeRegular && i.Size > 0 {
			copy(b[headerSize+int(i.Ino)*inodeSize+24:], []byte{at, 0, 0, 0, 0, 0, 0, 0})
			return
		}
	}
	t.Fatal("no regular file")
}

// FuzzOpen: whatever the bytes, nothing is read outside them, and an image
// that Check accepts can be walked to its last byte in bounded steps.
func FuzzOpen(f *testing.F) {
	f.Add(encode(f, sampleSources()))
	f.Add(encode(f, nil))
	f.Add([]byte(Magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Open(b)
		if err != nil {
			return
		}
		checked := r.Check() == nil
		for ino := range r.Files() {
			i, err := r.Stat(Ino(ino))
			if err != nil {
				if checked {
					t.Fatalf("inode %d of a checked image: %v", ino, err)
				}
				continue
			}
			read(t, r, i, checked)
		}
	})
}

func read(t *testing.T, r *Reader, i Info, checked bool) {
	switch i.Mode & ModeKind {
	case ModeRegular:
		c, err := r.Content(i)
		if err != nil || uint64(len(c)) != i.Size {
			t.Fatalf("content of %d bytes, size %d, error %v", len(c), i.Size, err)
		}
	case ModeSymlink:
		if _, err := r.Target(i); err != nil {
			t.Fatal(err)
		}
	case ModeDir:
		for n := range min(i.Size, 1000) {
			e, err := r.Entry(i, n)
			if !checked {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if ino, err := r.Lookup(i, string(e.Name)); err != nil || ino != e.Ino {
				t.Fatalf("lookup of %q: %d, error %v", e.Name, ino, err)
			}
		}
	}
}
