package stager

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// proxy is a module proxy in files that has one module at v1.0.0.
func proxy(t *testing.T, path string, files tree) string {
	dir, source := t.TempDir(), t.TempDir()
	check(t, os.CopyFS(source, files.fs()))
	at := filepath.Join(dir, path, "@v")
	check(t, os.MkdirAll(at, 0o755))
	f, err := os.Create(filepath.Join(at, "v1.0.0.zip"))
	check(t, err)
	defer f.Close()
	check(t, zip.CreateFromDir(f, module.Version{Path: path, Version: "v1.0.0"}, source))
	for name, text := range map[string]string{"v1.0.0.mod": files["go.mod"], "v1.0.0.info": `{"Version":"v1.0.0","Time":"2026-01-02T03:04:05Z"}`, "list": "v1.0.0\n"} {
		check(t, os.WriteFile(filepath.Join(at, name), []byte(text), 0o644))
	}
	return "file://" + dir
}

func builderFor(t *testing.T, proxy string) *Builder {
	b, err := New(t.Context(), Config{Cache: workshop(t).c.Cache, Common: workshop(t).c.Common, SandboxOptional: true, Proxy: proxy, NoSumDB: "example.com"})
	check(t, err)
	return b
}

func TestPackageOfAModuleProxy(t *testing.T) {
	name := "example.com/m" + strings.ToLower(filepath.Base(t.TempDir())) // not what an earlier test left in the cache
	files := tree{"go.mod": "module " + name + "\n\ngo 1.26\n", "cmd/hello/main.go": program("from a proxy"), "page.html": "<p>"}
	b := builderFor(t, proxy(t, name, files))
	for _, version := range []string{"v1.0.0", "latest"} {
		d, err := b.Build(t.Context(), &Request{Module: name + "/cmd/hello@" + version}, store(t))
		check(t, err)
		if got := output(t, d, "hello"); got != "from a proxy" {
			t.Errorf("it says %q", got)
		}
		m := d.Manifest().Modules[0]
		if m.Path != name || m.Version != "v1.0.0" || !strings.HasPrefix(m.Sum, "h1:") || d.Manifest().Processes["web"] != "hello" {
			t.Errorf("%+v", d.Manifest())
		}
	}
	var log bytes.Buffer
	_, err := b.Build(t.Context(), &Request{Module: name + "/cmd/none@v1.0.0", Log: &log}, store(t))
	if !errors.Is(err, ErrCompile) || !strings.Contains(err.Error(), "does not contain package") {
		t.Error(err)
	}
}

func TestModuleWithReplaceIsRefusedAsByGoInstall(t *testing.T) {
	name := "example.com/r" + strings.ToLower(filepath.Base(t.TempDir()))
	files := tree{"go.mod": "module " + name + "\n\ngo 1.26\n\nreplace example.com/x => ./x\n", "main.go": program("")}
	_, err := builderFor(t, proxy(t, name, files)).Build(t.Context(), &Request{Module: name + "@v1.0.0"}, store(t))
	if !errors.Is(err, ErrCompile) || !strings.Contains(err.Error(), "replace") {
		t.Error(err)
	}
}

func TestModuleArguments(t *testing.T) {
	for _, s := range []string{"", "example.com/x", "example.com/x@", "-x@v1.0.0", "../x@v1.0.0", "example.com/x@-toolexec", "example.com/x@v1 -x", "/etc@v1"} {
		_, err := workshop(t).Build(t.Context(), &Request{Module: s}, store(t))
		if err == nil || s != "" && !errors.Is(err, ErrSource) && !errors.Is(err, ErrCompile) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// A requirement is downloaded through the relay, in the sandbox, and checked
// against go.sum.
func TestRequirementsAreVerified(t *testing.T) {
	name := "example.com/d" + strings.ToLower(filepath.Base(t.TempDir()))
	dep := tree{"go.mod": "module " + name + "\n\ngo 1.26\n", "d.go": "package d\n\nconst Says = \"required\"\n"}
	b := builderFor(t, proxy(t, name, dep))
	app := tree{"go.mod": mod + "\nrequire " + name + " v1.0.0\n", "main.go": "package main\n\nimport (\n\t\"os\"\n\n\td \"" + name + "\"\n)\n\nfunc main() { os.Stdout.WriteString(d.Says) }\n",
		"go.sum": name + " v1.0.0 h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" + name + " v1.0.0/go.mod h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"}
	if _, err := b.Build(t.Context(), &Request{Files: app.fs()}, store(t)); !errors.Is(err, ErrCompile) || !strings.Contains(err.Error(), "checksum mismatch") {
		t.Error(err)
	}
	delete(app, "go.sum")
	if _, err := b.Build(t.Context(), &Request{Files: app.fs()}, store(t)); !errors.Is(err, ErrCompile) || !strings.Contains(err.Error(), "missing go.sum entry") {
		t.Error(err)
	}
}

func TestWritingTooMuchEndsABuild(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "before"), make([]byte, 5000), 0o644))
	synctest.Test(t, func(t *testing.T) {
		w := &work{Request: &Request{Limits: Limits{Disk: 5000 + 1000 + 3*block}}, ctx: t.Context()} // the folder is a block too
		kept := t.TempDir()
		check(t, os.WriteFile(filepath.Join(kept, "by builds of before"), make([]byte, 1<<20), 0o644))
		ctx, stop := w.watchDisk([]string{dir}, kept)
		defer stop()
		check(t, os.WriteFile(filepath.Join(dir, "little"), make([]byte, 1000), 0o644))
		stopped := make(chan struct{})
		go func() { <-ctx.Done(); close(stopped) }()
		select {
		case <-stopped:
			t.Error("ended too early")
		default:
		}
		check(t, os.WriteFile(filepath.Join(dir, "more"), make([]byte, 1), 0o644))
		<-stopped
	})
	synctest.Test(t, func(t *testing.T) { // without a limit nobody watches
		w := &work{Request: &Request{}, ctx: t.Context()}
		ctx, stop := w.watchDisk([]string{dir})
		if ctx.Err() != nil {
			t.Error(ctx.Err())
		}
		stop()
	})
}

// Tenants share the compiled standard library and nothing that they could
// change.
func TestTenantsDoNotShareWhatTheyWrite(t *testing.T) {
	b := workshop(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root: without it sandboxes run as the owner of all caches")
	}
	b.c.Std = [][]string{{"os"}} // the whole takes a minute
	check(t, b.Warm(t.Context(), nil))
	for _, tenant := range []string{"test-a", "test-b"} {
		_, err := b.Build(t.Context(), &Request{Files: simple.fs(), Tenant: tenant}, store(t))
		check(t, err)
	}
	defer b.Forget(func(tenant string) bool { return !strings.HasPrefix(tenant, "test-") })
	owners, user := map[uint32]int{}, uint32(0)
	linked := 0
	cache := filepath.Join(b.c.Cache, "boxed", "tenant-test-a", "build")
	err := filepath.WalkDir(cache, func(path string, d os.DirEntry, err error) error {
		check(t, err)
		if d.IsDir() {
			return nil
		}
		info, err := d.Info()
		check(t, err)
		s := info.Sys().(*syscall.Stat_t)
		owners[s.Uid]++
		if s.Nlink > 1 {
			linked++
			if s.Uid != 0 || s.Mode&0o222 != 0 {
				t.Errorf("%s is shared, and a sandbox may write to it: uid %d, mode %o", path, s.Uid, s.Mode)
			}
		}
		return nil
	})
	check(t, err)
	user, _ = owner(cache)
	if linked < 50 || owners[user] == 0 || owners[user] > 100 || user < firstUser || len(owners) != 2 {
		t.Errorf("%d files are shared, owners %v: want std shared and the rest own", linked, owners)
	}
	if other, _ := owner(filepath.Join(b.c.Cache, "boxed", "tenant-test-b", "build")); other == user || other < firstUser {
		t.Errorf("the other tenant's builds run as %d, this one's as %d", other, user)
	}
	check(t, b.Shrink("test-a", 1<<40))
	_, err = os.Stat(cache)
	check(t, err)
	check(t, b.Shrink("test-a", 1))
	if _, err := os.Stat(cache); !errors.Is(err, os.ErrNotExist) {
		t.Error("a cache that is too large stays")
	}
	if _, err := b.Build(t.Context(), &Request{Files: simple.fs(), Tenant: "../x"}, store(t)); err == nil {
		t.Error("a tenant's name leads elsewhere")
	}
}

func TestTheOldestDownloadsGo(t *testing.T) {
	b := &Builder{c: Config{Cache: t.TempDir()}}
	check(t, b.Trim(0)) // there are none
	for i, name := range []string{"old", "new"} {
		path := filepath.Join(b.c.Cache, "downloads", name, "x.zip")
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, make([]byte, 100), 0o644))
		at := time.Unix(int64(1000*(i+1)), 0)
		check(t, os.Chtimes(path, at, at))
	}
	check(t, b.Trim(200))
	check(t, b.Trim(150))
	left, err := filepath.Glob(filepath.Join(b.c.Cache, "downloads", "*", "*"))
	if err != nil || len(left) != 1 || filepath.Base(filepath.Dir(left[0])) != "new" {
		t.Error(left, err)
	}
}

// A build that was killed leaves a folder that nobody has locked.
func TestWhatKilledBuildsLeave(t *testing.T) {
	c := Config{Cache: t.TempDir(), NoSandbox: true}
	b, err := New(t.Context(), c)
	check(t, err)
	under, err := b.work(t.Context(), &Request{})
	check(t, err)
	defer under.remove()
	killed, err := b.work(t.Context(), &Request{})
	check(t, err)
	killed.lock.Close()
	fresh, err := b.work(t.Context(), &Request{})
	check(t, err)
	fresh.lock.Close()
	long := time.Now().Add(-time.Hour)
	for _, w := range []*work{under, killed} {
		check(t, os.Chtimes(w.dir, long, long))
	}
	_, err = New(t.Context(), c)
	check(t, err)
	for w, want := range map[*work]bool{under: true, killed: false, fresh: true} {
		if _, err := os.Stat(w.dir); (err == nil) != want {
			t.Errorf("%s: %v, want it kept: %v", w.dir, err, want)
		}
	}
}

// What was made for a Go that nobody uses goes with time; what is in use stays, even
// where a clock that was set makes it look old.
func TestWhatIsNotUsedGoes(t *testing.T) {
	c := Config{Cache: t.TempDir(), NoSandbox: true}
	b, err := New(t.Context(), c)
	check(t, err)
	unused := filepath.Join(c.Cache, "std-unused")
	check(t, os.Mkdir(unused, 0o700))
	other := c
	other.Std = [][]string{{"errors"}} // its compiled standard library is another one
	other.Common = c.Cache
	other.Cache = t.TempDir()
	_, err = New(t.Context(), other)
	check(t, err)
	long := time.Now().AddDate(-1, 0, 0)
	for _, dir := range []string{b.base(), b.root.Dir, unused} {
		check(t, os.Chtimes(dir, long, long))
	}
	_, err = New(t.Context(), other)
	check(t, err)
	for dir, want := range map[string]bool{b.base(): true, b.root.Dir: true, unused: false} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v, want it kept: %v", dir, err, want)
		}
	}
	runtime.KeepAlive(b)
}

// A sandbox that was taken over can leave anything in its tenant's cache. What
// the caller, who may be root, does there later must stay there.
func TestALinkInACacheLeadsNowhere(t *testing.T) {
	b := workshop(t)
	w, err := b.work(t.Context(), &Request{Tenant: "links", Files: os.DirFS("/dev/null")})
	check(t, err)
	defer b.Forget(func(tenant string) bool { return tenant != "links" })
	defer w.remove()
	cache, victim := t.TempDir(), t.TempDir()
	check(t, os.Chmod(victim, 0o700))
	for i := range 256 {
		check(t, os.Symlink(victim, filepath.Join(cache, fmt.Sprintf("%02x", i))))
	}
	before, err := os.Stat(victim)
	check(t, err)
	check(t, w.share(cache))
	after, err := os.Stat(victim)
	check(t, err)
	if a, b := before.Sys().(*syscall.Stat_t), after.Sys().(*syscall.Stat_t); a.Uid != b.Uid || a.Mode != b.Mode {
		t.Errorf("the folder of another belongs to %d, mode %o; before to %d, mode %o", b.Uid, b.Mode, a.Uid, a.Mode)
	}
	if left, err := os.ReadDir(victim); err != nil || len(left) > 0 {
		t.Error("in the folder of another:", left, err)
	}
	if b.Sandboxed() {
		if shared, _ := filepath.Glob(filepath.Join(cache, "??", "*-d")); len(shared) == 0 {
			t.Error("nothing was shared")
		}
	}
}
