package desk

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dewpaas/dew/bus"
	"github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/grant"
	"github.com/dewpaas/dew/cmd/dew/grant/granttest"
	"github.com/dewpaas/dew/cmd/dew/identity"
	"github.com/dewpaas/dew/cmd/dew/roster"
	"github.com/dewpaas/dew/stager/staging"
	"github.com/dewpaas/dew/store"
)

// house is the Desks of two APIs over one ledger, behind mutual TLS with real
// identities.
type house struct {
	*testing.T
	db      cf.Store
	ca      *identity.CA
	dir     string
	desks   []*Desk
	servers []*httptest.Server

	mu    sync.Mutex // guards what follows
	lines []cf.LogLine
	used  []bus.Used
	asked map[string]int // bytes of answers by question
}

// open makes it. guarded is false for what it would be without the guard.
func open(t *testing.T, guarded bool) *house {
	t.Helper()
	h := &house{T: t, dir: t.TempDir(), asked: map[string]int{}}
	h.db = store.Watch(granttest.Ledger(t), func(c store.Changes) {
		for _, d := range h.desks {
			d.Hint(bus.NewChange(c))
		}
	})
	var err error
	if h.ca, err = identity.OpenCA(filepath.Join(h.dir, "ca"), time.Now()); err != nil {
		t.Fatal(err)
	}
	ledger := func(p identity.Peer) cf.Store { return grant.Guard(h.db, p) }
	if !guarded {
		ledger = func(identity.Peer) cf.Store { return h.db }
	}
	for n := range 2 {
		d := New(Config{Ledger: ledger, API: "https://api.test", Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Lines: h.hear,
			Used: func(u bus.Used) {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.used = append(h.used, u)
			}})
		h.desks = append(h.desks, d)
		id := h.identity("api", fmt.Sprint("api-", n+1))
		handler := d.Handler(func(r *http.Request) identity.Peer {
			p, err := id.Of(*r.TLS)
			if err != nil {
				t.Error(err)
			}
			return p
		})
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler.ServeHTTP(&counting{w, h, r.URL.Path}, r)
		}))
		s.Listener = tls.NewListener(s.Listener, id.Server(identity.API, identity.Stager, identity.Cell, identity.Router, identity.Scheduler))
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		s.Start()
		s.URL = "https" + strings.TrimPrefix(s.URL, "http")
		t.Cleanup(s.Close)
		h.servers = append(h.servers, s)
	}
	return h
}

// counting counts the bytes of answers.
type counting struct {
	http.ResponseWriter
	h    *house
	path string
}

func (c *counting) Write(b []byte) (int, error) {
	c.h.mu.Lock()
	c.h.asked[c.path] += len(b)
	c.h.mu.Unlock()
	return c.ResponseWriter.Write(b)
}

func (c *counting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (h *house) hear(list []cf.LogLine) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, list...)
}

func (h *house) identity(role, name string) *identity.Identity {
	h.Helper()
	text, err := h.ca.Issue(role, name, time.Now(), time.Hour)
	if err != nil {
		h.Fatal(err)
	}
	file := filepath.Join(h.dir, role+name+".pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		h.Fatal(err)
	}
	id, err := identity.Load(file)
	if err != nil {
		h.Fatal(err)
	}
	return id
}

// client is that of a process.
func (h *house) client(role, name string) *Client {
	h.Helper()
	var urls []string
	for _, s := range h.servers {
		urls = append(urls, s.URL)
	}
	r, err := roster.Parse(urls)
	if err != nil {
		h.Fatal(err)
	}
	t := roster.Transport(h.identity(role, name).Client(identity.API, ""))
	h.Cleanup(t.CloseIdleConnections)
	return NewClient(r, t, slog.New(slog.NewTextHandler(h.Output(), nil)))
}

func (h *house) update(f func(cf.Tx) error) {
	h.Helper()
	if err := h.db.Update(h.Context(), f); err != nil {
		h.Fatal(err)
	}
}

// ledger is all of it as text.
func (h *house) ledger() (all string) {
	h.Helper()
	if err := h.db.View(h.Context(), func(tx cf.Tx) (err error) { all, err = written(tx); return err }); err != nil {
		h.Fatal(err)
	}
	return all
}

// written is every record of a ledger, one a line.
func written(tx cf.Tx) (string, error) {
	var all strings.Builder
	for _, r := range cf.Nouns() {
		if err := tx.Each(r, cf.Query{Order: []cf.Order{{Key: "guid"}}}, func(doc []byte) error { fmt.Fprintf(&all, "%s %s\n", r.Noun(), doc); return nil }); err != nil {
			return "", err
		}
	}
	return all.String(), nil
}

// TestCellOverTheDesk: a cell sees and says what it needs to.
func TestCellOverTheDesk(t *testing.T) {
	h := open(t, true)
	c := h.client("cell", "c1")
	reports, err := c.Join(t.Context(), &cf.Cell{Guests: "10.251.1.0/24"})
	if err != nil || len(reports) != 1 || reports[0].GUID != "placement-mine" {
		t.Fatalf("%v, %v", reports, err)
	}
	if _, err := c.Join(t.Context(), &cf.Cell{Guests: "10.251.0.0/16"}); cf.KindOf(err) != cf.Conflict || !strings.Contains(err.Error(), "overlaps") {
		t.Errorf("a network that another cell has: %v", err)
	}
	list, err := c.Placed(t.Context())
	if err != nil || len(list) != 1 || list[0].Launch == nil || list[0].Launch.Env["PASSWORD"] != granttest.Mine {
		t.Fatalf("%v, %v", list, err)
	}
	e, err := c.Around(t.Context())
	if err != nil || len(cf.Of[cf.Report](e)) != 1 || cf.Of[cf.Report](e)[0].Address != "10.251.2.2" || len(cf.Of[cf.Placement](e)) != 1 || len(cf.Of[cf.NetworkPolicy](e)) != 1 ||
		len(cf.Of[cf.SecurityGroup](e)) != 2 || len(cf.Of[cf.Setting](e)) != 1 || len(cf.Of[cf.Setting](e)[0].Protected()) != 1 {
		t.Errorf("%v, %v", e, err)
	}
	err = c.Tell(t.Context(), cell.News{Cell: &cf.Cell{Zone: "z1", Guests: "10.251.1.0/24"}, Crashes: []*cf.Crash{{Meta: cf.Meta{GUID: "placement-mine"}, AppGUID: "app-mine", Console: "panic"}},
		Reports: []*cf.Report{{Meta: cf.Meta{GUID: "placement-mine"}, State: cf.InstanceRunning, Address: "10.251.1.9", Host: "192.0.2.1:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	now := h.ledger()
	for _, want := range []string{`"address":"10.251.1.9"`, `"console":"panic"`, `"beat":1`} {
		if !strings.Contains(now, want) {
			t.Errorf("%s is not written", want)
		}
	}
	if err := c.Tell(t.Context(), cell.News{Gone: []string{"placement-mine"}}); err != nil || strings.Contains(h.ledger(), "10.251.1.9") {
		t.Errorf("a report is not taken away: %v", err)
	}
}

// TestRouterOverTheDesk: a router sees where hosts lead, and nothing that is secret.
func TestRouterOverTheDesk(t *testing.T) {
	h := open(t, true)
	r := h.client("router", "r1")
	e, err := r.Routing(t.Context())
	if err != nil || len(cf.Of[cf.Report](e)) != 3 || len(cf.Of[cf.Placement](e)) != 3 || len(cf.Of[cf.Route](e)) != 6 || len(cf.Of[cf.Domain](e)) != 5 {
		t.Errorf("%v, %v", e, err)
	}
	s, err := r.Facts(t.Context())
	if err != nil || s == nil || s.Env["url"] != "https://api.test" || s.Env["token_key"] != "" {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestStagerOverTheDesk: a build from its claim to its end, and what another has.
func TestStagerOverTheDesk(t *testing.T) {
	h := open(t, true)
	s := h.client("stager", "s1")
	builds, leases, err := s.Waiting(t.Context())
	if err != nil || len(builds) != 3 || len(leases) != 2 {
		t.Fatalf("%v %v %v", builds, leases, err)
	}
	for _, b := range builds {
		if b.CreatedBy.Name != "" {
			t.Errorf("it is told who asked for %s", b.GUID)
		}
	}
	if _, err := s.Material(t.Context(), "build-near", 1); !errors.Is(err, staging.ErrTaken) {
		t.Errorf("material without a lease: %v", err)
	}
	token, err := s.Claim(t.Context(), "build-near", nil)
	if err != nil || token != 1 {
		t.Fatal(token, err)
	}
	if _, err := h.client("stager", "s2").Claim(t.Context(), "build-near", nil); !errors.Is(err, staging.ErrTaken) {
		t.Errorf("claimed by both: %v", err)
	}
	m, err := s.Material(t.Context(), "build-near", token)
	if err != nil || m.Package != granttest.Digest("package", "near") || !strings.Contains(m.Env["VCAP_SERVICES"], granttest.Near) || m.Env["B"] != "staging" ||
		!strings.Contains(m.Env["VCAP_APPLICATION"], "www.near.test") {
		t.Errorf("%+v, %v", m, err)
	}
	if err := s.Beat(t.Context(), "build-near", token); err != nil {
		t.Error(err)
	}
	for _, build := range []string{"build-near", "build-far"} { // with another token, and another's
		if err := s.End(t.Context(), build, token+1, staging.Outcome{Digest: "d"}); !errors.Is(err, staging.ErrTaken) {
			t.Errorf("%s ended without its lease: %v", build, err)
		}
	}
	if err := s.Lines(t.Context(), []cf.LogLine{{AppGUID: "app-near", Source: "STG", Text: []byte("built")}}); err != nil {
		t.Error(err)
	}
	if err := s.End(t.Context(), "build-near", token, staging.Outcome{Digest: granttest.Digest("droplet", "near"), Processes: map[string]string{"web": "app"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Lines(t.Context(), []cf.LogLine{{AppGUID: "app-near", Source: "STG", Text: []byte("the end")}}); err != nil || len(h.lines) != 2 {
		t.Errorf("what is said last: %v, %v", h.lines, err)
	}
	var b *cf.Build
	h.update(func(tx cf.Tx) (err error) { b, err = cf.Get[cf.Build](tx, "build-near"); return err })
	if b.State != "STAGED" || b.DropletGUID == "" || b.CreatedBy.GUID != "user" {
		t.Errorf("%+v", b)
	}
	if _, err := s.Material(t.Context(), "build-near", token); !errors.Is(err, staging.ErrTaken) {
		t.Errorf("material of a build that has ended: %v", err)
	}
	if left, err := s.Tidy(t.Context(), []string{"space-far", "gone"}); err != nil || fmt.Sprint(left) != "[space-far]" {
		t.Errorf("%v, %v", left, err)
	}
}

// TestOnlyChangesAreSent: what did not change is not sent again, what changed and
// went away arrives, from another API too, and records that stay are the same ones.
func TestOnlyChangesAreSent(t *testing.T) {
	h := open(t, true)
	const many = 500
	h.update(func(tx cf.Tx) error {
		for n := range many {
			p := &cf.Placement{Meta: cf.Meta{GUID: fmt.Sprintf("more-%03d", n)}, AppGUID: "app-mine", SpaceGUID: "space-mine", Type: "web", CellID: "c1",
				Launch: &cf.Launch{Env: map[string]string{"VCAP_SERVICES": strings.Repeat("x", 2000)}}}
			if err := tx.Insert(p); err != nil {
				return err
			}
		}
		return nil
	})
	c := h.client("cell", "c1")
	ask := func() (list []*cf.Placement, bytes int) {
		t.Helper()
		h.mu.Lock()
		before := h.asked[Path+placed]
		h.mu.Unlock()
		list, err := c.Placed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		return list, h.asked[Path+placed] - before
	}
	all, whole := ask()
	if len(all) != many+1 || whole < many*2000 {
		t.Fatalf("%d placements in %d bytes", len(all), whole)
	}
	again, none := ask()
	if len(again) != many+1 || none > 200 || again[7] != all[7] {
		t.Errorf("%d placements, nothing changed: %d bytes", len(again), none)
	}
	h.update(func(tx cf.Tx) error {
		p, err := cf.Get[cf.Placement](tx, "more-000")
		if err != nil {
			return err
		}
		p.Stopping = true
		gone := *p
		gone.GUID = "more-001"
		return errors.Join(tx.Save(p), tx.Delete(&gone))
	})
	changed, little := ask()
	stopping := 0
	for _, p := range changed {
		if p.Stopping {
			stopping++
		}
	}
	if len(changed) != many || stopping != 1 || little > 5000 {
		t.Errorf("%d placements, %d stop, one changed and one went: %d bytes", len(changed), stopping, little)
	}
	h.servers[0].Close()
	if other, all := ask(); len(other) != many || all < many*2000 {
		t.Errorf("another API: %d placements in %d bytes", len(other), all)
	}
	if _, none := ask(); none > 200 {
		t.Errorf("another API again: %d bytes", none)
	}
	t.Logf("%d instances: %d bytes at first, %d when nothing changed, %d for one change", many, whole, none, little)
}

// TestWithoutAPIs: what is asked fails as unavailable, and works when one is back.
func TestWithoutAPIs(t *testing.T) {
	h := open(t, true)
	c := h.client("cell", "c1")
	for _, s := range h.servers {
		s.Close()
	}
	if _, err := c.Placed(t.Context()); cf.KindOf(err) != cf.Unavailable {
		t.Error(err)
	}
	if err := c.Tell(t.Context(), cell.News{}); cf.KindOf(err) != cf.Unavailable {
		t.Error(err)
	}
}

// TestHints: who follows is told of what concerns it, at once, and that it may have
// missed something whenever it begins anew, with the next API when one is gone.
func TestHints(t *testing.T) {
	h := open(t, true)
	told := make(chan []cf.Noun, 100)
	ctx, stop := context.WithCancel(t.Context())
	var following sync.WaitGroup
	following.Go(func() { h.client("router", "r1").Follow(ctx, func(n []cf.Noun) { told <- n }) })
	defer following.Wait()
	defer stop()
	expect := func(want string) {
		t.Helper()
		select {
		case n := <-told:
			if fmt.Sprint(n) != want {
				t.Errorf("told of %v, want %s", n, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("nothing is told, want %s", want)
		}
	}
	expect("[]")                                                                 // look at everything
	h.update(func(tx cf.Tx) error { return tx.Insert(&cf.User{Username: "x"}) }) // does not concern it
	h.update(func(tx cf.Tx) error { return tx.Insert(&cf.Domain{Name: "x.test"}) })
	expect("[domains]")
	h.servers[0].Listener.Close()
	h.servers[0].CloseClientConnections()
	expect("[]") // the other API
	h.update(func(tx cf.Tx) error { return tx.Insert(&cf.Domain{Name: "y.test"}) })
	expect("[domains]")
	h.servers[1].CloseClientConnections()
	expect("[]")
}

// TestLines: each role writes lines of apps that are its own, from sources that are
// its own.
func TestLines(t *testing.T) {
	h := open(t, true)
	for _, c := range []struct {
		role, name, app, source string
		taken                   bool
	}{
		{"cell", "c1", "app-mine", "APP/PROC/WEB", true},
		{"cell", "c1", "app-mine", "CELL", true},
		{"cell", "c1", "app-mine", "RTR", false},
		{"cell", "c1", "app-mine", "STG", false},
		{"cell", "c1", "app-near", "APP/PROC/WEB", false},
		{"cell", "c1", "app-far", "APP/PROC/WEB", false},
		{"cell", "c1", "", "CELL", false},
		{"router", "r1", "app-far", "RTR", true},
		{"router", "r1", "app-far", "APP/PROC/WEB", false},
		{"router", "r1", "gone", "RTR", false},
		{"stager", "s1", "app-mine", "STG", true},
		{"stager", "s1", "app-far", "STG", false},
		{"stager", "s1", "app-mine", "API", false},
	} {
		h.lines = nil
		err := h.client(c.role, c.name).Lines(t.Context(), []cf.LogLine{{AppGUID: c.app, Source: c.source, Text: []byte("x")}})
		if err != nil || len(h.lines) == 1 != c.taken {
			t.Errorf("%+v: %v, %v", c, h.lines, err)
		}
	}
	h.lines = nil
	err := h.client("cell", "c1").Lines(t.Context(), []cf.LogLine{{AppGUID: "app-mine", Source: "CELL", Text: make([]byte, maxText+1)}, {AppGUID: "app-mine", Source: "CELL", Instance: strings.Repeat("1", maxWord+1)}})
	if err != nil || len(h.lines) != 0 {
		t.Errorf("lines without bounds: %d, %v", len(h.lines), err)
	}
}

// TestUsage: a cell tells of its own instances, in its own name.
func TestUsage(t *testing.T) {
	h := open(t, true)
	if err := h.client("cell", "c1").Usage(t.Context(), bus.Used{Cell: "c2", Instances: map[string]cf.Usage{"placement-mine": {CPU: 1}, "placement-far": {CPU: 99}}}); err != nil {
		t.Fatal(err)
	}
	if len(h.used) != 1 || h.used[0].Cell != "c1" || len(h.used[0].Instances) != 1 || h.used[0].Instances["placement-mine"].CPU != 1 {
		t.Errorf("%+v", h.used)
	}
}

// TestWhoMayAsk: every question by every role: who is not in the table is refused, and
// so are strangers.
func TestWhoMayAsk(t *testing.T) {
	h := open(t, true)
	may := map[string]string{
		"cell":   "around facts hints join lines placed tell usage",
		"router": "facts hints lines routing",
		"stager": "beat claim end facts hints lines material tidy waiting",
		"api":    "", "scheduler": "",
	}
	for role, words := range may {
		c := h.client(role, "x1")
		for pattern := range h.desks[0].questions() {
			method, path, _ := strings.Cut(pattern, " ")
			word := strings.TrimPrefix(path, Path)
			ctx, cancel := context.WithCancel(t.Context())
			a, err := c.send(ctx, method, strings.TrimPrefix(h.servers[0].URL, "https://"), word, []byte("{"))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := a.StatusCode != http.StatusForbidden, strings.Contains(" "+words+" ", " "+word+" "); got != want {
				t.Errorf("%s asks %s: %s", role, word, a.Status)
			}
			cancel()
			a.Body.Close()
		}
	}
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	if a, err := stranger.Get(h.servers[0].URL + Path + placed); err == nil {
		b, _ := io.ReadAll(a.Body)
		t.Errorf("a stranger is answered: %s %s", a.Status, b)
	}
}
