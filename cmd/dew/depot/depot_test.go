package depot

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dewpaas/dew/api/blob"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/grant"
	"github.com/dewpaas/dew/cmd/dew/grant/granttest"
	"github.com/dewpaas/dew/cmd/dew/identity"
	"github.com/dewpaas/dew/cmd/dew/roster"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/droplet/droplettest"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// yard is the depots of two APIs over one ledger, behind mutual TLS.
type yard struct {
	*testing.T
	db      cf.Store
	ca      *identity.CA
	dir     string
	depots  []*Depot
	servers []*httptest.Server
}

func open(t *testing.T) *yard {
	t.Helper()
	y := &yard{T: t, db: granttest.Ledger(t), dir: t.TempDir()}
	var err error
	y.ca, err = identity.OpenCA(filepath.Join(y.dir, "ca"), time.Now())
	check(t, err)
	for n := range 2 {
		d := &Depot{Ledger: y.db, Seen: func(p identity.Peer) cf.Store { return grant.Guard(y.db, p) }, Packages: blobs(t), Droplets: droplets(t), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
		y.depots = append(y.depots, d)
		id := y.identity(identity.API, fmt.Sprint("api-", n+1))
		s := httptest.NewUnstartedServer(d.Handler(func(r *http.Request) identity.Peer {
			p, err := id.Of(*r.TLS)
			if err != nil {
				t.Error(err)
			}
			return p
		}))
		s.Listener = tls.NewListener(s.Listener, id.Server(identity.API, identity.Stager, identity.Cell, identity.Router))
		s.Start()
		t.Cleanup(s.Close)
		y.servers = append(y.servers, s)
	}
	return y
}

func blobs(t *testing.T) *blob.Store {
	b, err := blob.Open(t.TempDir())
	check(t, err)
	return b
}

func droplets(t *testing.T) *droplet.Store {
	s, err := droplet.OpenStore(t.TempDir())
	check(t, err)
	return s
}

func (y *yard) identity(role, name string) *identity.Identity {
	y.Helper()
	text, err := y.ca.Issue(role, name, time.Now(), time.Hour)
	check(y.T, err)
	file := filepath.Join(y.dir, role+name+".pem")
	check(y.T, os.WriteFile(file, text, 0o600))
	id, err := identity.Load(file)
	check(y.T, err)
	return id
}

// peers is how a process reaches both.
func (y *yard) peers(role, name string) *Peers {
	y.Helper()
	var urls []string
	for _, s := range y.servers {
		urls = append(urls, "https"+strings.TrimPrefix(s.URL, "http"))
	}
	r, err := roster.Parse(urls)
	check(y.T, err)
	t := roster.Transport(y.identity(role, name).Client(identity.API, ""))
	y.Cleanup(t.CloseIdleConnections)
	return NewPeers(r, t)
}

// make makes a droplet.
func makeDroplet(t *testing.T, s *droplet.Store, mark string) *droplet.Droplet {
	t.Helper()
	file := filepath.Join(t.TempDir(), "elf")
	check(t, os.WriteFile(file, droplettest.Program(mark), 0o644))
	d, err := s.Write(&droplet.Spec{Manifest: droplet.Manifest{Workdir: "/", Toolchain: "go1", Processes: map[string]string{"web": "app"}},
		Programs: []droplet.ProgramFile{{Name: "app", Package: "example.com/app", Path: file}}, SBOM: []byte("{}"), Provenance: []byte("{}")})
	check(t, err)
	return d
}

// makePackage leaves a package with an API and returns its digest.
func makePackage(t *testing.T, b *blob.Store, text string) string {
	t.Helper()
	var bits bytes.Buffer
	z := zip.NewWriter(&bits)
	w, err := z.Create("main.go")
	check(t, err)
	_, err = io.WriteString(w, text)
	check(t, errors.Join(err, z.Close()))
	sum, err := b.PutZip(&bits, 1<<20, nil, nil, blob.Limits{Bytes: 1 << 20, Files: 10})
	check(t, err)
	return sum
}

// names has the ledger name a droplet and a package of a tenant's.
func (y *yard) names(tenant, droplet, pack string) {
	y.Helper()
	check(y.T, y.db.Update(y.Context(), func(tx cf.Tx) error {
		p, err := cf.Get[cf.Placement](tx, "placement-"+tenant)
		if err != nil {
			return err
		}
		k, err := cf.Get[cf.Package](tx, "package-"+tenant)
		if err != nil {
			return err
		}
		p.Launch.DropletSHA256, k.Checksum = droplet, pack
		return errors.Join(tx.Save(p), tx.Save(k))
	}))
}

// TestWhoGetsWhat: each role gets what the ledger says it needs, and nothing else.
func TestWhoGetsWhat(t *testing.T) {
	y := open(t)
	api := y.depots[0]
	mine, far := makeDroplet(t, api.Droplets, "mine").Digest(), makeDroplet(t, api.Droplets, "far").Digest()
	bits, theirs := makePackage(t, api.Packages, "mine"), makePackage(t, api.Packages, "far")
	y.names("mine", mine, bits)
	y.names("far", far, theirs)
	for _, c := range []struct {
		role, name              string
		mine, far, bits, theirs bool
	}{
		{"api", "api-2", true, true, true, true},
		{"cell", "c1", true, false, false, false},
		{"cell", "c2", false, true, false, false},
		{"cell", "c3", false, false, false, false},
		{"stager", "s1", false, false, true, false},
		{"stager", "s2", false, false, false, true},
		{"stager", "s3", false, false, false, false},
		{"router", "r1", false, false, false, false},
	} {
		p := y.peers(c.role, c.name)
		for what, w := range map[string]struct {
			fetch func() error
			may   bool
		}{
			"its droplet":       {func() error { return p.Droplet(t.Context(), droplets(t), mine) }, c.mine},
			"another's droplet": {func() error { return p.Droplet(t.Context(), droplets(t), far) }, c.far},
			"its package":       {func() error { return p.Package(t.Context(), blobs(t), bits) }, c.bits},
			"another's package": {func() error { return p.Package(t.Context(), blobs(t), theirs) }, c.theirs},
		} {
			if err := w.fetch(); (err == nil) != w.may {
				t.Errorf("%s %s fetches %s: %v", c.role, c.name, what, err)
			}
		}
	}
}

// TestWhoLeavesDroplets: stagers that have a build, with every API.
func TestWhoLeavesDroplets(t *testing.T) {
	y := open(t)
	for role, may := range map[string]bool{"stager s1": true, "stager s3": false, "cell c1": false, "router r1": false, "api api-2": false} {
		role, name, _ := strings.Cut(role, " ")
		d := makeDroplet(t, droplets(t), role+name)
		if err := y.peers(role, name).Keep(t.Context(), d); (err == nil) != may {
			t.Errorf("%s %s leaves a droplet: %v", role, name, err)
		}
		for n, at := range y.depots {
			if _, err := at.Droplets.Open(d.Digest()); (err == nil) != may {
				t.Errorf("%s %s, API %d: %v", role, name, n, err)
			}
		}
	}
}

// TestWhatIsNoDroplet is not kept, whoever brings it: neither other bytes than the
// name says, nor what no droplet is.
func TestWhatIsNoDroplet(t *testing.T) {
	y := open(t)
	p := y.peers("stager", "s1")
	d := makeDroplet(t, droplets(t), "one")
	var bytes bytes.Buffer
	check(t, d.Export(&bytes))
	put := func(sum string, body []byte) int {
		t.Helper()
		q, err := http.NewRequest(http.MethodPut, "https"+strings.TrimPrefix(y.servers[0].URL, "http")+dropletsPath+sum, strings.NewReader(string(body)))
		check(t, err)
		a, err := p.client.Do(q)
		check(t, err)
		a.Body.Close()
		return a.StatusCode
	}
	for name, c := range map[string]struct {
		sum  string
		body []byte
	}{
		"other bytes": {strings.Repeat("a", 64), bytes.Bytes()},
		"a part":      {d.Digest(), bytes.Bytes()[:bytes.Len()/2]},
		"no droplet":  {d.Digest(), []byte("x")},
		"no digest":   {"latest", bytes.Bytes()},
	} {
		if code := put(c.sum, c.body); code < 400 {
			t.Errorf("%s: %d", name, code)
		}
	}
	if _, err := y.depots[0].Droplets.Open(d.Digest()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is kept: %v", err)
	}
	if code := put(d.Digest(), bytes.Bytes()); code != http.StatusNoContent {
		t.Errorf("the droplet itself: %d", code)
	}
}

// TestTheNextAPIIsAsked when the first has not what is wanted, or is gone; that none
// has it is told from that none answers.
func TestTheNextAPIIsAsked(t *testing.T) {
	y := open(t)
	d := makeDroplet(t, y.depots[1].Droplets, "second")
	y.names("mine", d.Digest(), granttest.Digest("package", "mine"))
	cell := y.peers("cell", "c1")
	rack := &Rack{Peers: cell, Store: droplets(t)}
	got, err := rack.Open(d.Digest())
	if err != nil || got.Digest() != d.Digest() {
		t.Errorf("%v", err)
	}
	y.servers[0].Close()
	if err := cell.Droplet(t.Context(), droplets(t), d.Digest()); err != nil {
		t.Errorf("the first is gone: %v", err)
	}
	absent := granttest.Digest("package", "far")
	if err := y.peers("api", "api-3").Package(t.Context(), blobs(t), absent); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one has it not and one is gone: %v", err)
	}
	y.servers[1].Close()
	if _, err := rack.Open(d.Digest()); err != nil {
		t.Errorf("what was fetched is fetched again: %v", err)
	}
}

// TestConverge: an API gets what the ledger names from another, once, and sweeps
// droplets that it does not name and that are old.
func TestConverge(t *testing.T) {
	y := open(t)
	from, to := y.depots[0], y.depots[1]
	mine := makeDroplet(t, from.Droplets, "mine").Digest()
	unnamed := makeDroplet(t, from.Droplets, "unnamed").Digest()
	bits := makePackage(t, from.Packages, "mine")
	y.names("mine", mine, bits)
	p := y.peers("api", "api-2")
	if err := to.Converge(t.Context(), p, func(time.Time) bool { return false }); err == nil {
		t.Error("what no API has is not told")
	}
	if _, err := to.Droplets.Open(mine); err != nil {
		t.Error(err)
	}
	f, err := (&Shelf{Peers: p, Blobs: to.Packages}).Open(t.Context(), bits)
	check(t, err)
	check(t, f.Close())
	if _, err := to.Droplets.Open(unnamed); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a droplet that the ledger does not name: %v", err)
	}
	from.Converge(t.Context(), y.peers("api", "api-1"), func(time.Time) bool { return true })
	if _, err := from.Droplets.Open(unnamed); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is not swept: %v", err)
	}
	if _, err := from.Droplets.Open(mine); err != nil {
		t.Errorf("what is named is swept: %v", err)
	}
}

// TestShelfFetches a package that a stager lacks, checked by its digest.
func TestShelfFetches(t *testing.T) {
	y := open(t)
	bits := makePackage(t, y.depots[1].Packages, "mine")
	y.names("mine", granttest.Digest("droplet", "mine"), bits)
	s, err := OpenShelf(t.TempDir(), y.peers("stager", "s1"))
	check(t, err)
	f, err := s.Open(context.Background(), bits)
	check(t, err)
	check(t, f.Close())
	// An API that has been taken over cannot pass something else off as it.
	check(t, os.WriteFile(y.depots[1].Packages.Path(granttest.Digest("package", "mine")), []byte("PK"), 0o600))
	y.names("mine", granttest.Digest("droplet", "mine"), granttest.Digest("package", "mine"))
	if _, err := s.Open(context.Background(), granttest.Digest("package", "mine")); err == nil {
		t.Error("other bytes than the name says are taken")
	}
}

// TestImportAndExport is what the API does with droplets of clients.
func TestImportAndExport(t *testing.T) {
	y := open(t)
	d := makeDroplet(t, y.depots[0].Droplets, "one")
	var bytes bytes.Buffer
	check(t, y.depots[0].Export(&bytes, d.Digest()))
	sum, types, err := y.depots[1].Import(&bytes)
	if err != nil || sum != d.Digest() || types["web"] != "app" {
		t.Errorf("%s %v %v", sum, types, err)
	}
	if _, _, err := y.depots[1].Import(strings.NewReader("no droplet")); !errors.Is(err, droplet.ErrInvalid) {
		t.Error(err)
	}
	if err := y.depots[0].Export(io.Discard, strings.Repeat("0", 64)); err == nil {
		t.Error("exported what is not there")
	}
}
