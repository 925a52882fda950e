package std

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/abi/image"
	"github.com/dewpaas/dew/stager/goroot"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/process"
)

// leftOut reads the table of docs/std-tests.md: package to names of tests.
func leftOut(t *testing.T) map[string][]string {
	b, err := os.ReadFile("../../docs/std-tests.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z/]+)` \\| ([^|]+) \\|").FindAllStringSubmatch(string(b), -1) {
		for _, name := range strings.Fields(m[2]) {
			out[m[1]] = append(out[m[1]], strings.Trim(name, "`"))
		}
	}
	return out
}

// inside is for looking at one test: -run=/net$ -inside="-test.run=TestDial -test.v".
var inside = flag.String("inside", "", "more `arguments` for the tests inside")

func TestStandardLibraryInsideAGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a minute")
	}
	td, err := process.New()
	if err != nil {
		t.Skip(err)
	}
	root := shadow(t)
	skip := leftOut(t)
	for _, c := range packages {
		t.Run(strings.ReplaceAll(c.name, "/", "."), func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "program")
			build(t, root, filepath.Join(root.Dir, "src"), "test", "-c", "-tags="+c.tags, "-o", program, "./"+c.name)
			args := append([]string{"-test.short", "-test.timeout=90s"}, strings.Fields(*inside)...)
			if len(skip[c.name]) > 0 {
				args = append(args, "-test.skip=^("+strings.Join(skip[c.name], "|")+")$")
			}
			runGuest(t, td, program, "/src/"+c.name, imageOf(t, append(c.files, "src/"+c.name)...), args)
		})
	}
}

// packages are those whose tests run in a guest.
var packages = []struct {
	name  string
	tags  string
	files []string // below GOROOT, beyond the package's own
}{
	{name: "io"},
	{name: "bufio"},
	{name: "context"},
	{name: "sync"},
	// timetzdata: the package's own init, which is before the library OS's, loads a zone.
	{name: "time", tags: "timetzdata", files: []string{"lib/time"}},
	{name: "os"},
	{name: "io/fs"},
	{name: "path/filepath"},
	{name: "os/signal"},
	{name: "net/netip"},
	{name: "net", files: []string{"src/testdata"}},
	{name: "net/textproto"},
	{name: "net/mail"},
	{name: "net/smtp"},
	{name: "net/rpc"},
	{name: "net/http/httptest"},
	{name: "net/http/httputil"},
	{name: "crypto/tls"},
	{name: "net/http"},
}

func TestPointersWhileStacksMove(t *testing.T) {
	td, err := process.New()
	if err != nil {
		t.Skip(err)
	}
	program := filepath.Join(t.TempDir(), "program")
	dir, _ := filepath.Abs("../guests/pointers")
	build(t, shadow(t), dir, "build", "-o", program, ".")
	runGuest(t, td, program, "/", nil, []string{"-rounds=20"})
}

// shadow is the standard library as droplets are built with it, kept for the
// next run beside the go command's own cache.
func shadow(t *testing.T) *goroot.Root {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	r, err := goroot.Open(t.Context(), filepath.Join(cache, "dew", "goroot"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func build(t *testing.T, root *goroot.Root, dir string, args ...string) {
	cmd := exec.Command(root.Go(), args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), root.Env()...), "GOFLAGS=-buildvcs=false")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, b)
	}
}

// runGuest runs a program and wants it to end well.
func runGuest(t *testing.T, td *process.Tender, program, dir string, img *os.File, args []string) {
	elf, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer elf.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	i, err := td.Start(ctx, &tender.Spec{Name: fmt.Sprintf("std-%d-%s", os.Getpid(), strings.ReplaceAll(strings.Trim(dir, "/"), "/", "-")), Program: elf, Image: img,
		Stdout: w, DieWithCaller: true, Boot: boot.Config{Args: append([]string{"/program"}, args...), Workdir: dir, CPUs: 2,
			Env: []string{"TMPDIR=/tmp", "HOME=/", "GOROOT=/"}, OverlayQuota: 256 << 20, MemoryLimit: 1 << 30}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer i.Kill()
	var out bytes.Buffer
	defer context.AfterFunc(ctx, func() { // what does it wait for?
		ask, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stacks, err := i.Link().Ask(ask, control.Stacks, nil)
		t.Logf("it does not end: %v\n%s", err, stacks)
		i.Kill()
	})()
	io.Copy(&out, io.LimitReader(r, 1<<20))
	e, err := i.Wait(t.Context())
	switch {
	case err != nil || e.Status != 0 || e.Reason != tender.Exited:
		t.Errorf("%v, %v\n%s", e, err, out.String())
	case *inside != "":
		t.Log(out.String())
	}
}

// imageOf is a file-system image with folders of GOROOT, which tests read.
func imageOf(t *testing.T, folders ...string) *os.File {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	base := strings.TrimSpace(string(goroot))
	sources := []image.Source{
		{Path: "tmp", Mode: image.ModeDir | 0o1777},
		{Path: "usr/bin/some", Mode: image.ModeRegular | 0o755, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }},
	}
	for _, folder := range folders {
		err = filepath.WalkDir(filepath.Join(base, folder), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := os.Stat(p)
			rel, _ := filepath.Rel(base, p)
			sources = append(sources, image.Source{Path: rel, Mode: image.ModeRegular | 0o644, Size: uint64(info.Size()),
				Open: func() (io.ReadCloser, error) { return os.Open(p) }})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := image.Write(f, sources); err != nil {
		t.Fatal(err)
	}
	return f
}
