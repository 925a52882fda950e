package cell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/stager"
	"github.com/dewpaas/dew/store/sqlite"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/keeper"
	"github.com/dewpaas/dew/tender/process"
)

// testCell is this run's own: a cell ends the guests on its host that have its name
// and that its keeper does not know.
var testCell = fmt.Sprintf("cell-test-%d", os.Getpid())

// TestMain is also the keeper.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "keep" {
		err := keeper.Serve(context.Background(), os.Args[2], map[string]keeper.Maker{
			"process": func(context.Context) (tender.Tender, error) { return process.New() }})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	os.RemoveAll(workshop.dir)
	os.Exit(code)
}

// workshop has the droplet of testdata/app, built once for all tests.
var workshop struct {
	once   sync.Once
	dir    string
	parts  *droplet.Store
	digest string
	err    error
}

// patience bounds every wait of these tests; a passing run never needs it.
const patience = 3 * time.Minute

// house is a ledger, droplets and a keeper, for one cell after the other.
type house struct {
	*testing.T
	folder string
	store  cf.Store
	sick   atomic.Bool // the ledger fails
	parts  *droplet.Store
	digest string
	lines  lines

	cell    *Cell
	stop    func()
	stopped chan error
}

func newHouse(t *testing.T) *house {
	t.Helper()
	if _, err := process.New(); err != nil {
		t.Skip(err)
	}
	h := &house{T: t, folder: t.TempDir()}
	db, err := sqlite.Open(t.Context(), filepath.Join(h.folder, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	h.store = flaky{db, &h.sick}
	h.parts, h.digest = build(t)
	h.lines.news = make(chan struct{})
	t.Cleanup(func() {
		h.close()
		h.clear()
		db.Close()
	})
	return h
}

// build makes the droplet of testdata/app.
func build(t *testing.T) (*droplet.Store, string) {
	t.Helper()
	w := &workshop
	w.once.Do(func() {
		var cache string
		var b *stager.Builder
		var d *droplet.Droplet
		if cache, w.err = os.UserCacheDir(); w.err != nil {
			return
		}
		if b, w.err = stager.New(t.Context(), stager.Config{Cache: filepath.Join(cache, "dew", "stager"), NoSandbox: true}); w.err != nil {
			return
		}
		if w.dir, w.err = os.MkdirTemp("", "cell-test-"); w.err != nil {
			return
		}
		if w.parts, w.err = droplet.OpenStore(w.dir); w.err != nil {
			return
		}
		if d, w.err = b.Build(t.Context(), &stager.Request{Files: os.DirFS("testdata/app")}, w.parts); w.err == nil {
			w.digest = d.Digest()
		}
	})
	if w.err != nil {
		t.Fatal(w.err)
	}
	return w.parts, w.digest
}

// flaky is a ledger that can be made to fail.
type flaky struct {
	cf.Store
	sick *atomic.Bool
}

var errSick = errors.New("the ledger is sick")

func (f flaky) View(ctx context.Context, do func(cf.Tx) error) error {
	if f.sick.Load() {
		return errSick
	}
	return f.Store.View(ctx, do)
}

func (f flaky) Update(ctx context.Context, do func(cf.Tx) error) error {
	if f.sick.Load() {
		return errSick
	}
	return f.Store.Update(ctx, do)
}

// lines collects the log.
type lines struct {
	mu   sync.Mutex
	all  []cf.LogLine
	news chan struct{}
}

func (l *lines) Log(line cf.LogLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
	close(l.news)
	l.news = make(chan struct{})
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, line := range l.all {
		kind := "OUT"
		if line.Err {
			kind = "ERR"
		}
		fmt.Fprintf(&b, "[%s/%s] %s %s\n", line.Source, line.Instance, kind, line.Text)
	}
	return b.String()
}

// open starts a cell on the house.
func (h *house) open(change ...func(*Config)) {
	h.Helper()
	cfg := Config{ID: testCell, Zone: "z1", MemoryMB: 4096, DiskMB: 4096, Ledger: &Direct{Store: h.store, ID: testCell, Alone: true}, Droplets: h.parts, Logs: &h.lines,
		Log: slog.New(slog.NewTextHandler(h.Output(), nil)), Guests: netip.MustParsePrefix("10.255.0.0/16"), Beat: 50 * time.Millisecond, Grace: 10 * time.Second,
		Keeper: func(ctx context.Context) (*keeper.Client, error) { return keeper.Open(ctx, h.folder, h.keeperCommand) }}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if h.cell, err = New(h.Context(), cfg); err != nil {
		h.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	h.stop, h.stopped = stop, make(chan error, 1)
	go func() { h.stopped <- h.cell.Run(ctx) }()
}

func (h *house) keeperCommand() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", "keep", h.folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stderr = os.Stderr
	return cmd
}

// close ends the cell and lets its guests live.
func (h *house) close() {
	if h.cell == nil {
		return
	}
	h.stop()
	if err := <-h.stopped; err != nil {
		h.Error(err)
	}
	h.cell.Close()
	h.cell = nil
}

// clear ends what the keeper still has, so that it ends too.
func (h *house) clear() {
	c, err := keeper.Open(context.Background(), h.folder, h.keeperCommand)
	if err != nil {
		h.Error(err)
		return
	}
	list, err := c.List(context.Background())
	if err != nil {
		h.Error(err)
	}
	for _, k := range list {
		g, err := c.Adopt(context.Background(), k.Name)
		if err != nil {
			h.Error(err)
			continue
		}
		g.Kill()
		g.Stdout.Close()
		g.Stderr.Close()
		if err := g.Forget(); err != nil {
			h.Error(err)
		}
	}
}

// placement is one of an app's instances.
func (h *house) placement(app, command string) *cf.Placement {
	return &cf.Placement{Meta: cf.Meta{GUID: cf.NewGUID()}, ProcessGUID: "p-" + app, Version: "1", AppGUID: app, SpaceGUID: "space", Type: "web", MemoryMB: 64, DiskMB: 64, CellID: testCell,
		Launch: &cf.Launch{DropletSHA256: h.digest, Command: command, MemoryMB: 64, DiskMB: 64, LogRate: -1, Env: map[string]string{"MINE": "yes", "VCAP_APPLICATION": `{"name":"x"}`},
			Health: cf.HealthCheck{Type: "port"}, Readiness: cf.HealthCheck{Type: "process"}}}
}

func (h *house) update(f func(cf.Tx) error) {
	h.Helper()
	if err := h.store.Update(context.Background(), f); err != nil {
		h.Fatal(err)
	}
	if h.cell != nil {
		h.cell.Wake()
		h.cell.Rewire()
	}
}

func (h *house) place(p *cf.Placement) *cf.Placement {
	h.Helper()
	h.update(func(tx cf.Tx) error { return tx.Insert(p) })
	return p
}

func (h *house) unplace(p *cf.Placement) {
	h.Helper()
	p.Stopping = true
	h.update(func(tx cf.Tx) error { return tx.Save(p) })
}

// report is what the ledger says of an instance; nil: nothing.
func (h *house) report(guid string) (r *cf.Report) {
	h.Helper()
	err := h.store.View(context.Background(), func(tx cf.Tx) (err error) {
		r, err = cf.First[cf.Report](tx, cf.Is("guid", guid))
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return r
}

// until waits until ok. It looks again and again: what it looks at has no bell.
func (h *house) until(what string, ok func() bool) {
	h.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			h.Fatalf("%s: not in %v. The log:\n%s", what, patience, h.lines.text())
		}
	}
}

func (h *house) untilState(p *cf.Placement, state string) *cf.Report {
	h.Helper()
	var r *cf.Report
	h.until(p.GUID+" "+state, func() bool { r = h.report(p.GUID); return r != nil && r.State == state })
	return r
}

func (h *house) untilLogged(text string) {
	h.Helper()
	h.until("log line "+text, func() bool { return strings.Contains(h.lines.text(), text) })
}

// get asks an instance over HTTP, as the router would.
func (h *house) get(r *cf.Report, path string) string {
	h.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return h.cell.Network().DialTCP(ctx, netip.AddrPortFrom(netip.MustParseAddr(r.Address), 8080))
	}}}
	a, err := client.Get("http://app" + path)
	if err != nil {
		h.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		h.Fatal(err)
	}
	return string(b)
}

func (h *house) kept() int {
	h.Helper()
	c, err := keeper.Open(h.Context(), h.folder, h.keeperCommand)
	if err != nil {
		h.Fatal(err)
	}
	list, err := c.List(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	return len(list)
}

func TestInstanceFromStartToEnd(t *testing.T) {
	h := newHouse(t)
	h.open()
	p := h.place(h.placement("app", "./app graceful"))
	r := h.untilState(p, cf.InstanceRunning)
	if !r.Routable || r.CellID != testCell || r.AppGUID != "app" {
		t.Errorf("%+v", r)
	}
	env := strings.Split(h.get(r, "/env"), "\n")
	for _, want := range []string{"PORT=8080", "MINE=yes", "CF_INSTANCE_GUID=" + p.GUID, "CF_INSTANCE_INDEX=0", "CF_INSTANCE_INTERNAL_IP=" + r.Address, "USER=vcap", "TMPDIR=/tmp",
		`VCAP_APPLICATION={"host":"0.0.0.0","instance_id":"` + p.GUID + `","instance_index":0,"name":"x","port":8080}`} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in\n%s", want, strings.Join(env, "\n"))
		}
	}
	h.until("usage", func() bool { u := h.cell.Usage()[p.GUID]; return u.MemoryBytes > 1<<20 })
	h.unplace(p)
	r = h.untilState(p, cf.InstanceEnded)
	if r.Status != 0 || r.Details != "APP/PROC/WEB: Exited with status 0" || r.Address != "" || r.Routable {
		t.Errorf("%+v", r)
	}
	h.update(func(tx cf.Tx) error { return tx.Delete(p) })
	h.until("the report is gone", func() bool { return h.report(p.GUID) == nil })
	if n := h.kept(); n != 0 || len(h.cell.Usage()) != 0 {
		t.Errorf("%d guests are kept", n)
	}
	at := 0
	for _, line := range []string{"[CELL/0] OUT Cell " + testCell + " creating container for instance " + p.GUID, "[CELL/0] OUT Cell " + testCell + " successfully created container", "[CELL/0] OUT Container became healthy", "[CELL/0] OUT Cell " + testCell + " stopping instance", "[APP/PROC/WEB/0] OUT asked to end\n", "[APP/PROC/WEB/0] OUT Exit status 0\n",
		"[CELL/0] OUT Cell " + testCell + " successfully destroyed"} {
		n := strings.Index(h.lines.text()[at:], line)
		if n < 0 {
			t.Errorf("no line %q behind the others in\n%s", line, h.lines.text())
		}
		at += max(n, 0)
	}
	if !strings.Contains(h.lines.text(), "[APP/PROC/WEB/0] ERR serving\n") {
		t.Errorf("no word from the program in\n%s", h.lines.text())
	}
}

func TestWaysToEnd(t *testing.T) {
	h := newHouse(t)
	h.open(func(c *Config) { c.Grace = 300 * time.Millisecond })
	for _, c := range []struct {
		command string
		change  func(*cf.Placement)
		status  int
		details string
	}{
		{"./app exit 3", nil, 3, "APP/PROC/WEB: Exited with status 3"},
		{"./app exit 0", func(p *cf.Placement) { p.TaskGUID, p.ProcessGUID, p.Type = "t", "", "job" }, 0, "APP/TASK/job: Exited with status 0"},
		{"./app hog", nil, 137, "APP/PROC/WEB: Exited with status 137 (out of memory)"},
		{"./app panic", nil, 2, "APP/PROC/WEB: Exited with status 2 (panic: all is lost)"},
		{"./app nil", nil, 2, "APP/PROC/WEB: Exited with status 2 (panic: runtime error: invalid memory address or nil pointer dereference)"},
		{"./app deadlock", nil, 2, "APP/PROC/WEB: Exited with status 2 (fatal error: all goroutines are asleep - deadlock!)"},
		{"./app exec", nil, 1, "APP/PROC/WEB: Exited with status 1"},
		{"./app wall", nil, 159, " forbidden system call"}, // which one, only the kernel's log tells, of few in a short time
		{"./app silent", func(p *cf.Placement) { p.Launch.Health.Timeout = 1 }, 137, "Instance never healthy after 1s: Failed to make TCP connection to 10.255."},
		{"./app serve", func(p *cf.Placement) {
			p.Launch.Health = cf.HealthCheck{Type: "http", Endpoint: "/nothing", Timeout: 5} // time for a busy machine to answer
		}, 137,
			"Instance never healthy after 5s: Failed to make HTTP request to '/nothing' on port 8080: received status code 404. The program must answer 200 there; give it more time with -t"},
		{"./other", nil, 255, `failed to start: start command "./other": there is no program "./other": the droplet has app`},
		{"./app | cat", nil, 255, "there is no shell in a guest"},
		{"./app", func(p *cf.Placement) { p.Launch.DropletSHA256 = strings.Repeat("0", 64) }, 255, "is not on this cell: stage the app again"},
	} {
		t.Run(c.command, func(t *testing.T) {
			p := h.placement("app", c.command)
			if c.change != nil {
				c.change(p)
			}
			r := h.untilState(h.place(p), cf.InstanceEnded)
			if r.Status != c.status || !strings.Contains(r.Details, c.details) {
				t.Errorf("status %d, %s; want %d, %s", r.Status, r.Details, c.status, c.details)
			}
		})
	}
	stubborn := h.place(h.placement("app", "./app stubborn"))
	h.untilState(stubborn, cf.InstanceRunning)
	h.unplace(stubborn)
	if r := h.untilState(stubborn, cf.InstanceEnded); r.Status != 137 {
		t.Errorf("%+v", r)
	}
	h.untilLogged("[APP/PROC/WEB/0] OUT last words")
	h.untilLogged("[HEALTH/0] ERR Failed to make TCP connection")
	h.untilLogged("[CELL/0] ERR Failed to create container: ")
}

func TestReadiness(t *testing.T) {
	h := newHouse(t)
	h.open()
	p := h.placement("app", "./app")
	p.Launch.Readiness = cf.HealthCheck{Type: "http", Endpoint: "/ready", Interval: 1}
	r := h.untilState(h.place(p), cf.InstanceRunning)
	h.until("ready", func() bool { return h.report(p.GUID).Routable })
	h.get(r, "/unready")
	h.until("not ready", func() bool { return !h.report(p.GUID).Routable })
	if r := h.report(p.GUID); r.State != cf.InstanceRunning || !strings.Contains(r.Details, "received status code 503") {
		t.Errorf("%+v", r)
	}
}

// TestCellIsReplaced: a new cell finds the guests of the old one as they were,
// ends what is not wanted any more, and begins what was placed meanwhile.
func TestCellIsReplaced(t *testing.T) {
	h := newHouse(t)
	h.open()
	stays, goes, dies := h.place(h.placement("stays", "./app")), h.place(h.placement("goes", "./app")), h.place(h.placement("dies", "./app"))
	r := h.untilState(stays, cf.InstanceRunning)
	h.untilState(goes, cf.InstanceRunning)
	dead := h.untilState(dies, cf.InstanceRunning)
	if got := h.get(r, "/count"); got != "1" {
		t.Fatal(got)
	}
	pid := h.cell.instances[stays.GUID].guest.PID()
	network, err := h.cell.Network().File()
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	h.close()

	later := h.place(h.placement("later", "./app"))
	h.update(func(tx cf.Tx) error { return tx.Delete(goes) })
	h.open()
	h.untilState(later, cf.InstanceRunning)
	h.until("what is not wanted is gone", func() bool { return h.report(goes.GUID) == nil && h.kept() == 3 })
	if now := h.untilState(stays, cf.InstanceRunning); now.Address != r.Address || !now.Routable {
		t.Errorf("%+v, was %+v", now, r)
	}
	if got := h.get(r, "/count"); got != "2" || h.cell.instances[stays.GUID].guest.PID() != pid {
		t.Errorf("count %s: another guest", got)
	}
	// One that ends while there is no cell: the next one knows how.
	exiting := make(chan struct{})
	go func() {
		defer close(exiting)
		client := http.Client{Timeout: patience, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return h.cell.Network().DialTCP(ctx, netip.AddrPortFrom(netip.MustParseAddr(dead.Address), 8080))
		}}}
		client.Get("http://app/exit")
	}()
	<-exiting
	h.close()
	h.open()
	if r := h.untilState(dies, cf.InstanceEnded); r.Status != 9 {
		t.Errorf("%+v", r)
	}
}

// TestCellIsShut: guests end, placements stay and begin anew with the next cell.
func TestCellIsShut(t *testing.T) {
	h := newHouse(t)
	h.open()
	p := h.place(h.placement("app", "./app graceful"))
	task := h.placement("app", "./app silent")
	task.TaskGUID, task.ProcessGUID, task.Type = "t", "", "job"
	h.place(task)
	h.untilState(p, cf.InstanceRunning)
	h.untilState(task, cf.InstanceRunning)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.cell.Shut(ctx); err != nil {
		t.Fatal(err)
	}
	h.untilLogged("asked to end")
	if r := h.report(p.GUID); r != nil {
		t.Errorf("it is still reported: %+v", r)
	}
	if r := h.report(task.GUID); r == nil || r.State != cf.InstanceEnded {
		t.Errorf("a task is not run twice: %+v", r)
	}
	if n := h.kept(); n != 0 {
		t.Errorf("%d guests are kept", n)
	}
	h.close()
	h.open()
	h.untilState(p, cf.InstanceRunning)
}

func TestKeeperIsLost(t *testing.T) {
	h := newHouse(t)
	h.open()
	first := h.place(h.placement("app", "./app"))
	h.untilState(first, cf.InstanceRunning)
	killKeeper(t, h.folder)
	if r := h.untilState(first, cf.InstanceEnded); !strings.Contains(r.Details, "keeper") {
		t.Errorf("%+v", r)
	}
	second := h.place(h.placement("app", "./app"))
	r := h.untilState(second, cf.InstanceRunning)
	if got := h.get(r, "/count"); got != "1" {
		t.Error(got)
	}
}

// killKeeper finds the keeper of a folder by the lock that it holds.
func killKeeper(t *testing.T, folder string) {
	t.Helper()
	out, err := exec.Command("pgrep", "-f", "keep "+folder+"$").Output()
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(out), &pid); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGKILL)
}

// TestLedgerFails: guests go on, and what happened is told later.
func TestLedgerFails(t *testing.T) {
	h := newHouse(t)
	h.open()
	p := h.place(h.placement("app", "./app"))
	r := h.untilState(p, cf.InstanceRunning)
	h.sick.Store(true)
	h.cell.Wake()
	if got := h.get(r, "/count"); got != "1" {
		t.Error(got)
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return h.cell.Network().DialTCP(ctx, netip.AddrPortFrom(netip.MustParseAddr(r.Address), 8080))
	}}}
	client.Get("http://app/exit")
	h.untilLogged("Exit status 9")
	h.sick.Store(false)
	if r := h.untilState(p, cf.InstanceEnded); r.Status != 9 {
		t.Errorf("%+v", r)
	}
}

// withApps puts apps into a space of the ledger.
func (h *house) withApps(names ...string) {
	h.Helper()
	h.update(func(tx cf.Tx) error {
		org := &cf.Organization{Name: "o"}
		if err := tx.Insert(org); err != nil {
			return err
		}
		err := tx.Insert(&cf.Space{Meta: cf.Meta{GUID: "space"}, Name: "s", OrgGUID: org.GUID})
		for _, name := range names {
			err = errors.Join(err, tx.Insert(&cf.App{Meta: cf.Meta{GUID: name}, Name: name, SpaceGUID: "space"}))
		}
		return err
	})
}

// TestWhoMayTalkToWhom: apps do not reach each other until a policy says so,
// and then at once.
func TestWhoMayTalkToWhom(t *testing.T) {
	h := newHouse(t)
	h.withApps("a", "b")
	h.open()
	a, b := h.place(h.placement("a", "./app")), h.place(h.placement("b", "./app"))
	ra, rb := h.untilState(a, cf.InstanceRunning), h.untilState(b, cf.InstanceRunning)
	ask := "/dial?to=" + rb.Address + ":8080"
	if got := h.get(ra, ask); !strings.HasPrefix(got, "no: ") {
		t.Errorf("without a policy: %s", got)
	}
	h.untilLogged(`"message":"cfnetworking.iptables.ingress-denied"`)
	h.update(func(tx cf.Tx) error {
		domain := &cf.Domain{Name: "apps.internal", Internal: true}
		if err := tx.Insert(domain); err != nil {
			return err
		}
		route := &cf.Route{SpaceGUID: "space", DomainGUID: domain.GUID, Host: "b"}
		if err := tx.Insert(route); err != nil {
			return err
		}
		if err := tx.Insert(&cf.Destination{RouteGUID: route.GUID, AppGUID: "b", ProcessType: "web", Protocol: "http1"}); err != nil {
			return err
		}
		return tx.Insert(&cf.NetworkPolicy{SourceGUID: "a", DestinationGUID: "b", Protocol: "tcp", StartPort: 8080, EndPort: 8080})
	})
	h.until("the policy holds", func() bool { return h.get(ra, ask) == "yes" })
	// The name is served to whom the policy lets in, and to nobody else.
	h.until("the name leads there", func() bool { return h.get(ra, "/dial?to=b.apps.internal:8080") == "yes" })
	if got := h.get(rb, "/dial?to=b.apps.internal:8080"); !strings.Contains(got, "no such host") {
		t.Errorf("a name without a policy: %s", got)
	}
	if got := h.get(rb, "/dial?to="+ra.Address+":8080"); !strings.HasPrefix(got, "no: ") {
		t.Errorf("a policy has one direction: %s", got)
	}
}

// TestLend: a place has the vNIC of an instance of its app, and is gone with its
// loan. Nothing is opened by it that is somebody's.
func TestLend(t *testing.T) {
	h := newHouse(t)
	h.withApps("a")
	h.open()
	wishes := []Wish{{AppGUID: "a", SpaceGUID: "space"}, {AppGUID: "friend", Name: "friend"}}
	to := func(app string) []cf.NetworkPolicy {
		return []cf.NetworkPolicy{{SourceGUID: "a", DestinationGUID: app, Protocol: "udp", StartPort: 1, EndPort: 9}}
	}
	if _, _, err := h.cell.Lend(t.Context(), wishes, to("a")); err == nil {
		t.Error("a policy to an app of the ledger was lent")
	}
	places, giveBack, err := h.cell.Lend(t.Context(), wishes, to("friend"))
	if err != nil {
		t.Fatal(err)
	}
	ask := func() firewall.Answer {
		a, err := h.cell.Wall().Reach(firewall.Question{From: firewall.Peer{Addr: places[0].VNIC.Addr}, To: firewall.Peer{Addr: places[1].VNIC.Addr}, Protocol: "udp", Port: 5})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := ask(); !a.Allowed || a.Rule != "network policy a -> friend, udp 1-9" {
		t.Errorf("%+v", a)
	}
	if places[0].Tap == nil || len(h.cell.Topology().Endpoints) != 2 {
		t.Errorf("%+v", places)
	}
	giveBack()
	h.until("the place is gone", func() bool { return !ask().Allowed && len(h.cell.Topology().Endpoints) == 0 })
}
