package staging

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dewpaas/dew/api"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/stager"
	"github.com/dewpaas/dew/stager/sandbox"
	"github.com/dewpaas/dew/store"
	"github.com/dewpaas/dew/store/sqlite"
)

var (
	_ api.Stager   = (*Stager)(nil)
	_ api.Droplets = (*Stager)(nil)
)

func TestMain(m *testing.M) {
	if sandbox.Inside() {
		os.Exit(sandbox.Serve())
	}
	os.Exit(m.Run())
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// folder is where packages lie by their digest.
type folder string

func (f folder) path(sum string) string { return filepath.Join(string(f), sum) }

// Open implements Packages.
func (f folder) Open(_ context.Context, sum string) (*os.File, error) { return os.Open(f.path(sum)) }

// foundation is a ledger with a space, and a stager over it.
type foundation struct {
	*Stager
	t        *testing.T
	ledger   cf.Store
	changed  chan struct{} // something was committed
	dir      string
	droplets string // folder of the store
	space    *cf.Space

	mu  sync.Mutex
	log []cf.LogLine
	saw func(cf.LogLine) // called for each line
}

// Log makes the foundation the log of its apps.
func (f *foundation) Log(l cf.LogLine) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, l)
	if f.saw != nil {
		f.saw(l)
	}
}

func (f *foundation) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, l := range f.log {
		fmt.Fprintf(&b, "%s/%s %v %s\n", l.Source, l.Instance, l.Err, l.Text)
	}
	return b.String()
}

func found(t *testing.T) *foundation {
	cache, err := os.UserCacheDir()
	check(t, err)
	builder, err := stager.New(t.Context(), stager.Config{Cache: filepath.Join(cache, "dew", "staging-test"), Common: filepath.Join(cache, "dew"), SandboxOptional: true, NoSandbox: os.Geteuid() != 0,
		Std: [][]string{{"os"}}})
	check(t, err)
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	check(t, err)
	t.Cleanup(func() { db.Close() })
	kept := t.TempDir()
	droplets, err := droplet.OpenStore(kept)
	check(t, err)
	f := &foundation{t: t, droplets: kept, changed: make(chan struct{}, 1), dir: t.TempDir(), space: &cf.Space{Name: "s"}}
	f.ledger = store.Watch(db, func(store.Changes) {
		select {
		case f.changed <- struct{}{}:
		default:
		}
	})
	f.Stager = New(Config{Ledger: &Direct{Store: f.ledger, Holder: "a", API: "https://api.test"}, Packages: folder(f.dir), Droplets: droplets, Logs: f, Builder: builder,
		Named: func(ctx context.Context) (named map[string]bool, err error) {
			err = f.ledger.View(ctx, func(tx cf.Tx) (err error) { named, err = Named(tx); return err })
			return named, err
		},
		Holder: "a", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	org := &cf.Organization{Name: "o"}
	f.update(func(tx cf.Tx) error {
		quota := &cf.Quota{Name: "q"}
		if err := tx.Insert(quota); err != nil {
			return err
		}
		org.QuotaGUID = quota.GUID
		if err := tx.Insert(org); err != nil {
			return err
		}
		f.space.OrgGUID = org.GUID
		return tx.Insert(f.space)
	})
	return f
}

func (f *foundation) update(do func(cf.Tx) error) {
	f.t.Helper()
	check(f.t, f.ledger.Update(f.t.Context(), do))
}

// run runs the stager until the returned function is called.
func (f *foundation) run() (stop func()) {
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); check(f.t, <-done) })
	f.t.Cleanup(stop)
	return stop
}

// push makes an app, its package and a build of it.
func (f *foundation) push(name string, files map[string]string, env map[string]string) *cf.Build {
	f.t.Helper()
	var z bytes.Buffer
	w := zip.NewWriter(&z)
	for name, text := range files {
		e, err := w.Create(name)
		check(f.t, err)
		_, err = io.WriteString(e, text)
		check(f.t, err)
	}
	check(f.t, w.Close())
	h := sha256.Sum256(z.Bytes())
	sum := hex.EncodeToString(h[:])
	check(f.t, os.WriteFile(filepath.Join(f.dir, sum), z.Bytes(), 0o600))
	b := &cf.Build{SpaceGUID: f.space.GUID, State: "STAGING", MemoryMB: 1024, DiskMB: 1024, CreatedBy: cf.Actor{GUID: "u", Type: "user", Name: "dev"}}
	f.update(func(tx cf.Tx) error {
		a := &cf.App{Name: name, SpaceGUID: f.space.GUID, State: cf.Stopped, Lifecycle: "buildpack", Stack: "cflinuxfs4", Env: env}
		if err := tx.Insert(a); err != nil {
			return err
		}
		p := &cf.Package{AppGUID: a.GUID, SpaceGUID: f.space.GUID, Type: "bits", State: "READY", Checksum: sum}
		if err := tx.Insert(p); err != nil {
			return err
		}
		b.AppGUID, b.PackageGUID = a.GUID, p.GUID
		return tx.Insert(b)
	})
	check(f.t, f.Stage(f.t.Context(), b.GUID))
	return b
}

// ended waits for a build's end.
func (f *foundation) ended(b *cf.Build) *cf.Build {
	f.t.Helper()
	for late := time.After(5 * time.Minute); ; {
		var now *cf.Build
		f.update(func(tx cf.Tx) (err error) { now, err = cf.Get[cf.Build](tx, b.GUID); return err })
		if now.State != "STAGING" {
			return now
		}
		select {
		case <-f.changed:
		case <-late:
			f.t.Fatalf("the build does not end:\n%s", f.said())
		}
	}
}

const mod = "module example.com/app\n\ngo 1.26\n"

const program = "package main\n\nimport \"os\"\n\nfunc main() { os.Stdout.WriteString(\"hello\") }\n"

func TestPackageBecomesADroplet(t *testing.T) {
	f := found(t)
	f.c.Warm = true
	f.run()
	b := f.ended(f.push("app", map[string]string{"go.mod": mod, "main.go": program, "cmd/work/main.go": program, "Procfile": "web: app -p $PORT\nworker: work", "page.html": "<p>"},
		map[string]string{"GOVERSION": "go1.2", "GOFLAGS": "-toolexec=/bin/false"}))
	if b.State != "STAGED" || b.Error != "" {
		t.Fatalf("%+v\n%s", b, f.said())
	}
	f.update(func(tx cf.Tx) error {
		d, err := cf.Get[cf.Droplet](tx, b.DropletGUID)
		if err != nil {
			return err
		}
		if d.State != "STAGED" || d.AppGUID != b.AppGUID || d.PackageGUID != b.PackageGUID || d.Stack != "cflinuxfs4" || !strings.HasPrefix(d.Builder, "go1.26") ||
			d.ProcessTypes["web"] != "app -p $PORT" || d.ProcessTypes["worker"] != "work" {
			t.Errorf("%+v", d)
		}
		kept, err := f.c.Droplets.Open(d.Checksum)
		if err != nil || len(kept.Manifest().Programs) != 2 {
			t.Errorf("%v, %v", kept, err)
		}
		events, err := cf.List[cf.AuditEvent](tx, cf.Query{Where: []cf.Cond{cf.Is("target_guid", b.AppGUID)}})
		if len(events) != 2 || events[0].Actor.Name != "dev" || events[0].OrgGUID == "" {
			t.Errorf("events %+v", events)
		}
		return err
	})
	for _, want := range []string{"STG/0 false Staging with go1.26", "GOVERSION go1.2 is not installed", "STG/0 false -----> compile\n", "STG/0 false Staged droplet sha256:"} {
		if !strings.Contains(f.said(), want) {
			t.Errorf("no %q in the log:\n%s", want, f.said())
		}
	}
}

func TestWhyABuildFailed(t *testing.T) {
	f := found(t)
	f.run()
	for name, c := range map[string]struct {
		files map[string]string
		want  string
		log   string
	}{
		"compile":  {map[string]string{"go.mod": mod, "main.go": "package main\n\nfunc main() { x() }\n"}, "BuildpackCompileFailed - the program does not build: ", "STG/0 true ./main.go:3:15: undefined: x\n"},
		"python":   {map[string]string{"app.py": "print()"}, "NoAppDetectedError - ", "no .go file"},
		"library":  {map[string]string{"go.mod": mod, "lib.go": "package lib\n"}, "NoAppDetectedError - ", "no main package"},
		"prebuilt": {map[string]string{"app": "\x7fELF" + strings.Repeat("x", 100)}, "NoAppDetectedError - this is a program that was built already", "Push the source"},
		"procfile": {map[string]string{"go.mod": mod, "main.go": program, "Procfile": "web: app > log"}, "StagingError - ", "no shell"},
	} {
		b := f.ended(f.push(name, c.files, nil))
		if b.State != "FAILED" || !strings.HasPrefix(b.Error, c.want) || b.DropletGUID != "" {
			t.Errorf("%s: %s %q", name, b.State, b.Error)
		}
		if !strings.Contains(f.said(), c.log) {
			t.Errorf("%s: no %q in the log:\n%s", name, c.log, f.said())
		}
	}
}

// What is wrong with the platform is not told to a tenant.
func TestFaultsOfThePlatform(t *testing.T) {
	f := found(t)
	f.run()
	b := f.push("app", map[string]string{"go.mod": mod, "main.go": program}, nil)
	f.update(func(tx cf.Tx) error {
		p, err := cf.Get[cf.Package](tx, b.PackageGUID)
		if err != nil {
			return err
		}
		p.Checksum = strings.Repeat("0", 64)
		if err := tx.Save(p); err != nil {
			return err
		}
		again := *b
		again.GUID = ""
		if err := tx.Insert(&again); err != nil {
			return err
		}
		*b = again
		return nil
	})
	check(t, f.Stage(t.Context(), b.GUID))
	if now := f.ended(b); now.State != "FAILED" || now.Error != internal(b) || strings.Contains(f.said(), f.dir) {
		t.Errorf("%+v\n%s", now, f.said())
	}
}

func TestARestartLosesNoBuild(t *testing.T) {
	f := found(t)
	compiling := make(chan struct{})
	f.saw = func(l cf.LogLine) {
		if bytes.Contains(l.Text, []byte("-----> compile")) {
			close(compiling)
			f.saw = nil
		}
	}
	stop := f.run()
	b := f.push("app", map[string]string{"go.mod": mod, "main.go": program}, nil)
	<-compiling
	stop()
	f.update(func(tx cf.Tx) error {
		now, err := cf.Get[cf.Build](tx, b.GUID)
		if err == nil && now.State != "STAGING" {
			t.Errorf("%+v\n%s", now, f.said())
		}
		return err
	})
	f.Stager = New(f.c)
	f.run() // nobody calls Stage
	if now := f.ended(b); now.State != "STAGED" {
		t.Errorf("%+v\n%s", now, f.said())
	}
}

func TestABuildWhoseTimeIsUp(t *testing.T) {
	f := found(t)
	f.c.Time = time.Nanosecond
	f.run()
	if b := f.ended(f.push("app", map[string]string{"go.mod": mod, "main.go": program}, nil)); !strings.HasPrefix(b.Error, "StagingTimeExpired - ") {
		t.Errorf("%+v", b)
	}
}

func TestAnAppThatIsDeletedMeanwhile(t *testing.T) {
	f := found(t)
	deleted := make(chan struct{})
	f.saw = func(l cf.LogLine) {
		if bytes.Contains(l.Text, []byte("-----> compile")) {
			<-deleted
		}
	}
	stop := f.run()
	b := f.push("app", map[string]string{"go.mod": mod, "main.go": program}, nil)
	f.update(func(tx cf.Tx) error {
		a, err := cf.Get[cf.App](tx, b.AppGUID)
		if err != nil {
			return err
		}
		return tx.Delete(a)
	})
	close(deleted)
	other := f.push("other", map[string]string{"go.mod": mod, "main.go": program}, nil)
	if now := f.ended(other); now.State != "STAGED" {
		t.Errorf("%+v\n%s", now, f.said())
	}
	stop()
	f.update(func(tx cf.Tx) error {
		n, err := tx.Count(new(cf.Droplet), cf.Query{})
		if n != 1 {
			t.Errorf("%d droplets", n)
		}
		return err
	})
}

func TestSpacesTakeTurns(t *testing.T) {
	s := New(Config{AtOnce: 3})
	var waiting []*cf.Build
	for i, space := range []string{"a", "a", "a", "b", "c"} {
		waiting = append(waiting, &cf.Build{Meta: cf.Meta{GUID: fmt.Sprint(i)}, SpaceGUID: space})
	}
	var got []string
	for b := s.next(waiting); b != nil; b = s.next(waiting) {
		got = append(got, b.GUID)
	}
	if fmt.Sprint(got) != "[0 3 4]" {
		t.Errorf("%v", got)
	}
	delete(s.running, "3")
	if b := s.next(waiting); b.GUID != "3" { // still waiting in the ledger, and its space has none
		t.Errorf("%v", b.GUID)
	}
}

// refusing is a ledger that cannot be written to for a while.
type refusing struct {
	cf.Store
	times int
}

func (r *refusing) Update(ctx context.Context, f func(cf.Tx) error) error {
	if r.times > 0 {
		r.times--
		return errors.New("disk is full")
	}
	return r.Store.Update(ctx, f)
}

func TestAnEndThatCannotBeWritten(t *testing.T) {
	f := found(t)
	b := f.push("app", map[string]string{"go.mod": mod}, nil)
	f.update(func(tx cf.Tx) error {
		return tx.Insert(&cf.Lease{Meta: cf.Meta{GUID: cf.BuildLease(b.GUID)}, Holder: "a", Token: 1})
	})
	f.c.Ledger = &Direct{Store: &refusing{f.ledger, 3}, Holder: "a"}
	for range 4 { // at last without the result, which may be what cannot be kept
		f.end(t.Context(), b, 1, Outcome{Digest: "d"})
	}
	if now := f.ended(b); now.State != "FAILED" || now.Error != internal(b) || len(f.failed) != 0 {
		t.Errorf("%+v, %v", now, f.failed)
	}
}

func TestDropletsComeAndGo(t *testing.T) {
	f := found(t)
	f.run()
	b := f.ended(f.push("app", map[string]string{"go.mod": mod, "main.go": program}, nil))
	var d *cf.Droplet
	f.update(func(tx cf.Tx) (err error) { d, err = cf.Get[cf.Droplet](tx, b.DropletGUID); return err })
	var file bytes.Buffer
	check(t, f.Export(&file, d.Checksum))
	other := found(t)
	sum, types, err := other.Import(bytes.NewReader(file.Bytes()))
	check(t, err)
	if sum != d.Checksum || types["web"] != "app" {
		t.Error(sum, types)
	}
	if _, _, err := other.Import(strings.NewReader("no droplet")); !errors.Is(err, droplet.ErrInvalid) {
		t.Error(err)
	}
	if err := other.Export(io.Discard, strings.Repeat("0", 64)); err == nil {
		t.Error("exported what is not there")
	}

	// What the ledger names stays, whatever its age; other things go.
	check(t, f.sweep(t.Context()))
	_, err = f.c.Droplets.Open(d.Checksum)
	check(t, err)
	check(t, other.sweep(t.Context())) // nothing names it, but it is young
	_, err = other.c.Droplets.Open(sum)
	check(t, err)
	old := time.Now().Add(-2 * sweepAge)
	check(t, os.Chtimes(filepath.Join(other.droplets, "droplets", sum), old, old))
	p := &cf.Placement{AppGUID: "gone", Type: "web", CellID: "c", Launch: &cf.Launch{DropletSHA256: sum}}
	other.update(func(tx cf.Tx) error { return tx.Insert(p) })
	check(t, other.sweep(t.Context())) // a cell may be about to start it
	_, err = other.c.Droplets.Open(sum)
	check(t, err)
	other.update(func(tx cf.Tx) error { return tx.Delete(p) })
	check(t, os.Chtimes(filepath.Join(other.droplets, "droplets", sum), old, old))
	check(t, other.sweep(t.Context()))
	if _, err := other.c.Droplets.Open(sum); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestLines(t *testing.T) {
	f := &foundation{}
	l := &lines{to: f, app: "a"}
	for _, s := range []string{"one\ntw", "o\n\n", strings.Repeat("x", maxLine+10), "\nrest"} {
		l.Write([]byte(s))
	}
	l.flush()
	l.flush()
	var got []string
	for _, line := range f.log {
		got = append(got, fmt.Sprint(len(line.Text)))
		if !line.Err || line.AppGUID != "a" || line.Time.IsZero() {
			t.Errorf("%+v", line)
		}
	}
	if want := fmt.Sprint([]string{"3", "3", "0", fmt.Sprint(maxLine), "10", "4"}); fmt.Sprint(got) != want {
		t.Errorf("%v, want %v", got, want)
	}
}
