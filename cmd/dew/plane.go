package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dewpaas/dew/api"
	"github.com/dewpaas/dew/api/blob"
	"github.com/dewpaas/dew/api/egress"
	"github.com/dewpaas/dew/api/logcache"
	"github.com/dewpaas/dew/api/uaa"
	"github.com/dewpaas/dew/bus"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/client"
	"github.com/dewpaas/dew/cmd/dew/depot"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/scheduler/leader"
	"github.com/dewpaas/dew/vnet/resolver"
)

// plane is the API of one process, and what only APIs keep: uploads, droplets,
// log lines.
type plane struct {
	blobs  *blob.Store
	logs   *logcache.Cache
	login  *uaa.Server
	depot  *depot.Depot
	copier *copier
	api    *api.Server
}

// logBytes bounds the log lines of all apps on disk.
const logBytes = 512 << 20

// openPlane opens all but the API itself, and tells the others of it.
func (f *platform) openPlane(ctx context.Context) error {
	key, err := uaa.Key(filepath.Join(f.data, "token-key.pem"))
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	k := &plane{logs: logcache.New(logcache.DefaultBounds())}
	f.onClose(func() error { k.logs.Close(); return nil }) // what it cannot keep it has said already
	if err := k.logs.Keep(filepath.Join(f.data, "logs"), logBytes, f.log); err != nil {
		return err
	}
	if k.blobs, err = blob.Open(filepath.Join(f.data, "blobs")); err != nil {
		return err
	}
	droplets, err := droplet.OpenStore(filepath.Join(f.data, "droplets"))
	if err != nil {
		return err
	}
	k.depot = &depot.Depot{Ledger: f.ledger, Seen: f.seen, Packages: k.blobs, Droplets: droplets, Log: f.log}
	k.copier = newCopier(k.depot, f.peers, f.log)
	f.facts = facts{URL: f.apiURL(), Domain: f.setup.api.Domain, TokenKey: fingerprint(der)}
	k.login = uaa.New(f.ledger, key, f.facts.URL)
	f.plane = k
	if f.identity != nil {
		f.desk = f.openDesk()
	}
	return nil
}

// apiURL is how clients reach the API.
func (f *platform) apiURL() string {
	switch {
	case f.street != nil:
		return f.street.public
	case f.setup.api.URL != "":
		return f.setup.api.URL
	}
	return "http://" + f.doors.plain.Addr().String()
}

// openAPI makes the API.
func (f *platform) openAPI(ctx context.Context) (err error) {
	k, machines := f.plane, f.fleet.protected(ctx, lookup)
	config := api.Config{Store: f.ledger, UAA: k.login, Blobs: k.blobs, Droplets: k.depot, Logs: k.logs, URL: f.facts.URL, Domain: f.facts.Domain, Log: f.log,
		Egress: f.guard(machines), Runtime: f.runtime(), Usage: f.setup.api.KeepUsage, Limited: f.limited, Holder: f.among(), Metrics: []prometheus.Collector{parts{f}}}
	switch {
	case f.stager != nil:
		config.Stager = f.stager
	case !f.fleet.alone():
		config.Stager = elsewhere{}
	default:
		config.Droplets = nil
	}
	if k.api, err = api.New(ctx, config); err != nil {
		return err
	}
	for host := range k.api.Hosts() {
		f.facts.Hosts = append(f.facts.Hosts, host)
	}
	slices.Sort(f.facts.Hosts)
	if err := f.facts.publish(ctx, f.ledger, f.fleet.alone(), machines); err != nil {
		return err
	}
	if err := f.admin(ctx); err != nil {
		return err
	}
	f.doors.api(k.api.Handler(), k.depot, f.desk, f.identity)
	return client.Publish(f.data, f.facts.URL)
}

// elsewhere is the stager of an API that has none in its process: the ledger is
// the queue, and the bus has told of the build already.
type elsewhere struct{}

// Stage implements api.Stager.
func (elsewhere) Stage(context.Context, string) error { return nil }

// runtime is what the API asks of instances; nil where nothing can be started.
func (f *platform) runtime() api.Runtime {
	if f.fleet.alone() && f.cell == nil {
		return nil
	}
	r := &leader.Runtime{Store: f.ledger}
	if f.leader != nil {
		r.Sync = f.leader.Sync
	} else {
		r.Sync = newSounding(f.bus).ask
	}
	if f.cell != nil {
		r.Rewire, r.Usage = f.cell.Rewired, f.cell.Usage
	} else {
		r.Usage = f.hearUsage()
	}
	return r
}

// guard keeps what tenants make the API connect to from the guests, and from
// what else listens on this machine, and from the foundation's machines.
func (f *platform) guard(machines []cf.Protected) egress.Guard {
	g := egress.Guard{}
	if f.cell != nil {
		g.Deny = []netip.Prefix{f.setup.cell.Guests}
	}
	for _, p := range machines {
		g.Deny = append(g.Deny, p.Prefix)
	}
	if f.street != nil {
		g.Gates = f.street.ports()
	}
	var err error
	if f.street != nil && f.street.flags.TLS { // brokers and drains that are apps of this foundation
		if g.Roots, err = developmentRoots(filepath.Join(f.data, "tls")); err != nil {
			f.log.Warn("brokers and drains that are apps cannot be reached by HTTPS", "err", err)
		}
	}
	if g.Self, err = resolver.HostAddresses(); err != nil {
		f.log.Warn("syslog drains and brokers of tenants may reach this machine", "err", err)
	}
	return g
}

// run does what no request waits for, until ctx ends.
func (k *plane) run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { k.api.Run(ctx) })
	both.Go(func() { k.copier.run(ctx) })
	both.Wait()
}

// admin makes the first user. The password is on disk before the account is, so
// a crash between the two leaves no account without a password.
func (f *platform) admin(ctx context.Context) error {
	file := filepath.Join(f.data, client.PasswordFile)
	var password string
	made, err := f.plane.login.EnsureAdmin(ctx, func() (string, error) {
		password = rand.Text()
		return password, uaa.WriteSecret(file, []byte(password+"\n"))
	})
	if err == nil && made {
		fmt.Fprintf(f.console.out, "user: admin\npassword: %s (shown once; kept in %s)\n", password, file)
	}
	return err
}

// copier keeps on this machine what the ledger names and another API has.
type copier struct {
	depot *depot.Depot
	peers *depot.Peers
	log   *slog.Logger
	woken chan struct{}
}

func newCopier(d *depot.Depot, p *depot.Peers, log *slog.Logger) *copier {
	return &copier{d, p, log, make(chan struct{}, 1)}
}

func (c *copier) wake() {
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

// How often an API looks for what it lacks without a word from anybody, and how
// old a droplet is that is removed because nothing names it.
const (
	copyEvery  = 30 * time.Second
	dropletAge = time.Hour
)

func (c *copier) run(ctx context.Context) {
	if c.peers == nil {
		return // whatever the ledger names came in here
	}
	var clock cf.ClockWatch
	tick := time.NewTicker(copyEvery)
	defer tick.Stop()
	healthy := true
	for {
		now := time.Now()
		settled := clock.Settled(now, now)
		err := c.depot.Converge(ctx, c.peers, func(used time.Time) bool { return settled && now.Sub(used) >= dropletAge })
		if err != nil && ctx.Err() == nil && healthy {
			c.log.Warn("packages or droplets of another API are not here yet", "err", err)
		}
		healthy = err == nil
		select {
		case <-ctx.Done():
			return
		case <-c.woken:
		case <-tick.C:
		}
	}
}

// sounding asks the scheduler that leads, wherever it is, to say when it has seen
// what is in the ledger now. Nobody may answer: then answers are less fresh.
type sounding struct {
	bus bus.Bus

	once    sync.Once
	mu      sync.Mutex // guards waiting
	waiting map[string]chan struct{}
}

func newSounding(b bus.Bus) *sounding { return &sounding{bus: b, waiting: map[string]chan struct{}{}} }

func (s *sounding) ask(ctx context.Context) error {
	s.once.Do(func() { bus.Answers().Subscribe(s.bus, s.heard) })
	id, done := cf.NewGUID(), make(chan struct{})
	s.mu.Lock()
	s.waiting[id] = done
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, id)
		s.mu.Unlock()
	}()
	if err := bus.Asks().Publish(s.bus, bus.Ask{ID: id}); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *sounding) heard(a bus.Ask) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if done := s.waiting[a.ID]; done != nil {
		close(done)
		delete(s.waiting, a.ID)
	}
}

// hearUsage gathers what cells elsewhere say of their instances.
func (f *platform) hearUsage() func() map[string]cf.Usage {
	u := &usage{cells: map[string]said{}, counts: map[string]uint64{}}
	f.usage = u
	return u.all
}

type usage struct {
	mu      sync.Mutex // guards what follows
	cells   map[string]said
	counts  map[string]uint64 // by cell: of lines over a limit, as it said last
	limited uint64            // of all cells, also of those that are gone
}

// said is what a cell said last.
type said struct {
	at        time.Time
	instances map[string]cf.Usage
}

// usageAge is how long a cell's word counts.
const usageAge = time.Minute

func (u *usage) heard(m bus.Used) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cells[m.Cell] = said{time.Now(), m.Instances}
	if before := u.counts[m.Cell]; m.Limited >= before {
		u.limited += m.Limited - before
	} else { // the cell began anew
		u.limited += m.Limited
	}
	u.counts[m.Cell] = m.Limited
}

func (u *usage) all() map[string]cf.Usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := map[string]cf.Usage{}
	for cell, s := range u.cells {
		if time.Since(s.at) > usageAge {
			delete(u.cells, cell)
			continue
		}
		for guid, x := range s.instances {
			all[guid] = x
		}
	}
	return all
}

// tellUsage says what this cell's instances use.
func (f *platform) tellUsage(ctx context.Context) {
	tick := time.NewTicker(usageEvery)
	defer tick.Stop()
	for {
		f.clerk.Usage(ctx, bus.Used{Instances: f.cell.Usage(), Limited: f.cell.LinesLimited()}) // the next figures are newer
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

const usageEvery = 5 * time.Second

// subscribe hears what others say over the bus.
func (f *platform) subscribe() error {
	if f.bus == nil {
		return nil // APIs tell
	}
	var errs []error
	hear := func(_ bus.Subscription, err error) { errs = append(errs, err) }
	hear(bus.Changes().Subscribe(f.bus, f.hint))
	if f.fleet.alone() {
		return errors.Join(errs...)
	}
	if f.plane != nil {
		hear(bus.Lines().Subscribe(f.bus, f.hearLines))
	}
	if f.usage != nil {
		hear(bus.Usage().Subscribe(f.bus, f.usage.heard))
	}
	if f.leader != nil {
		hear(bus.Asks().Subscribe(f.bus, f.answer))
	}
	return errors.Join(errs...)
}

// answer tells who asked that the scheduler has seen what it was asked about, if
// it leads here.
func (f *platform) answer(a bus.Ask) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), askPatience)
		defer cancel()
		if f.leader.Sync(ctx) == nil {
			bus.Answers().Publish(f.bus, a)
		}
	}()
}

// askPatience is how long who asks may wait.
const askPatience = 3 * time.Second

// handler is a test's door to the API.
func (f *platform) handler() http.Handler { return f.plane.api.Handler() }
