package std

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dewpaas/dew/guest/shadow"
)

// repository is the root of this one.
func repository(t *testing.T) string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// shadowRoot is a GOROOT whose os links the kernel and the library OS.
type shadowRoot struct {
	dir       string
	installed string          // the GOROOT that it shadows
	real      map[string]bool // folders that are real, others are symbolic links
}

// newRoot makes one. Programs without sockets need no more than the file half.
func newRoot(t *testing.T) string {
	installed, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	r := &shadowRoot{dir: filepath.Join(t.TempDir(), "goroot"), installed: strings.TrimSpace(string(installed)), real: map[string]bool{}}
	edits := map[string]string{}
	for _, e := range shadow.Edits() {
		if strings.Contains(e.New, "guest/socket") {
			continue
		}
		if _, ok := edits[e.File]; !ok {
			edits[e.File] = read(t, filepath.Join(r.installed, "src", e.File))
		}
		edits[e.File] = strings.Replace(edits[e.File], e.Old, e.New, 1)
	}
	for file, text := range edits {
		r.write(t, file, text)
	}
	repo := repository(t)
	r.copyTree(t, filepath.Join(repo, "guest/shadow/_std"), "")
	for _, room := range []string{"abi", "guest"} {
		r.copyTree(t, filepath.Join(repo, room), filepath.Join("internal/dew", room))
	}
	for _, name := range []string{"pkg", "bin", "go.env", "VERSION", "lib"} {
		os.Symlink(filepath.Join(r.installed, name), filepath.Join(r.dir, name))
	}
	return r.dir
}

func read(t *testing.T, path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// copyTree copies sources as they are seen in a guest.
func (r *shadowRoot) copyTree(t *testing.T, from, to string) {
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(from, path)
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && path != from && (name == "testdata" || name[0] == '_' || name == "shadow"):
			return filepath.SkipDir
		case d.IsDir() || strings.HasSuffix(name, "_test.go") || !strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, ".s"):
			return nil
		}
		text := read(t, path)
		if strings.Contains(text, "//go:build !dewguest\n") {
			return nil
		}
		text = strings.Replace(text, "//go:build dewguest\n", "", 1)
		r.write(t, filepath.Join(to, rel), strings.ReplaceAll(text, "github.com/dewpaas/dew/", "internal/dew/"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// write puts a file below src, whose folder becomes real.
func (r *shadowRoot) write(t *testing.T, file, text string) {
	r.open(t, filepath.Dir(file))
	path := filepath.Join(r.dir, "src", file)
	os.Remove(path)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// open makes a folder real: its entries become links to the installed ones.
func (r *shadowRoot) open(t *testing.T, folder string) {
	if r.real[folder] {
		return
	}
	r.real[folder] = true
	if folder != "." {
		r.open(t, filepath.Dir(folder))
	}
	path := filepath.Join(r.dir, "src", folder)
	os.Remove(path)
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(r.installed, "src", folder)
	entries, _ := os.ReadDir(source)
	for _, e := range entries {
		os.Symlink(filepath.Join(source, e.Name()), filepath.Join(path, e.Name()))
	}
}
