package metal

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dewpaas/dew/stager/goroot"
	"github.com/dewpaas/dew/stager/pvh"
)

var guest struct {
	once sync.Once
	elf  []byte
}

// program builds testdata/app as a bootable ELF, once.
func program(t *testing.T) []byte {
	guest.once.Do(func() { guest.elf = build(t, "app") })
	if guest.elf == nil {
		t.Fatal("the program could not be built")
	}
	return guest.elf
}

// build builds a program of testdata as droplets are built, and makes it bootable.
func build(t *testing.T, name string) []byte {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	root, err := goroot.Open(t.Context(), filepath.Join(cache, "dew", "goroot"))
	check(t, err)
	out := filepath.Join(t.TempDir(), name)
	cmd := exec.Command(root.Go(), "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = filepath.Join("testdata", name)
	cmd.Env = append(append(os.Environ(), root.Env()...), "GOFLAGS=")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, b)
	}
	plain, err := os.ReadFile(out)
	check(t, err)
	elf, err := pvh.Convert(plain)
	check(t, err)
	return elf
}
