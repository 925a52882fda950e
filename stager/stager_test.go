package stager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi/image"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/stager/sandbox"
)

func TestMain(m *testing.M) {
	if sandbox.Inside() {
		os.Exit(sandbox.Serve())
	}
	os.Exit(m.Run())
}

// workshop is a builder with the user's caches, so that the standard library is
// compiled once on a machine and not once a test.
func workshop(t testing.TB) *Builder {
	cache, err := os.UserCacheDir()
	check(t, err)
	b, err := New(context.Background(), Config{Cache: filepath.Join(cache, "dew", "stager"), Common: filepath.Join(cache, "dew"), SandboxOptional: true})
	check(t, err)
	return b
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func store(t testing.TB) *droplet.Store {
	s, err := droplet.OpenStore(t.TempDir())
	check(t, err)
	return s
}

// tree is source from "-- name --" parts.
type tree map[string]string

func (s tree) fs() fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range s {
		m[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return m
}

// with adds files to a tree.
func (s tree) with(more tree) tree {
	all := tree{}
	for _, t := range []tree{s, more} {
		for k, v := range t {
			all[k] = v
		}
	}
	return all
}

const mod = "module example.com/app\n\ngo 1.26\n"

// program prints what it is.
func program(says string) string {
	return fmt.Sprintf("package main\n\nimport \"os\"\n\nvar Says = %q\n\nfunc main() { os.Stdout.WriteString(Says + \"\\n\") }\n", says)
}

var simple = tree{"go.mod": mod, "main.go": program("hello")}

// build builds and wants it to work.
func build(t *testing.T, r *Request) *droplet.Droplet {
	t.Helper()
	var log bytes.Buffer
	r.Log = &log
	d, err := workshop(t).Build(t.Context(), r, store(t))
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	return d
}

// output runs a program of a droplet as an ordinary process, which every
// droplet's program still is.
func output(t *testing.T, d *droplet.Droplet, name string) string {
	t.Helper()
	f, err := d.Program(name)
	check(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	check(t, err)
	path := filepath.Join(t.TempDir(), "program")
	check(t, os.WriteFile(path, b, 0o755))
	out, err := exec.Command(path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// The main promise: folder, caches, sandbox and machine leave no trace.
func TestEqualSourceGivesAnEqualDigest(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a part of the standard library")
	}
	source := tree{"go.mod": mod, "main.go": program("hello"), "static/a.txt": "a", "b/b.go": "package b\n"}
	warm := build(t, &Request{Files: source.fs()})
	dir := t.TempDir()
	check(t, os.CopyFS(dir, source.fs()))
	check(t, os.Chtimes(filepath.Join(dir, "main.go"), time.Unix(1, 0), time.Unix(1, 0)))
	check(t, os.MkdirAll(filepath.Join(dir, ".git/objects"), 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "app.dew"), []byte("an earlier one"), 0o644))
	cold, err := New(t.Context(), Config{Cache: t.TempDir(), NoSandbox: true})
	check(t, err)
	other, err := cold.Build(t.Context(), &Request{Files: os.DirFS(dir)}, store(t))
	check(t, err)
	if warm.Digest() != other.Digest() {
		t.Errorf("%s, %+v\n%s, %+v", warm.Digest(), warm.Manifest(), other.Digest(), other.Manifest())
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	// A cache of its own: others may build in the user's.
	b, err := New(t.Context(), Config{Cache: t.TempDir(), Common: workshop(t).c.Common, SandboxOptional: true})
	check(t, err)
	s := store(t)
	for name, r := range map[string]*Request{"well": {Files: simple.fs(), Tenant: "a"}, "badly": {Files: tree{"go.mod": mod, "main.go": "package main\nfunc main() { x }\n"}.fs(), Tenant: "a"}} {
		if _, err := b.Build(t.Context(), r, s); (err == nil) != (name == "well") {
			t.Error(name, err)
		}
		after, err := os.ReadDir(filepath.Join(b.c.Cache, "work"))
		check(t, err)
		if len(after) > 0 {
			t.Errorf("ended %s: %v is left", name, after)
		}
	}
}

func TestDropletTellsWhatItIs(t *testing.T) {
	d := build(t, &Request{Files: simple.fs()})
	m := d.Manifest()
	if m.Processes["web"] != "app" || len(m.Programs) != 1 || m.Programs[0].Package != "example.com/app" || m.Workdir != "/app" ||
		!strings.HasPrefix(m.Toolchain, "go1.26") || len(m.Modules) != 1 || m.Modules[0].Path != "example.com/app" {
		t.Errorf("%+v", m)
	}
	if got := output(t, d, "app"); got != "hello" {
		t.Errorf("it says %q", got)
	}
	bom, err := d.SBOM()
	check(t, err)
	for _, want := range []string{`"bomFormat":"CycloneDX"`, `"pkg:golang/std@go1.26`, `"github.com/dewpaas/dew/guest"`} {
		if !bytes.Contains(bom, []byte(want)) {
			t.Errorf("no %s in %s", want, bom)
		}
	}
	p, err := d.Provenance()
	check(t, err)
	for _, want := range []string{`"dirHash1":"`, m.Programs[0].SHA256, m.Image.SHA256, `"packages":["example.com/app"]`, `https://slsa.dev/provenance/v1`} {
		if !bytes.Contains(p, []byte(want)) {
			t.Errorf("no %s in %s", want, p)
		}
	}
}

// A droplet is at most 3 MB larger than the plain stripped program.
func TestHowMuchADropletAdds(t *testing.T) {
	source := tree{"go.mod": mod, "main.go": "package main\n\nimport \"net/http\"\n\nfunc main() { http.ListenAndServe(\":8080\", nil) }\n"}
	d := build(t, &Request{Files: source.fs()})
	dir := t.TempDir()
	check(t, os.CopyFS(dir, source.fs()))
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", "plain", ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	plain, err := os.Stat(filepath.Join(dir, "plain"))
	check(t, err)
	added := d.Size() - plain.Size()
	t.Logf("plain %d, droplet %d bytes: %.2f MB more", plain.Size(), d.Size(), float64(added)/1e6)
	if added > 3e6 {
		t.Errorf("%d bytes more", added)
	}
}

// files are those of a droplet, by path.
func files(t *testing.T, d *droplet.Droplet) map[string]image.Info {
	f, err := d.Image()
	check(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	check(t, err)
	r, err := image.Open(b)
	check(t, err)
	all := map[string]image.Info{}
	var walk func(image.Ino, string)
	walk = func(ino image.Ino, path string) {
		dir, err := r.Stat(ino)
		check(t, err)
		for n := range dir.Size {
			e, err := r.Entry(dir, n)
			check(t, err)
			i, err := r.Stat(e.Ino)
			check(t, err)
			name := path + "/" + string(e.Name)
			all[name] = i
			if i.IsDir() {
				walk(e.Ino, name)
			}
		}
	}
	walk(0, "")
	return all
}

func TestFilesOfTheApp(t *testing.T) {
	dir := t.TempDir()
	check(t, os.CopyFS(dir, simple.with(tree{"Procfile": "web: app\n", "go.sum": "", "views/index.html": "<p>", "run.sh": "#!/bin/sh\n", "vendor/modules.txt": "", "internal/x/x_test.go": "package x\n",
		"conf/.env": "A=1", ".git/HEAD": "ref"}).fs()))
	check(t, os.Chmod(filepath.Join(dir, "run.sh"), 0o700))
	check(t, os.Symlink("views/index.html", filepath.Join(dir, "index")))
	got := files(t, build(t, &Request{Files: os.DirFS(dir)}))
	for name, mode := range map[string]uint32{"/app/views/index.html": image.ModeRegular | 0o644, "/app/run.sh": image.ModeRegular | 0o755, "/app/index": image.ModeSymlink | 0o777,
		"/app/conf/.env": image.ModeRegular | 0o644, "/tmp": image.ModeDir | 0o1777, "/home/vcap/app": image.ModeSymlink | 0o777,
		"/etc/ssl/certs/ca-certificates.crt": image.ModeRegular | 0o644, "/usr/share/zoneinfo.zip": image.ModeRegular | 0o644} {
		if i, ok := got[name]; !ok || i.Mode != mode {
			t.Errorf("%s: %v, mode %o, want %o", name, ok, i.Mode, mode)
		}
	}
	for _, name := range []string{"/app/main.go", "/app/go.mod", "/app/go.sum", "/app/Procfile", "/app/vendor", "/app/.git", "/app/internal"} {
		if _, ok := got[name]; ok {
			t.Errorf("%s is in the droplet", name)
		}
	}
}

var several = tree{"go.mod": mod, "cmd/web/main.go": program("web"), "cmd/work/main.go": program("work"), "tools/gen/main.go": program("gen"), "lib/lib.go": "package lib\n"}

func TestWhichProgramsAreBuilt(t *testing.T) {
	for name, c := range map[string]struct {
		request *Request
		want    string // programs; processes
	}{
		"all":          {&Request{Files: several.fs()}, "gen web work; web=web"},
		"Procfile":     {&Request{Files: several.with(tree{"Procfile": "web: bin/web -port $PORT\n# a comment\n\nworker: 'work'\n"}).fs()}, "web work; web=bin/web -port $PORT worker=work"},
		"root":         {&Request{Files: several.with(tree{"main.go": program("root")}).fs()}, "app; web=app"},
		"and Procfile": {&Request{Files: several.with(tree{"main.go": program("root"), "Procfile": "worker: work"}).fs()}, "app work; worker=work"},
		"spec":         {&Request{Files: several.fs(), Env: map[string]string{"GO_INSTALL_PACKAGE_SPEC": "./cmd/work example.com/app/tools/gen"}}, "gen work; "},
		"asked for":    {&Request{Files: several.fs(), Packages: []string{"./cmd/..."}}, "web work; web=web"},
		"one":          {&Request{Files: several.fs(), Packages: []string{"./cmd/work"}}, "work; web=work"},
	} {
		d := build(t, c.request)
		var programs, processes []string
		for _, p := range d.Manifest().Programs {
			programs = append(programs, p.Name)
			if want := strings.Replace(p.Name, "app", "root", 1); output(t, d, p.Name) != want {
				t.Errorf("%s: %s is another program", name, p.Name)
			}
		}
		for _, kind := range []string{"web", "worker"} {
			if command, ok := d.Manifest().Processes[kind]; ok {
				processes = append(processes, kind+"="+command)
			}
		}
		if got := strings.Join(programs, " ") + "; " + strings.Join(processes, " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestMajorVersionsAreNoNames(t *testing.T) {
	for path, want := range map[string]string{"example.com/app": "app", "example.com/app/v2": "app", "example.com/app/v2/cmd/web": "web", "gopkg.in/yaml.v3": "yaml.v3", "example.com/v1": "v1"} {
		if got := programName(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// TestProgramThatImportsNothing: the library OS comes with package os, which the
// stager then imports for it.
func TestProgramThatImportsNothing(t *testing.T) {
	source := tree{"go.mod": mod, "cmd/hi/main.go": "package main\n\nfunc main() { println(\"hi\") }\n"}
	if got := output(t, build(t, &Request{Files: source.fs()}), "hi"); got != "hi" {
		t.Errorf("it says %q", got)
	}
	source["cmd/hi/dew_os.go"] = "package main\n"
	if _, err := workshop(t).Build(t.Context(), &Request{Files: source.fs()}, store(t)); !errors.Is(err, ErrSource) || !strings.Contains(err.Error(), "imports package os") {
		t.Errorf("a file is in the way: %v", err)
	}
}

func TestLinkerVariable(t *testing.T) {
	env := map[string]string{"GO_LINKER_SYMBOL": "main.Says", "GO_LINKER_VALUE": "set when linked"}
	if got := output(t, build(t, &Request{Files: simple.fs(), Env: env}), "app"); got != "set when linked" {
		t.Errorf("it says %q", got)
	}
}

// A vendored module is taken from the folder, without a look at any proxy.
func TestVendorFolder(t *testing.T) {
	source := tree{"go.mod": mod + "\nrequire example.com/dep v1.2.3\n", "main.go": "package main\n\nimport (\n\t\"os\"\n\n\t\"example.com/dep\"\n)\n\nfunc main() { os.Stdout.WriteString(dep.Says) }\n",
		"vendor/modules.txt":            "# example.com/dep v1.2.3\n## explicit; go 1.26\nexample.com/dep\n",
		"vendor/example.com/dep/dep.go": "package dep\n\nconst Says = \"vendored\"\n", "go.sum": ""}
	b, err := New(t.Context(), Config{Cache: workshop(t).c.Cache, Common: workshop(t).c.Common, SandboxOptional: true, Proxy: "off"})
	check(t, err)
	d, err := b.Build(t.Context(), &Request{Files: source.fs()}, store(t))
	check(t, err)
	if got := output(t, d, "app"); got != "vendored" {
		t.Errorf("it says %q", got)
	}
	found := false
	for _, m := range d.Manifest().Modules {
		found = found || m == droplet.Module{Path: "example.com/dep", Version: "v1.2.3"}
	}
	if !found {
		t.Errorf("modules %v", d.Manifest().Modules)
	}
}

// refused is a request that must fail as kind, saying all of the words.
type refused struct {
	files tree
	kind  error
	says  string
}

func TestSourceThatIsRefused(t *testing.T) {
	elf, err := os.ReadFile("/proc/self/exe")
	check(t, err)
	for name, c := range map[string]refused{
		"broken":             {tree{"go.mod": mod, "main.go": "package main\n\nfunc main() { undefined() }\n"}, ErrCompile, "./main.go:3:15: undefined: undefined"},
		"syntax":             {tree{"go.mod": mod, "main.go": "package main\n\nfunc main() {\n"}, ErrCompile, "main.go:"},
		"go.mod broken":      {tree{"go.mod": "what is this\n", "main.go": program("")}, ErrCompile, "go.mod:1: unknown directive"},
		"future Go":          {tree{"go.mod": "module x\n\ngo 1.99\n", "main.go": program("")}, ErrCompile, "requires go >= 1.99"},
		"module missing":     {tree{"go.mod": mod, "main.go": "package main\n\nimport _ \"example.com/none\"\n\nfunc main() {}\n"}, ErrCompile, "no required module provides package example.com/none"},
		"cgo":                {tree{"go.mod": mod, "main.go": "package main\n\nimport \"C\"\n\nfunc main() {}\n"}, ErrCgo, "example.com/app imports \"C\""},
		"cgo deeper":         {tree{"go.mod": mod, "main.go": "package main\n\nimport \"example.com/app/c\"\n\nfunc main() { c.F() }\n", "c/c.go": "package c\n\n// int f() { return 1; }\nimport \"C\"\n\nfunc F() { C.f() }\n"}, ErrCgo, "example.com/app/c imports \"C\""},
		"no main":            {tree{"go.mod": mod, "lib.go": "package lib\n"}, ErrNoMain, "example.com/app is package lib"},
		"empty":              {tree{}, ErrNotGo, "no .go file"},
		"another language":   {tree{"app.py": "print()", "requirements.txt": "x"}, ErrNotGo, "no .go file"},
		"no go.mod":          {tree{"main.go": program("")}, ErrNotGo, "go mod init"},
		"go.mod elsewhere":   {tree{"server/go.mod": mod, "server/main.go": program("")}, ErrNotGo, "but in server"},
		"prebuilt":           {tree{"app": string(elf), "public/x": "x"}, ErrPrebuilt, "stager.test"},
		"prebuilt elsewhere": {tree{"bin/app": "\x7fELF" + strings.Repeat("x", 100)}, ErrPrebuilt, "not one of Go"},
		"Procfile script":    {simple.with(tree{"Procfile": "web: ./run.sh\n"}), ErrNoMain, "only Go programs of this module can be started: app"},
		"Procfile shell":     {simple.with(tree{"Procfile": "web: app | tee log\n"}), ErrSource, "no shell"},
		"Procfile broken":    {simple.with(tree{"Procfile": "app\n"}), ErrSource, "line 1"},
		"Procfile escapes":   {simple.with(tree{"Procfile": "web: app \x1b[2J\n"}), ErrSource, "control characters"},
		"Procfile twice":     {simple.with(tree{"Procfile": "web: app\nweb: app\n"}), ErrSource, "a second web"},
		"two of a name":      {several.with(tree{"other/web/main.go": program("")}), ErrSource, "two programs are called \"web\""},
		"two for Procfile":   {several.with(tree{"other/web/main.go": program(""), "Procfile": "web: web"}), ErrSource, "several packages build"},
		"embed of the host":  {tree{"go.mod": mod, "main.go": "package main\n\nimport _ \"embed\"\n\n//go:embed ../../../etc/passwd\nvar x string\n\nfunc main() {}\n"}, ErrCompile, "invalid pattern"},
		"replace of host":    {tree{"go.mod": mod + "\nrequire example.com/dep v1.0.0\n\nreplace example.com/dep => /etc\n", "main.go": "package main\n\nimport _ \"example.com/dep\"\n\nfunc main() {}\n"}, ErrCompile, "/etc"},
	} {
		var log bytes.Buffer
		s := store(t)
		d, err := workshop(t).Build(t.Context(), &Request{Files: c.files.fs(), Log: &log}, s)
		if d != nil || err == nil || c.kind != nil && !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v with %q", name, err, c.kind, c.says)
		}
		if c.kind == ErrCompile && !strings.Contains(log.String(), c.says) {
			t.Errorf("%s: the log lacks it:\n%s", name, log.String())
		}
		check(t, s.Close())
	}
}

func TestLinksThatLeadOut(t *testing.T) {
	for target, ok := range map[string]bool{"/etc/passwd": false, "../x": false, "a/../../x": false, "main.go": true, "nowhere": true} {
		dir := t.TempDir()
		check(t, os.CopyFS(dir, simple.fs()))
		check(t, os.Symlink(target, filepath.Join(dir, "link")))
		_, err := workshop(t).Build(t.Context(), &Request{Files: os.DirFS(dir)}, store(t))
		if ok != (err == nil) || err != nil && !errors.Is(err, ErrSource) {
			t.Errorf("%s: %v", target, err)
		}
	}
	dir := t.TempDir()
	check(t, os.CopyFS(dir, simple.fs()))
	check(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	if _, err := workshop(t).Build(t.Context(), &Request{Files: os.DirFS(dir)}, store(t)); !errors.Is(err, ErrSource) {
		t.Error(err)
	}
}

// What a tenant or the environment says to the go command does not reach it.
func TestEnvironmentIsOurs(t *testing.T) {
	plain := build(t, &Request{Files: simple.fs()})
	for k, v := range map[string]string{"GOFLAGS": "-toolexec=/bin/false", "GOPROXY": "off", "GOOS": "windows", "CGO_ENABLED": "1", "GOAMD64": "v4", "GODEBUG": "http2client=0", "GOEXPERIMENT": "rangefunc", "GOENV": "/etc/passwd"} {
		t.Setenv(k, v)
	}
	r := &Request{Files: simple.with(tree{"go.work": "go 1.26\n\nuse /etc\n", "go.env": "GOFLAGS=-toolexec=/bin/false\n"}).fs(),
		Env: map[string]string{"GOFLAGS": "-toolexec=/bin/false", "PATH": "/", "LD_PRELOAD": "x"}}
	d := build(t, r)
	if d.Manifest().Programs[0].SHA256 != plain.Manifest().Programs[0].SHA256 {
		t.Error("the environment changes the program")
	}
	for _, env := range []map[string]string{{"GO_LINKER_SYMBOL": "main.x -extld=/bin/false"}, {"GO_LINKER_SYMBOL": "main.x", "GO_LINKER_VALUE": "' -extld=/bin/false '"},
		{"GO_INSTALL_PACKAGE_SPEC": "-toolexec=/bin/false"}, {"GO_INSTALL_PACKAGE_SPEC": "example.com/other@latest"}} {
		if _, err := workshop(t).Build(t.Context(), &Request{Files: simple.fs(), Env: env}, store(t)); !errors.Is(err, ErrSource) {
			t.Errorf("%v: %v", env, err)
		}
	}
}

func TestLimits(t *testing.T) {
	large := simple.with(tree{"large": strings.Repeat("x", 1<<20)})
	for name, c := range map[string]struct {
		files  tree
		limits Limits
		says   string
	}{
		"files":   {simple.with(tree{"a": "", "b": "", "c": ""}), Limits{Files: 3}, "more than 3 files"},
		"folders": {simple.with(tree{"a/b/c/d/e": ""}), Limits{Files: 3}, "more than 3 folders"},
		"disk":    {large, Limits{Disk: 1 << 19}, "too large, at large"},
		"time":    {simple, Limits{Time: time.Millisecond}, "more than 1ms"},
	} {
		_, err := workshop(t).Build(t.Context(), &Request{Files: c.files.fs(), Limits: c.limits}, store(t))
		if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	b := workshop(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make control groups")
	}
	// One large array literal makes the compiler take much more than this.
	large := tree{"go.mod": mod, "main.go": "package main\n\nimport \"os\"\n\nvar x = [...]string{" + strings.Repeat("\"a\" + os.Args[0],", 200_000) + "}\n\nfunc main() { os.Stdout.WriteString(x[0]) }\n"}
	_, err := b.Build(t.Context(), &Request{Files: large.fs(), Limits: Limits{Memory: 64 << 20, PIDs: 256}}, store(t))
	if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "memory than 64 MiB") {
		t.Error(err)
	}
	// Only this process's: other suites may run on this machine. Version 1 has a
	// folder for each controller.
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		if left, _ := filepath.Glob(fmt.Sprintf("%s/dew/stage-%d-*", root, os.Getpid())); len(left) > 0 {
			t.Errorf("%v are left", left)
		}
	}
}

func TestCancelEndsABuild(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := &Request{Files: simple.fs(), Step: func(name string) {
		if name == "compile" {
			cancel()
		}
	}}
	if _, err := workshop(t).Build(ctx, r, store(t)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestLogIsCutOff(t *testing.T) {
	var b bytes.Buffer
	l := &limitedLog{to: &b, left: 10}
	for range 5 {
		l.Write([]byte("1234"))
	}
	if got := b.String(); !strings.HasPrefix(got, "1234123412\n[the rest") || strings.Count(got, "\n") != 2 {
		t.Errorf("%q", got)
	}
	if !strings.HasSuffix(l.said(), "12341234") {
		t.Errorf("%q", l.said())
	}
}

// FuzzProcfile: refused, or process types that name a command each.
func FuzzProcfile(f *testing.F) {
	for _, s := range []string{"web: app\n", "# x\n\nworker:  \"a b\" \n", "---\nweb: 'x'\n", "web:app", "web: \"\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		processes, err := parseProcfile(b)
		if (processes == nil) == (err == nil) {
			t.Fatal(processes, err)
		}
		for kind, command := range processes {
			if kind == "" || strings.ContainsAny(kind, " :\n") || strings.Contains(command, "\n") || command != strings.TrimSpace(command) && !strings.ContainsAny(string(b), `'"`) {
				t.Errorf("%q: %q", kind, command)
			}
		}
	})
}
