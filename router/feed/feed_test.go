package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/router"
	"github.com/dewpaas/dew/store/sqlite"
)

// street is a ledger with a router that follows it. Instances are servers on
// loopback, whatever address the ledger says.
type street struct {
	*testing.T
	store  cf.Store
	feed   *Feed
	table  *router.Table
	addr   string
	space  string
	domain *cf.Domain
	later  atomic.Int64 // the time, which stands still unless a test moves it
	mu     sync.Mutex
	dials  map[string]string // address in the ledger to address on loopback
}

func newStreet(t *testing.T) *street {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	s := &street{T: t, store: db, table: router.NewTable(), dials: map[string]string{}, domain: &cf.Domain{Name: "apps.test"}}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s.feed = New(&Direct{Store: db}, s.table, log)
	s.feed.now = func() time.Time { return time.Unix(0, s.later.Load()) }
	o := &cf.Organization{Name: "o"}
	s.update(func(tx cf.Tx) error {
		if err := tx.Insert(o); err != nil {
			return err
		}
		n := &cf.Space{Name: "s", OrgGUID: o.GUID}
		if err := tx.Insert(n); err != nil {
			return err
		}
		s.space = n.GUID
		return tx.Insert(s.domain)
	})
	server := router.New(router.Config{Table: s.table, Dial: s.dial})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	var both sync.WaitGroup
	both.Go(func() { server.Serve(l) })
	both.Go(func() { router.Follow(ctx, s.table, s.feed, log) })
	t.Cleanup(func() {
		stop()
		server.Close()
		both.Wait()
		db.Close()
	})
	return s
}

func (s *street) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	to := s.dials[address]
	s.mu.Unlock()
	if to == "" {
		return nil, errors.New("nobody is there")
	}
	return new(net.Dialer).DialContext(ctx, network, to)
}

func (s *street) update(f func(cf.Tx) error) {
	s.Helper()
	if err := s.store.Update(context.Background(), f); err != nil {
		s.Fatal(err)
	}
	s.feed.Wake()
}

func (s *street) sync() {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 2*time.Minute)
	defer cancel()
	if err := s.feed.Sync(ctx); err != nil {
		s.Fatal(err)
	}
}

// app has a route HOST.apps.test/PATH.
func (s *street) app(host, path string) *cf.App {
	s.Helper()
	a := &cf.App{Name: host + path, SpaceGUID: s.space, State: cf.Started}
	r := &cf.Route{SpaceGUID: s.space, DomainGUID: s.domain.GUID, Host: host, Path: path}
	s.update(func(tx cf.Tx) error {
		if err := errors.Join(tx.Insert(a), tx.Insert(r)); err != nil {
			return err
		}
		return tx.Insert(&cf.Destination{RouteGUID: r.GUID, AppGUID: a.GUID, ProcessType: "web", Protocol: "http1"})
	})
	return a
}

// instance is one of an app's, with a server that runs h.
func (s *street) instance(a *cf.App, index int, h http.HandlerFunc) (*cf.Placement, *cf.Report) {
	s.Helper()
	server := httptest.NewServer(h)
	s.Cleanup(server.Close)
	address := fmt.Sprintf("10.0.0.%d", len(s.dials)+2)
	s.mu.Lock()
	s.dials[address+":8080"] = server.Listener.Addr().String()
	s.mu.Unlock()
	p := &cf.Placement{AppGUID: a.GUID, ProcessGUID: "p-" + a.GUID, Type: "web", Index: index, CellID: "c"}
	r := &cf.Report{CellID: "c", AppGUID: a.GUID, State: cf.InstanceRunning, Routable: true, Address: address}
	s.update(func(tx cf.Tx) error {
		if err := tx.Insert(p); err != nil {
			return err
		}
		r.GUID = p.GUID
		return tx.Insert(r)
	})
	return p, r
}

func (s *street) get(host, path string) string {
	s.Helper()
	q, err := http.NewRequest("GET", "http://"+s.addr+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	q.Host = host
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		s.Fatal(err)
	}
	defer a.Body.Close()
	b, _ := io.ReadAll(a.Body)
	return fmt.Sprint(a.StatusCode, " ", strings.TrimSpace(string(b)))
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, text) }
}

func TestLedgerReachesTheStreet(t *testing.T) {
	s := newStreet(t)
	s.sync()
	if got := s.get("shop.apps.test", "/"); !strings.HasPrefix(got, "404 ") {
		t.Error(got)
	}
	a := s.app("shop", "")
	cart := s.app("shop", "/cart")
	s.sync()
	if got := s.get("shop.apps.test", "/"); !strings.HasPrefix(got, "503 ") {
		t.Error(got)
	}
	_, r := s.instance(a, 0, says("shop"))
	s.instance(cart, 0, says("cart"))
	s.sync()
	if got := s.get("Shop.apps.test", "/") + "," + s.get("shop.apps.test", "/cart/1"); got != "200 shop,200 cart" {
		t.Error(got)
	}
	for change, want := range map[string]func(){
		"not ready":   func() { r.Routable = false },
		"not running": func() { r.Routable, r.State = true, cf.InstanceEnded },
	} {
		want()
		s.update(func(tx cf.Tx) error { return tx.Save(r) })
		s.sync()
		if got := s.get("shop.apps.test", "/"); !strings.HasPrefix(got, "503 ") {
			t.Errorf("%s: %s", change, got)
		}
	}
	for _, step := range []struct {
		later time.Duration
		want  string
	}{{emptyFor - 1, "503 "}, {emptyFor, "404 "}} {
		s.later.Store(int64(step.later))
		s.sync()
		if got := s.get("shop.apps.test", "/"); !strings.HasPrefix(got, step.want) {
			t.Errorf("after %v without an instance: %s", step.later, got)
		}
	}
	r.State = cf.InstanceRunning
	s.update(func(tx cf.Tx) error { return tx.Save(r) })
	s.sync()
	if got := s.get("shop.apps.test", "/"); got != "200 shop" {
		t.Errorf("running again: %s", got)
	}
	if !s.feed.Foreign("any.apps.test") || s.feed.Foreign("apps.test") || s.feed.Foreign("localhost") {
		t.Error("whose host is whose")
	}
	s.update(func(tx cf.Tx) error { return tx.Delete(a) })
	s.sync()
	if got := s.get("shop.apps.test", "/"); !strings.HasPrefix(got, "404 ") {
		t.Error(got)
	}
	if got := s.get("shop.apps.test", "/cart"); got != "200 cart" {
		t.Error(got)
	}
}

// TestReplacementWithoutAFailedRequest: one instance takes another's place under
// load; the first is drained before it would be told to end.
func TestReplacementWithoutAFailedRequest(t *testing.T) {
	s := newStreet(t)
	a := s.app("shop", "")
	ended := make(chan struct{})
	old, _ := s.instance(a, 0, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-ended:
			t.Error("a request reached an instance that was drained")
		default:
		}
		io.WriteString(w, "old")
	})
	s.sync()
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got := s.get("shop.apps.test", "/"); got != "200 old" && got != "200 new" {
					t.Errorf("%s", got)
					return
				}
			}
		})
	}
	s.instance(a, 0, says("new"))
	old.Stopping = true
	s.update(func(tx cf.Tx) error { return tx.Save(old) })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := s.feed.Drained(ctx, old.GUID); err != nil {
		t.Error(err)
	}
	close(ended)
	if got := s.get("shop.apps.test", "/"); got != "200 new" {
		t.Error(got)
	}
	close(stop)
	load.Wait()
}

// failing is a ledger that fails for a while.
type failing struct {
	cf.Store
	fail bool
}

func (f *failing) View(ctx context.Context, do func(cf.Tx) error) error {
	if f.fail {
		return errors.New("away")
	}
	return f.Store.View(ctx, do)
}

// TestAfterAFailureTheChangeIsWhole: what was missed meanwhile is not lost.
func TestAfterAFailureTheChangeIsWhole(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store := &failing{Store: db}
	f := New(&Direct{Store: store}, router.NewTable(), slog.New(slog.DiscardHandler))
	if c, err := f.Next(t.Context()); err != nil || !c.Full {
		t.Fatalf("%+v, %v", c, err)
	}
	store.fail = true
	f.Wake()
	if _, err := f.Next(t.Context()); err == nil {
		t.Fatal("no failure")
	}
	store.fail = false
	if c, err := f.Next(t.Context()); err != nil || !c.Full {
		t.Errorf("%+v, %v", c, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Drained(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestOptionsOfARoute reach the router as they were set.
func TestOptionsOfARoute(t *testing.T) {
	d := &cf.Domain{Name: "apps.test"}
	for _, tt := range []struct {
		options map[string]string
		want    router.Balancing
		hash    router.HashOptions
	}{
		{nil, "", router.HashOptions{}},
		{map[string]string{"loadbalancing": "least-connection"}, router.LeastConnection, router.HashOptions{}},
		{map[string]string{"loadbalancing": "hash", "hash_header": "X-Tenant"}, router.Hash, router.HashOptions{Header: "X-Tenant"}},
		{map[string]string{"loadbalancing": "hash", "hash_header": "X-Tenant", "hash_balance": "1.3"}, router.Hash, router.HashOptions{Header: "X-Tenant", Balance: 1.3}},
	} {
		r := row(&cf.Route{Host: "h", Options: tt.options}, d, nil, nil)
		if r.LoadBalancing != tt.want || r.Hash != tt.hash || r.Check() != nil {
			t.Errorf("%v: %q %+v, %v", tt.options, r.LoadBalancing, r.Hash, r.Check())
		}
	}
}
