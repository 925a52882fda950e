package goroot

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dewpaas/dew/guest/shadow"
)

func installed(t *testing.T) Installed {
	i, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// The whole shadow, as the go command sees it: std lists and every package of
// the library OS is found in it.
func TestGoCommandAcceptsTheShadow(t *testing.T) {
	r, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(r.Go(), "list", "-deps", "-f", "{{.Goroot}} {{.ImportPath}}", "net/http")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), r.Env()...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"true os\n", "true internal/dew/guest/syscall\n", "true internal/dew/guest/kernel\n", "true internal/dew/abi\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(string(out), "github.com/dewpaas") {
		t.Errorf("std depends on a module of ours\n%s", out)
	}
}

func TestRacingProcessesMakeOneShadow(t *testing.T) {
	cache, i := t.TempDir(), installed(t)
	var racers sync.WaitGroup
	dirs := make([]string, 4)
	for n := range dirs {
		racers.Go(func() {
			r, err := i.Shadow(cache)
			if err != nil {
				t.Error(err)
				return
			}
			dirs[n] = r.Dir
		})
	}
	racers.Wait()
	entries, err := os.ReadDir(cache)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v: want one complete shadow and nothing else", entries, err)
	}
	for _, d := range dirs {
		if filepath.Base(d) != entries[0].Name() {
			t.Errorf("%s is not %s", d, entries[0].Name())
		}
	}
}

// fake is a Go installation with the files that are edited and nothing else.
func fake(t *testing.T, version string) Installed {
	real, dir := installed(t), t.TempDir()
	for _, e := range shadow.Edits() {
		b, err := os.ReadFile(filepath.Join(real.Dir, "src", e.File))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "src", e.File), string(b))
	}
	return Installed{dir, version}
}

func write(t *testing.T, path, text string) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOtherReleasesAreRefusedByName(t *testing.T) {
	for version, ok := range map[string]bool{"go1.26": true, "go1.26.99": true, "go1.26.3 X:nogreenteagc": true,
		"go1.25.9": false, "go1.27": false, "go1.260": false, "go1.26rc1": false, "devel go1.27-abcdef": false, "": false} {
		_, err := fake(t, version).Shadow(t.TempDir())
		if ok != (err == nil) {
			t.Errorf("%s: %v", version, err)
		}
		if err != nil && (!errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "supported are go1.26")) {
			t.Errorf("%s: %v does not name the supported versions", version, err)
		}
	}
}

func TestAnEditThatDoesNotMatchOnceIsRefused(t *testing.T) {
	e := shadow.Edits()[0]
	for name, text := range map[string]string{"none": "package syscall\n", "two": e.Old + e.Old} {
		i, cache := fake(t, "go1.26.8"), t.TempDir()
		write(t, filepath.Join(i.Dir, "src", e.File), text)
		if _, err := i.Shadow(cache); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), e.File) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(cache); len(left) != 0 {
			t.Errorf("%s: %v is left behind", name, left)
		}
	}
}

// What changes a shadow changes its name: the installed Go, wherever it lies.
func TestKeyCoversTheInstalledFiles(t *testing.T) {
	cache := t.TempDir()
	i := fake(t, "go1.26.8")
	before, err := i.Shadow(cache)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(i.Dir, "src", shadow.Edits()[0].File)
	b, _ := os.ReadFile(file)
	write(t, file, string(b)+"// patched by a distribution\n")
	after, err := i.Shadow(cache)
	if err != nil || after.Dir == before.Dir {
		t.Errorf("%v, %v", after, err)
	}
}

func TestNoGoOnThisMachine(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := command(filepath.Join(t.TempDir(), "go")); !errors.Is(err, ErrNoGo) || !strings.Contains(err.Error(), "go1.26") {
		t.Error(err)
	}
}
