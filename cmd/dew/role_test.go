package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/roster"
	"github.com/dewpaas/dew/store/sqlite"
)

// issued is a file of dew identity.
func issued(t *testing.T, role, name string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := identityCmd{Role: role, Name: name, CA: filepath.Join(dir, "ca"), Out: filepath.Join(dir, "id.pem"), Life: 1 << 40}
	if err := cmd.Run(&console{out: io.Discard}); err != nil {
		t.Fatal(err)
	}
	return cmd.Out
}

// TestWrongRoles: what a process lacks among others is said before it serves
// anybody, with what to do.
func TestWrongRoles(t *testing.T) {
	good := fleetFlags{Store: "postgres://127.0.0.1:1/dew", Bus: "nats://127.0.0.1:1", memberFlags: memberFlags{Identity: issued(t, "scheduler", "s"), APIs: []string{"https://127.0.0.1:1"}}}
	schedules, builds := roles{scheduler: true}, roles{stager: true}
	for name, c := range map[string]struct {
		as     roles
		change func(*fleetFlags)
		want   string
	}{
		"no identity":            {schedules, func(f *fleetFlags) { f.Identity = "" }, "needs an identity"},
		"no ledger":              {schedules, func(f *fleetFlags) { f.Store = "" }, "where the ledger is"},
		"no bus":                 {schedules, func(f *fleetFlags) { f.Bus = "" }, "where the bus is"},
		"no APIs":                {builds, func(f *fleetFlags) { f.APIs = nil }, "where the APIs are"},
		"no API":                 {builds, func(f *fleetFlags) { f.Identity = issued(t, "stager", "s"); f.APIs = []string{"http://127.0.0.1:1"} }, "no address of an API"},
		"no ledger at all":       {schedules, func(f *fleetFlags) { f.Store = "postgres:" }, "--store is no address"},
		"a bus for all":          {schedules, func(f *fleetFlags) { f.Bus = "nats://10.0.0.1:4222" }, "anybody could join"},
		"no bus at all":          {schedules, func(f *fleetFlags) { f.Bus = "http://10.0.0.1:4222" }, "no address of NATS"},
		"a ledger elsewhere":     {schedules, func(f *fleetFlags) { f.Store = "mysql://127.0.0.1/x" }, "--store is no address of a ledger"},
		"somebody's identity":    {builds, func(f *fleetFlags) { f.Identity = issued(t, "router", "r") }, "this is dew stager"},
		"a file that is no such": {builds, func(f *fleetFlags) { f.Identity = "role.go" }, "load the identity"},
	} {
		flags := good
		c.change(&flags)
		var out bytes.Buffer
		err := serve(t.Context(), &console{out: &out, err: &out}, &setup{roles: c.as, data: t.TempDir(), fleet: flags})
		var hint *hinted
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &hint) {
			t.Errorf("%s: %v, want %q and a hint", name, err, c.want)
		}
	}
}

// TestTokenKeys: an API whose tokens the others would refuse does not serve.
func TestTokenKeys(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	machines := []cf.Protected{{Prefix: netip.MustParsePrefix("10.0.0.9/32"), What: "the ledger"}}
	first := facts{URL: "https://api.test", Domain: "apps.test", Hosts: []string{"a", "b"}, TokenKey: "1"}
	if err := first.publish(t.Context(), db, false, machines); err != nil {
		t.Fatal(err)
	}
	read, err := readFacts(t.Context(), inLedger(db), slog.New(slog.DiscardHandler))
	if err != nil || read.URL != first.URL || read.Domain != first.Domain || len(read.Hosts) != 2 {
		t.Errorf("%+v %v", read, err)
	}
	if s, err := inLedger(db)(t.Context()); err != nil || !slices.Equal(s.Protected(), machines) {
		t.Errorf("guests are kept from %v, %v", s.Protected(), err)
	}
	other := facts{TokenKey: "2"}
	if err := other.publish(t.Context(), db, false, nil); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("another key: %v", err)
	}
	if err := other.publish(t.Context(), db, true, nil); err != nil {
		t.Errorf("alone, with a new key: %v", err)
	}
}

// TestHouse: the first API that answers is asked, and none is said so in the
// words of Cloud Foundry.
func TestHouse(t *testing.T) {
	b := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Host+" "+r.Header.Get("X-Forwarded-For"))
	}))
	defer b.Close()
	apis, err := roster.Parse([]string{"https://127.0.0.1:1", b.URL})
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(apis, b.Client().Transport, slog.New(slog.NewTextHandler(t.Output(), nil)))
	q := httptest.NewRequest("POST", "http://api.test/v3/apps", strings.NewReader("{}"))
	q.RemoteAddr = "192.0.2.7:1234"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, q)
	if w.Code != 200 || w.Body.String() != "api.test 192.0.2.7" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if first := "https://" + apis.Order()[0]; first != b.URL {
		t.Errorf("asked first: %s", first)
	}
	b.Close()
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://api.test/v3", nil))
	if w.Code != 503 || !strings.Contains(w.Body.String(), "CF-ServiceUnavailable") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
