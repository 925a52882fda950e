package blob

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type entry struct {
	name string
	mode fs.FileMode
	body string
}

func pack(t testing.TB, entries ...entry) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(e.mode)
		w, err := z.CreateHeader(h)
		if err == nil && !strings.HasSuffix(e.name, "/") {
			_, err = io.WriteString(w, e.body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var small = Limits{Bytes: 1 << 16, Files: 3}

func TestCheck(t *testing.T) {
	good := pack(t, entry{"main.go", 0o644, "package main"}, entry{"d/", fs.ModeDir | 0o755, ""}, entry{"d/x", 0o755, "y"})
	for _, c := range []struct {
		say string
		zip []byte
		ok  bool
	}{
		{"files and folders", good, true},
		{"cut short", good[:len(good)-9], false},
		{"no zip", []byte("hello"), false},
		{"a bomb", pack(t, entry{"zeros", 0o644, strings.Repeat("0", 1<<16+1)}), false},
		{"path escape", pack(t, entry{"../x", 0o644, ""}), false},
		{"absolute path", pack(t, entry{"/etc/passwd", 0o644, ""}), false},
		{"backslash", pack(t, entry{`..\x`, 0o644, ""}), false},
		{"symlink", pack(t, entry{"l", fs.ModeSymlink | 0o777, "/etc/passwd"}), false},
		{"device", pack(t, entry{"d", fs.ModeDevice | 0o600, ""}), false},
		{"twice", pack(t, entry{"a", 0o644, ""}, entry{"a", 0o644, ""}), false},
		{"too many", pack(t, entry{"a", 0o644, ""}, entry{"b", 0o644, ""}, entry{"c", 0o644, ""}, entry{"d", 0o644, ""}), false},
	} {
		err := Check(bytes.NewReader(c.zip), int64(len(c.zip)), small)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrZip) {
			t.Errorf("%s: %v", c.say, err)
		}
	}
}

func TestPutKeepsAllOrNothing(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	fine := func(io.ReaderAt, int64) error { return nil }
	sum, err := s.Put(strings.NewReader("abc"), 3, fine)
	if err != nil || sum != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Fatalf("%s, %v", sum, err)
	}
	if _, err := s.Put(strings.NewReader("abcd"), 3, fine); !errors.Is(err, ErrSize) {
		t.Errorf("over the limit: %v", err)
	}
	if _, err := s.Put(strings.NewReader("abd"), 3, func(io.ReaderAt, int64) error { return ErrZip }); !errors.Is(err, ErrZip) {
		t.Errorf("refused: %v", err)
	}
	left, err := os.ReadDir(filepath.Dir(s.Path("x")))
	if err != nil || len(left) != 1 {
		t.Errorf("%d files are left, %v: want the one good blob", len(left), err)
	}
}

// FuzzCheck: a zip that passes unpacks, within the limits, inside a folder.
func FuzzCheck(f *testing.F) {
	f.Add(pack(f, entry{"a/b", 0o644, "c"}))
	f.Add(pack(f, entry{"../b", 0o644, "c"}))
	f.Add(pack(f, entry{"l", fs.ModeSymlink, "/"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if Check(bytes.NewReader(data), int64(len(data)), small) != nil {
			return
		}
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatalf("passed, but: %v", err)
		}
		for _, file := range z.File {
			if !filepath.IsLocal(file.Name) || file.Mode()&fs.ModeSymlink != 0 {
				t.Fatalf("passed: %q %v", file.Name, file.Mode())
			}
		}
	})
}
