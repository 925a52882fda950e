package blob

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
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
		{"many folders", pack(t, entry{"a/b/c/x", 0o644, ""}), true},
		{"too many folders", pack(t, entry{"a/b/c/d/x", 0o644, ""}), false},
		{"too many folders of two names", pack(t, entry{"a/b/x", 0o644, ""}, entry{"c/d/x", 0o644, ""}), false},
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

func TestLinks(t *testing.T) {
	link := func(name, target string) entry { return entry{name, fs.ModeSymlink | 0o777, target} }
	for _, c := range []struct {
		say     string
		entries []entry
		ok      bool
	}{
		{"to a file beside it", []entry{{"a", 0o644, ""}, link("l", "a")}, true},
		{"up and down again", []entry{{"d/a", 0o644, ""}, link("d/l", "../d/a")}, true},
		{"to nothing", []entry{link("l", "missing")}, true},
		{"to the top", []entry{link("d/l", "..")}, true},
		{"out", []entry{link("l", "..")}, false},
		{"far out", []entry{link("d/l", "../../x")}, false},
		{"absolute", []entry{link("l", "/x")}, false},
		{"empty", []entry{link("l", "")}, false},
		{"out through another link", []entry{link("s/d", ".."), link("l", "s/d/../x")}, false},
		{"a file below a link", []entry{link("d", "."), {"d/a", 0o644, ""}}, false},
		{"a file below a file", []entry{{"d", 0o644, ""}, {"d/a", 0o644, ""}}, false},
		{"very long", []entry{link("l", strings.Repeat("a/", 3000)+"a")}, false},
	} {
		data := pack(t, c.entries...)
		if err := Check(bytes.NewReader(data), int64(len(data)), small); (err == nil) != c.ok {
			t.Errorf("%s: %v, want it to pass: %v", c.say, err, c.ok)
		}
	}
}

func TestPutZipTakesFromOlderOnes(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := func(text string) File { return File{sha1.Sum([]byte(text)), int64(len(text))} }
	old, err := s.PutZip(bytes.NewReader(pack(t, entry{"a", 0o644, "text"}, entry{"b", 0o644, ""})), 1<<20, nil, nil, small)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Has([]string{"none", old}, file("text")) || s.Has([]string{old}, file("other")) || s.Has(nil, file("text")) {
		t.Error("the index does not know what is in the zip")
	}
	wants := []Want{{file("text"), "deep/copy", 0o755}}
	sum, err := s.PutZip(bytes.NewReader(pack(t, entry{"new", 0o644, "n"})), 1<<20, []string{old}, wants, small)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(s.Path(sum))
	if err != nil || len(z.File) != 2 || z.File[1].Name != "deep/copy" || z.File[1].Mode() != 0o755 {
		t.Fatalf("%v, %v", z, err)
	}
	z.Close()
	again, err := Open(filepath.Dir(s.Path(sum))) // indexes are on disk
	if err != nil || !again.Has([]string{sum}, file("text")) || !again.Has([]string{sum}, file("n")) {
		t.Errorf("after opening anew: %v", err)
	}
	many := make([]Want, 1<<16)
	for i := range many {
		many[i] = Want{file("text"), strconv.Itoa(i), 0o644}
	}
	for say, c := range map[string]struct {
		wants []Want
		err   error
	}{"unknown": {[]Want{{file("other"), "x", 0o644}}, ErrNoFile}, "a bomb of copies": {many, ErrZip}, "a path that leaves": {[]Want{{file("text"), "../x", 0o644}}, ErrZip}} {
		if _, err := s.PutZip(nil, 0, []string{old}, c.wants, small); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", say, err, c.err)
		}
	}
	if err := os.Remove(s.Path(old)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutZip(nil, 0, []string{old}, wants, small); !errors.Is(err, ErrNoFile) {
		t.Errorf("from a package that is gone: %v", err)
	}
}

func TestSweep(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var sums []string
	for _, name := range []string{"a", "b"} {
		sum, err := s.PutZip(bytes.NewReader(pack(t, entry{name, 0o644, name})), 1<<20, nil, nil, small)
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, sum)
	}
	needed := func(sum string) bool { return sum == sums[0] }
	if n, err := s.Sweep(time.Now().Add(-time.Hour), needed); n != 0 || err != nil {
		t.Errorf("swept %d young ones, %v", n, err)
	}
	if n, err := s.Sweep(time.Now().Add(time.Hour), needed); n != 1 || err != nil {
		t.Errorf("swept %d, %v: want the one that nobody needs", n, err)
	}
	left, err := os.ReadDir(filepath.Dir(s.Path("x")))
	if err != nil || len(left) != 2 {
		t.Errorf("%d files are left, %v: want a zip and its index", len(left), err)
	}
}

func TestOpenRemovesWhatWasTorn(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "upload-1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// FuzzCheck: a zip that passes unpacks, within the limits, and nothing in it
// leads out of the folder.
func FuzzCheck(f *testing.F) {
	f.Add(pack(f, entry{"a/b", 0o644, "c"}))
	f.Add(pack(f, entry{"../b", 0o644, "c"}))
	f.Add(pack(f, entry{"l", fs.ModeSymlink, "/"}))
	f.Add(pack(f, entry{"s/d", fs.ModeSymlink, ".."}, entry{"l", fs.ModeSymlink, "s/d"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if Check(bytes.NewReader(data), int64(len(data)), small) != nil {
			return
		}
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatalf("passed, but: %v", err)
		}
		dir := t.TempDir()
		var links []string
		for _, file := range z.File {
			at := filepath.Join(dir, file.Name)
			if file.Mode().IsDir() {
				continue
			}
			if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
				return // a name that this file system does not take
			}
			in, err := file.Open()
			if err != nil {
				t.Fatalf("passed, but: %v", err)
			}
			text, err := io.ReadAll(in)
			if err != nil {
				t.Fatalf("passed, but: %v", err)
			}
			if file.Mode()&fs.ModeSymlink != 0 {
				links = append(links, at)
				err = os.Symlink(string(text), at)
			} else {
				err = os.WriteFile(at, text, 0o600)
			}
			if err != nil {
				return
			}
		}
		for _, link := range links {
			to, err := filepath.EvalSymlinks(link)
			if err == nil && to != dir && !strings.HasPrefix(to, dir+"/") {
				t.Fatalf("%s leads to %s", link, to)
			}
		}
	})
}
