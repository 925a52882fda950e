package main

import (
	"archive/zip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dewpaas/dew/api"
	"github.com/dewpaas/dew/api/blob"
	"github.com/dewpaas/dew/api/logcache"
	"github.com/dewpaas/dew/api/uaa"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/client"
	"github.com/dewpaas/dew/store/sqlite"
)

var update = flag.Bool("update", false, "write the expected outputs of the scripts anew")

// TestVerbs runs the scripts: the real command line against the real API.
func TestVerbs(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/verbs",
		UpdateScripts: *update,
		Setup:         setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"normal": normal, "say": say, "crash": crash, "expire": expire, "mode": mode, "status": exits,
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "cf":
				return os.Getenv("CF") != "", nil
			case "terminal":
				f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
				if err == nil {
					f.Close()
				}
				return err == nil, nil
			}
			return false, fmt.Errorf("condition %q is not known", name)
		},
	})
}

// setUp gives a script a foundation of its own, whose data folder is that of a
// foundation on this machine if the script says so by DEW_DATA=$DATA.
func setUp(e *testscript.Env) error {
	data := filepath.Join(e.WorkDir, ".data")
	f, err := newFoundation(data)
	if err != nil {
		return err
	}
	e.Defer(f.close)
	e.Values["foundation"] = f
	e.Setenv("URL", f.server.URL)
	e.Setenv("DATA", data)
	e.Setenv("DEW_DATA", filepath.Join(e.WorkDir, "nowhere"))
	e.Setenv("CF_HOME", filepath.Join(e.WorkDir, ".home"))
	e.Setenv("CONFIG", filepath.Join(e.WorkDir, ".home", ".cf", "config.json"))
	e.Setenv("CF_PASSWORD", f.password)
	e.Setenv("TZ", "UTC")
	e.Setenv("CF", os.Getenv("CF"))
	return nil
}

// foundation is a whole control plane behind a real port, with machines that
// only say that they build and run.
type foundation struct {
	server   *httptest.Server
	ledger   *sqliteLedger
	machines *machines
	logs     *logcache.Cache
	password string
}

type sqliteLedger = struct {
	cf.Store
	io.Closer
}

func newFoundation(data string) (*foundation, error) {
	ctx := context.Background()
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	db, err := sqlite.Open(ctx, filepath.Join(data, "ledger.db"))
	if err != nil {
		return nil, err
	}
	key, err := uaa.Key(filepath.Join(data, "token-key.pem"))
	if err != nil {
		return nil, err
	}
	blobs, err := blob.Open(filepath.Join(data, "blobs"))
	if err != nil {
		return nil, err
	}
	logs := logcache.New(logcache.DefaultBounds())
	m := &machines{store: db, blobs: blobs, logs: logs}
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	login := uaa.New(db, key, server.URL)
	s, err := api.New(ctx, api.Config{Store: db, UAA: login, Blobs: blobs, Logs: logs, Stager: m, Runtime: m, URL: server.URL, Domain: "apps.test",
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	handler = s.Handler()
	f := &foundation{server: server, ledger: &sqliteLedger{db, db}, machines: m, logs: logs, password: "first-password"}
	_, err = login.EnsureAdmin(ctx, func() (string, error) {
		return f.password, uaa.WriteSecret(filepath.Join(data, client.PasswordFile), []byte(f.password+"\n"))
	})
	return f, errors.Join(err, client.Publish(data, server.URL))
}

func (f *foundation) close() {
	f.server.Close()
	f.machines.building.Wait()
	f.logs.Close()
	f.ledger.Close()
}

// machines is a Stager and a Runtime that does in the ledger what the real ones
// do with compilers and guests. A build tells the files of its package; one with
// a file broken.go fails.
type machines struct {
	store    cf.Store
	blobs    *blob.Store
	logs     *logcache.Cache
	building sync.WaitGroup

	mu      sync.Mutex
	crashes map[string]bool // names of apps whose instances crash
}

func (m *machines) write(app, source, text string) {
	for line := range strings.Lines(text) {
		m.logs.Log(cf.LogLine{AppGUID: app, Time: time.Now(), Source: source, Instance: "0", Text: []byte(strings.TrimSuffix(line, "\n"))})
	}
}

func (m *machines) Stage(_ context.Context, build string) error {
	m.building.Go(func() {
		if err := m.store.Update(context.Background(), func(tx cf.Tx) error { return m.build(tx, build) }); err != nil {
			panic(err)
		}
	})
	return nil
}

func (m *machines) build(tx cf.Tx, build string) error {
	b, err := cf.Get[cf.Build](tx, build)
	if err != nil {
		return err
	}
	p, err := cf.Get[cf.Package](tx, b.PackageGUID)
	if err != nil {
		return err
	}
	z, err := zip.OpenReader(m.blobs.Path(p.Checksum))
	if err != nil {
		return err
	}
	defer z.Close()
	broken := false
	for _, f := range z.File {
		m.write(b.AppGUID, "STG", "builds "+f.Name+" "+f.Mode().String())
		broken = broken || f.Name == "broken.go"
	}
	if broken {
		b.State, b.Error = "FAILED", "broken.go:3:1: undefined: nothing"
		return tx.Save(b)
	}
	d := &cf.Droplet{AppGUID: b.AppGUID, SpaceGUID: b.SpaceGUID, PackageGUID: p.GUID, State: "STAGED", Stack: "cflinuxfs4", Checksum: p.Checksum,
		ProcessTypes: map[string]string{"web": "./app", "worker": "./app work"}}
	if err := tx.Insert(d); err != nil {
		return err
	}
	b.State, b.DropletGUID = "STAGED", d.GUID
	return tx.Save(b)
}

// Changed ends what waits: tasks succeed unless their command says fail,
// deployments are done.
func (m *machines) Changed(ctx context.Context, app string) error {
	return m.store.Update(ctx, func(tx cf.Tx) error {
		here := cf.Query{Where: []cf.Cond{cf.Is("app_guid", app)}}
		tasks, err := cf.List[cf.Task](tx, here)
		if err != nil {
			return err
		}
		for _, t := range tasks {
			if t.State != cf.TaskPending {
				continue
			}
			if t.State = "SUCCEEDED"; strings.Contains(t.Command, "fail") {
				t.State, t.FailureReason = "FAILED", "APP/TASK: Exited with status 1"
			}
			if err := tx.Save(t); err != nil {
				return err
			}
		}
		deployments, err := cf.List[cf.Deployment](tx, here)
		if err != nil {
			return err
		}
		for _, d := range deployments {
			switch {
			case d.Status == cf.Active && d.Reason == "CANCELING":
				err = withdraw(tx, d)
			case d.Status == cf.Active && d.Pausing:
				d.Reason = "PAUSED"
				err = tx.Save(d)
			case d.Status == cf.Active:
				err = finish(tx, d)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// withdraw takes away the process that a deployment has brought up.
func withdraw(tx cf.Tx, d *cf.Deployment) error {
	p, err := cf.Get[cf.Process](tx, d.ProcessGUID)
	if err == nil {
		err = tx.Delete(p)
	}
	if err != nil {
		return err
	}
	d.Status, d.Reason = cf.Finalized, "CANCELED"
	return tx.Save(d)
}

// finish leaves the process that a deployment has brought up.
func finish(tx cf.Tx, d *cf.Deployment) error {
	webs, err := cf.List[cf.Process](tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", d.AppGUID), cf.Is("type", "web")}})
	if err != nil {
		return err
	}
	for _, p := range webs {
		if p.GUID != d.ProcessGUID {
			if err := tx.Delete(p); err != nil {
				return err
			}
		}
	}
	for _, p := range webs {
		if p.GUID == d.ProcessGUID {
			p.DeploymentGUID, p.Instances = "", d.Target
			if err := tx.Save(p); err != nil {
				return err
			}
		}
	}
	d.Status, d.Reason = cf.Finalized, "DEPLOYED"
	return tx.Save(d)
}

func (m *machines) Instances(ctx context.Context, process string) (list []cf.ActualLRP, err error) {
	err = m.store.View(ctx, func(tx cf.Tx) error {
		p, err := cf.Get[cf.Process](tx, process)
		if err != nil {
			return err
		}
		a, err := cf.Get[cf.App](tx, p.AppGUID)
		if err != nil {
			return err
		}
		m.mu.Lock()
		crashes := m.crashes[a.Name]
		m.mu.Unlock()
		if d := p.Desired(a); d != nil {
			for i := range d.Instances {
				l := cf.ActualLRP{ProcessGUID: p.GUID, Version: p.Version, Index: i, State: "RUNNING", Routable: true, Since: time.Now(), MemoryBytes: 12 << 20, CPU: 0.015}
				if crashes {
					l.State, l.Routable, l.Details = "CRASHED", false, "exited with status 2"
				}
				list = append(list, l)
			}
		}
		return nil
	})
	return list, err
}

func (m *machines) Stop(context.Context, string, int) error { return nil }

// The commands of scripts.

func foundationOf(ts *testscript.TestScript) *foundation {
	return ts.Value("foundation").(*foundation)
}

var unstable = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "GUID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d{4})?`), "TIME"},
	{regexp.MustCompile(`http://127\.0\.0\.1:\d+`), "URL"},
	{regexp.MustCompile(`\.test:\d+`), ".test:PORT"},
	{regexp.MustCompile(`"uptime_seconds": \d+(\.\d+)?`), `"uptime_seconds": 1`},
	{regexp.MustCompile(`\b\d+(\.\d+)?[BK]\b`), "SIZE"},
}

// normal writes what the last command printed to a file, less what differs from
// run to run: normal stdout|stderr FILE.
func normal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: normal stdout|stderr FILE")
	}
	text := ts.ReadFile(args[0])
	for _, u := range unstable {
		text = u.pattern.ReplaceAllString(text, u.name)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// say writes a line to an app's log: say APP SOURCE TEXT.
func say(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: say APP SOURCE TEXT")
	}
	f := foundationOf(ts)
	var guid string
	ts.Check(f.ledger.View(context.Background(), func(tx cf.Tx) error {
		a, err := cf.First[cf.App](tx, cf.Is("name", args[0]))
		if err == nil && a == nil {
			err = errors.New("no app " + args[0])
		}
		if err == nil {
			guid = a.GUID
		}
		return err
	}))
	f.machines.write(guid, args[1], strings.ReplaceAll(args[2], `\e`, "\x1b"))
}

// crash lets all instances of an app crash, now and in future: crash APP.
func crash(ts *testscript.TestScript, neg bool, args []string) {
	m := foundationOf(ts).machines
	m.mu.Lock()
	defer m.mu.Unlock()
	m.crashes = map[string]bool{args[0]: !neg}
}

// expire ends all sessions of admin.
func expire(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(foundationOf(ts).ledger.Update(context.Background(), func(tx cf.Tx) error {
		a, err := cf.First[cf.Account](tx, cf.Is("username", "admin"))
		if err != nil {
			return err
		}
		a.Generation++
		return tx.Save(a)
	}))
}

// mode checks the permissions of a file: mode FILE 600.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

// exits runs a command that must end with a status: status N COMMAND ARG...
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	var e *exec.ExitError
	if !errors.As(err, &e) || strconv.Itoa(e.ExitCode()) != args[0] {
		ts.Fatalf("it ends with %v, want status %s", err, args[0])
	}
}
