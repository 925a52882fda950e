package source

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// folder makes files from a list: "path", "path/" for a folder, "path -> link".
func folder(t *testing.T, list ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, item := range list {
		path, content, _ := strings.Cut(item, "=")
		name, link, isLink := strings.Cut(path, " -> ")
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case isLink:
			err = os.Symlink(link, full)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(full, 0o755)
		default:
			err = os.WriteFile(full, []byte(strings.ReplaceAll(content, ";", "\n")), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func paths(t *Tree) string {
	var list []string
	for _, e := range t.Entries {
		list = append(list, e.Path)
	}
	return strings.Join(list, " ")
}

func TestWhatIsSent(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		want  string
	}{
		{"all but what is never sent", []string{"main.go", "go.mod", ".git/HEAD", ".gitignore", ".DS_Store", "manifest.yml", "sub/manifest.yaml", "sub/.hg/x", "sub/a", ".cfignore", ".env"},
			".env go.mod main.go sub sub/a"},
		{"what .cfignore names is left out", []string{".cfignore=*.log;/build;# a comment;;tmp/", "a.log", "sub/b.log", "build/x", "sub/build/y", "tmp/z", "main.go"},
			"main.go sub sub/build sub/build/y tmp"}, // tmp itself goes, empty, as cf sends it
		{"an exclamation mark brings back", []string{".cfignore=data/*;!data/keep", "data/keep", "data/drop", "main.go"}, "data data/keep main.go"},
		{"but not what is never sent", []string{".cfignore=!.git;!.git/HEAD", ".git/HEAD", "main.go"}, "main.go"},
		{"empty folders and files", []string{"empty/", "zero"}, "empty zero"},
		{"links", []string{"a", "link -> a", "dir/up -> ../a"}, "a dir dir/up link"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree, err := Open(folder(t, c.files...))
			if err != nil {
				t.Fatal(err)
			}
			defer tree.Close()
			if got := paths(tree); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

// TestZipOfATree: modes, links and bytes arrive, and the same files make the
// same zip.
func TestZipOfATree(t *testing.T) {
	dir := folder(t, "main.go=package main", "data/x=12345", "link -> data/x", "run.sh=#!/bin/sh", "empty/")
	if err := os.Chmod(filepath.Join(dir, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	tree, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	var first, second bytes.Buffer
	if err := errors.Join(tree.WriteZip(&first, map[string]bool{"data/x": true}), tree.WriteZip(&second, map[string]bool{"data/x": true})); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two zips of the same files differ")
	}
	z, err := zip.NewReader(bytes.NewReader(first.Bytes()), int64(first.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%v %s %s", f.Mode(), f.Name, b))
	}
	want := []string{"drwxr-xr-x data/ ", "drwxr-xr-x empty/ ", "Lrwxrwxrwx link data/x", "-rw-r--r-- main.go package main", "-rwxr-xr-x run.sh #!/bin/sh"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDigests(t *testing.T) {
	tree, err := Open(folder(t, "a=hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if e := tree.Entries[0]; e.SHA1 != sha1.Sum([]byte("hello")) || e.Size != 5 || !e.Mode.IsRegular() {
		t.Errorf("%+v", e)
	}
}

// TestZipIsPushed: a zip is a tree like the folder that it was made of.
func TestZipIsPushed(t *testing.T) {
	dir := folder(t, "main.go=package main", ".cfignore=secret", "secret", "link -> main.go", ".git/HEAD")
	path := filepath.Join(t.TempDir(), "app.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(f)
	raw := &Tree{root: os.DirFS(dir)}
	for _, name := range []string{"main.go", ".cfignore", "secret", "link", ".git/HEAD"} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		e, err := raw.entry(name, fs.FileInfoToDirEntry(info))
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.add(w, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	tree, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if got := paths(tree); got != "link main.go" || tree.Entries[0].Link != "main.go" {
		t.Errorf("%s, %+v", got, tree.Entries)
	}
}

func TestWhatIsRefused(t *testing.T) {
	empty := folder(t, ".git/HEAD", "manifest.yml")
	if _, err := Open(empty); !errors.Is(err, ErrEmpty) {
		t.Errorf("a folder without a file: %v", err)
	}
	if _, err := Open(filepath.Join(empty, "manifest.yml")); err == nil || !strings.Contains(err.Error(), "neither a folder nor a zip") {
		t.Errorf("a file that is no zip: %v", err)
	}
	if _, err := Open(filepath.Join(empty, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	pipe := folder(t, "main.go")
	if err := unix.Mkfifo(filepath.Join(pipe, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(pipe); err == nil || !strings.Contains(err.Error(), "pipe is neither file, folder nor link") {
		t.Errorf("a pipe: %v", err)
	}
}

// TestFileThatChanges: what arrives must be what was matched.
func TestFileThatChanges(t *testing.T) {
	dir := folder(t, "a=before")
	tree, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("after"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tree.WriteZip(io.Discard, nil); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "pack a") {
		t.Errorf("error %v", err)
	}
}
