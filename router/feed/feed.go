package feed

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/router"
)

// poll is how old the table may become when no hint comes.
const poll = 5 * time.Second

// emptyFor is how long a route without an instance is told to clients as one that
// will have some again (503). Then it is as one that does not exist (404), as with
// gorouter's EmptyPoolTimeout of the same length (ADR 93).
const emptyFor = 10 * time.Second

// Feed reads the ledger for one router.
type Feed struct {
	ledger Ledger
	table  *router.Table
	log    *slog.Logger
	wake   chan struct{}

	now     func() time.Time
	told    map[router.Key]router.Route // what the router has; nil: nothing yet
	empty   map[router.Key]time.Time    // routes without an instance: since when
	domains atomic.Pointer[[]string]
	places  atomic.Pointer[map[string]Place]

	mu      sync.Mutex // guards who waits for the ledger to be told
	asking  []chan struct{}
	telling []chan struct{} // as soon as what Next returned last is applied
}

var _ router.Feed = (*Feed)(nil)

// New makes a feed for the router that has this table.
func New(ledger Ledger, table *router.Table, log *slog.Logger) *Feed {
	return &Feed{ledger: ledger, table: table, log: log, wake: make(chan struct{}, 1), now: time.Now}
}

// Concerns are the nouns whose changes a Feed should be woken for.
func Concerns() []cf.Noun {
	return []cf.Noun{"routes", "destinations", "domains", "placements", "reports"}
}

// Wake makes the feed look at the ledger now. It never blocks.
func (f *Feed) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Sync returns when the router's table is as the ledger says now, or with ctx.
func (f *Feed) Sync(ctx context.Context) error {
	done := make(chan struct{})
	f.mu.Lock()
	f.asking = append(f.asking, done)
	f.mu.Unlock()
	f.Wake()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Drained returns when the router sends nothing more to an instance that the
// ledger does not route to any more, and what was under way is answered.
func (f *Feed) Drained(ctx context.Context, instance string) error {
	if err := f.Sync(ctx); err != nil {
		return fmt.Errorf("the router does not follow: %w", err)
	}
	return f.table.Drained(ctx, instance)
}

// Place is where an instance is.
type Place struct {
	Instance string
	Addr     netip.AddrPort // in its cell's network
	Cell     string
	Via      string // where the cell is reached; "": in this process
}

// Place finds the instance that an endpoint's address stands for. ok is false for
// one that is not routed to.
func (f *Feed) Place(address string) (p Place, ok bool) {
	host, port, err := net.SplitHostPort(address)
	places := f.places.Load()
	if err != nil || places == nil {
		return p, false
	}
	p, ok = (*places)[host]
	n, err := strconv.ParseUint(port, 10, 16)
	p.Addr = netip.AddrPortFrom(p.Addr.Addr(), uint16(n))
	return p, ok && err == nil
}

// Foreign tells whether a host is below a domain of the platform: without a
// route it is nobody's, and not the platform's own.
func (f *Feed) Foreign(host string) bool {
	domains := f.domains.Load()
	if domains == nil {
		return false
	}
	return slices.ContainsFunc(*domains, func(d string) bool { return strings.HasSuffix(host, "."+d) })
}

// Next implements router.Feed.
func (f *Feed) Next(ctx context.Context) (router.Change, error) {
	f.applied()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for first := f.told == nil; ; first = false {
		if !first {
			select {
			case <-ctx.Done():
				return router.Change{}, ctx.Err()
			case <-f.wake:
			case <-tick.C:
			}
		}
		f.mu.Lock()
		asking := f.asking
		f.asking = nil
		f.mu.Unlock()
		routes, err := f.read(ctx)
		if err != nil {
			f.mu.Lock()
			f.asking = append(asking, f.asking...)
			f.mu.Unlock()
			f.told = nil // the next change is whole
			return router.Change{}, err
		}
		c := difference(f.told, routes)
		whole := f.told == nil
		f.told = routes
		f.mu.Lock()
		f.telling = append(f.telling, asking...)
		f.mu.Unlock()
		if whole || len(c.Put) > 0 || len(c.Drop) > 0 {
			c.Full = whole
			return c, nil
		}
		f.applied()
	}
}

// applied lets those go on who waited for what is now in the table.
func (f *Feed) applied() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, done := range f.telling {
		close(done)
	}
	f.telling = nil
}

func difference(old, now map[router.Key]router.Route) (c router.Change) {
	for k, r := range now {
		if before, ok := old[k]; !ok || !reflect.DeepEqual(before, r) {
			c.Put = append(c.Put, r)
		}
	}
	for k := range old {
		if _, ok := now[k]; !ok {
			c.Drop = append(c.Drop, k)
		}
	}
	return c
}

// read makes the whole table of one state of the ledger.
func (f *Feed) read(ctx context.Context) (map[router.Key]router.Route, error) {
	e, err := f.ledger.Routing(ctx)
	if err != nil {
		return nil, err
	}
	table := map[router.Key]router.Route{}
	ready := f.takeReady(e)
	domains := f.takeDomains(e)
	byRoute := map[string][]*cf.Destination{}
	to := cf.Of[cf.Destination](e)
	slices.SortStableFunc(to, func(a, b *cf.Destination) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.GUID, b.GUID))
	})
	for _, d := range to {
		byRoute[d.RouteGUID] = append(byRoute[d.RouteGUID], d)
	}
	before := f.empty
	f.empty = map[router.Key]time.Time{}
	for _, r := range cf.Of[cf.Route](e) {
		d := domains[r.DomainGUID]
		if d == nil || d.Internal || len(byRoute[r.GUID]) == 0 {
			continue // nobody comes in by it: the host is unknown
		}
		n := row(r, d, byRoute[r.GUID], ready)
		if !f.forgotten(n, before) {
			f.add(table, n)
		}
	}
	return table, nil
}

// forgotten tells whether a route has had no instance for emptyFor. before is since
// when others were empty at the last read.
func (f *Feed) forgotten(n router.Route, before map[router.Key]time.Time) bool {
	if len(n.Endpoints) > 0 {
		return false
	}
	since, known := before[n.Key]
	if !known {
		since = f.now()
	}
	f.empty[n.Key] = since
	return f.now().Sub(since) >= emptyFor
}

// add keeps a row that the router would take.
func (f *Feed) add(table map[router.Key]router.Route, r router.Route) {
	if err := r.Check(); err != nil {
		f.log.Error("feed: a route is left out", "err", err)
		return
	}
	table[r.Key] = r
}

func (f *Feed) takeDomains(e cf.Extract) map[string]*cf.Domain {
	byGUID := map[string]*cf.Domain{}
	names := []string{}
	for _, d := range cf.Of[cf.Domain](e) {
		byGUID[d.GUID] = d
		if !d.Internal {
			names = append(names, strings.ToLower(d.Name))
		}
	}
	f.domains.Store(&names)
	return byGUID
}

// instance is one that takes requests. Its name is its address, with its cell's
// name where that is elsewhere: two cells may give out the same addresses.
type instance struct {
	*cf.Placement
	name string
}

// takeReady takes them by app, in a stable order.
func (f *Feed) takeReady(e cf.Extract) map[string][]instance {
	reports := map[string]*cf.Report{}
	for _, r := range cf.Of[cf.Report](e) {
		if r.State == cf.InstanceRunning && r.Routable && r.Address != "" {
			reports[r.GUID] = r
		}
	}
	ready := map[string][]instance{}
	places := map[string]Place{}
	for _, p := range cf.Of[cf.Placement](e) {
		r := reports[p.GUID]
		if r == nil || p.Stopping || p.TaskGUID != "" || p.CellID != r.CellID {
			continue
		}
		addr, err := netip.ParseAddr(r.Address)
		if err != nil {
			continue
		}
		name := r.Address
		if r.Host != "" {
			name += "." + r.CellID
		}
		ready[p.AppGUID] = append(ready[p.AppGUID], instance{p, name})
		places[name] = Place{Instance: p.GUID, Addr: netip.AddrPortFrom(addr, 0), Cell: r.CellID, Via: r.Host}
	}
	f.places.Store(&places)
	for _, l := range ready {
		slices.SortFunc(l, func(a, b instance) int { return cmp.Or(cmp.Compare(a.Index, b.Index), strings.Compare(a.GUID, b.GUID)) })
	}
	return ready
}

// row is a route with the instances that it leads to.
func row(r *cf.Route, d *cf.Domain, to []*cf.Destination, ready map[string][]instance) router.Route {
	host := d.Name
	if r.Host != "" {
		host = r.Host + "." + d.Name
	}
	n := router.Route{Key: router.Key{Host: strings.ToLower(host), Path: strings.TrimRight(r.Path, "/")}, LoadBalancing: router.Balancing(r.Options["loadbalancing"])}
	n.Hash.Header = r.Options["hash_header"]
	n.Hash.Balance, _ = strconv.ParseFloat(r.Options["hash_balance"], 64) // absent is 0; the API lets nothing else in
	for _, d := range to {
		port := d.Port
		if port == 0 {
			port = cf.AppPort
		}
		protocol := router.HTTP1
		if d.Protocol == "http2" {
			protocol = router.HTTP2
		}
		for _, i := range ready[d.AppGUID] {
			if i.Type != d.ProcessType {
				continue
			}
			e := router.Endpoint{Instance: i.GUID, Index: i.Index, App: i.AppGUID, Process: i.ProcessGUID, Protocol: protocol,
				Address: net.JoinHostPort(i.name, strconv.Itoa(port))}
			if !slices.Contains(n.Endpoints, e) {
				n.Endpoints = append(n.Endpoints, e)
			}
		}
	}
	return n
}
