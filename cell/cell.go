package cell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/tender/cgroup"
	"github.com/dewpaas/dew/tender/keeper"
	"github.com/dewpaas/dew/vnet"
	"github.com/dewpaas/dew/vnet/resolver"
)

// Config is what a cell needs. All fields but those with a default are needed.
type Config struct {
	ID, Zone         string
	MemoryMB, DiskMB int      // what instances may use in all
	Tenders          []string // kinds of tender that it has, the one for who does not choose first; process
	Host             string   // where routers find the cell; "": in this process

	Ledger   Ledger
	Droplets Droplets
	Logs     cf.Logs
	Log      *slog.Logger
	// Keeper finds the keeper of this cell's guests or starts it. It is called
	// again when the keeper is lost.
	Keeper func(context.Context) (*keeper.Client, error)
	// Guests is the network that the instances of this cell have their
	// addresses in.
	Guests netip.Prefix
	// Protected are destinations that no broad security group opens, besides
	// this host's own addresses, loopback and metadata services.
	Protected []cf.Protected
	// Uplink gives guests a way out of their network, to what their security
	// groups allow. It changes the host: see Uplink.
	Uplink bool
	// Upstreams tells of the name servers that outside names are asked of; it is
	// called again and again. nil: there are none.
	Upstreams func() ([]netip.AddrPort, error)
	// Drain returns when no router sends requests to the instance any more and
	// those under way are answered, or with ctx. nil: nobody does.
	Drain func(ctx context.Context, instance string) error
	// Wired is told of every topology that came into force. nil: nobody is.
	Wired func(cf.Topology)

	Beat  time.Duration // between signs of life; 5 s
	Grace time.Duration // from SIGTERM to the end of patience; 10 s
}

// Droplets is where droplets are kept, verified: a droplet.Store.
type Droplets interface {
	Open(digest string) (*droplet.Droplet, error)
}

// Cell runs instances.
type Cell struct {
	cfg     Config
	network *vnet.Network
	groups  *cgroup.Host
	wiring  *wiring
	names   *resolver.Resolver
	uplink  *Uplink // nil: guests have no way out
	reports *reporter
	pool    *addresses
	starts  chan struct{} // holds a token for each start that may be under way
	wake    chan struct{}
	prefix  string // of the names of this cell's guests on the host
	closing atomic.Bool
	limited atomic.Uint64 // lines of guests that were over a limit
	rows    map[string]*cf.Report

	keeping sync.Mutex // guards the next: one looks for a keeper at a time
	client  *keeper.Client

	mu        sync.Mutex // guards the table; converge alone writes it
	instances map[string]*instance
}

// startsAtOnce bounds the guests that are being made at the same time.
const startsAtOnce = 4

// New takes over what an earlier Cell left: the network, and the guests that
// still run or whose end nobody has seen. Nothing is started or ended yet.
func New(ctx context.Context, cfg Config) (*Cell, error) {
	cfg.fill()
	c := &Cell{cfg: cfg, pool: newAddresses(cfg.Guests), starts: make(chan struct{}, startsAtOnce), wake: make(chan struct{}, 1),
		prefix: fmt.Sprintf("c%08x-", crc32.ChecksumIEEE([]byte(cfg.ID))), instances: map[string]*instance{}, rows: map[string]*cf.Report{}}
	var err error
	if c.groups, err = cgroup.Probe(); err != nil {
		return nil, err
	}
	if err := c.loadReports(ctx); err != nil {
		return nil, err
	}
	if c.network, err = c.openNetwork(ctx); err != nil {
		return nil, err
	}
	wall, err := firewall.Open(c.network.Within)
	if err != nil {
		c.network.Close()
		return nil, err
	}
	c.wiring = newWiring(c, wall)
	c.names = resolver.New(resolver.Config{Log: cfg.Log})
	c.reports = newReporter(c)
	if err := c.adopt(ctx); err != nil {
		c.Close()
		return nil, err
	}
	// What is adopted has its rules from before; they are made anew from what
	// the ledger says now before anything else happens.
	if err := c.wiring.apply(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("firewall: %w", err)
	}
	c.openUplink()
	return c, nil
}

// openUplink makes the way out, or takes over the one that is there. Guests run
// without one when it fails: most of them serve without.
func (c *Cell) openUplink() {
	if !c.cfg.Uplink {
		// An earlier cell may have left one.
		if err := RemoveUplink(UplinkName(c.cfg.ID)); err != nil {
			c.cfg.Log.Warn("cell: the uplink cannot be removed", "err", err)
		}
		return
	}
	c.uplink = NewUplink(c.network, UplinkName(c.cfg.ID), c.cfg.Log)
	// What fails is tried again, and told, by the uplink's Watch.
	if err := c.uplink.Converge(c.wiring.hostAddresses()); err != nil {
		c.cfg.Log.Debug("cell: the uplink is not there yet", "err", err)
	}
}

func (c *Config) fill() {
	if len(c.Tenders) == 0 {
		c.Tenders = []string{"process"}
	}
	if c.Beat == 0 {
		c.Beat = 5 * time.Second
	}
	if c.Grace == 0 {
		c.Grace = 10 * time.Second
	}
	if c.Drain == nil {
		c.Drain = func(context.Context, string) error { return nil }
	}
	if c.Upstreams == nil {
		c.Upstreams = func() ([]netip.AddrPort, error) { return nil, nil }
	}
	if c.Wired == nil {
		c.Wired = func(cf.Topology) {}
	}
}

// Close lets go of the cell's machinery. Guests stay with their keeper.
func (c *Cell) Close() error {
	for _, i := range c.instances {
		i.letGo()
	}
	var err error
	if c.uplink != nil {
		err = c.uplink.Close()
	}
	return errors.Join(err, c.wiring.wall.Close(), c.network.Close())
}

// card is the vNIC of a new guest: it sends no more in one piece than the host
// passes on.
func (c *Cell) card(addr netip.Addr) vnet.VNIC {
	card := nic(addr)
	if c.uplink != nil {
		card.MTU = c.uplink.MTU()
	}
	return card
}

// Network is what the cell's guests are in.
func (c *Cell) Network() *vnet.Network { return c.network }

// Topology is what is in force. It must not be changed.
func (c *Cell) Topology() cf.Topology {
	c.wiring.mu.Lock()
	defer c.wiring.mu.Unlock()
	return c.wiring.inForce
}

// Apps are the names of the apps that the ledger tells this cell of, by GUID, as
// last read.
func (c *Cell) Apps() map[string]string {
	c.wiring.mu.Lock()
	defer c.wiring.mu.Unlock()
	if c.wiring.known == nil {
		return nil
	}
	return c.wiring.known.names
}

// Tenders are the kinds of tender that it has, the one for who does not choose
// first.
func (c *Cell) Tenders() []string { return c.cfg.Tenders }

// Wall is the firewall around them.
func (c *Cell) Wall() *firewall.Wall { return c.wiring.wall }

// networkFile is the name under which the keeper keeps the network.
const networkFile = "network"

func (c *Cell) openNetwork(ctx context.Context) (*vnet.Network, error) {
	k, err := c.keeper(ctx, nil)
	if err != nil {
		return nil, err
	}
	f, err := k.File(ctx, networkFile)
	if err == nil {
		defer f.Close()
		return guarded(vnet.Adopt(f))
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	n, err := guarded(vnet.New())
	if err != nil {
		return nil, err
	}
	c.network = n
	if err := c.keepNetwork(ctx, k); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// guarded makes a network refuse virtio headers that lie: what the firewall has
// looked at would not be what arrives.
func guarded(n *vnet.Network, err error) (*vnet.Network, error) {
	if err != nil {
		return nil, err
	}
	if err := n.GuardOffloads(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func (c *Cell) keepNetwork(ctx context.Context, k *keeper.Client) error {
	f, err := c.network.File()
	if err != nil {
		return err
	}
	defer f.Close()
	return k.Keep(ctx, networkFile, f)
}

// keeper returns the keeper, or a new one in the place of one that is lost.
func (c *Cell) keeper(ctx context.Context, lost *keeper.Client) (*keeper.Client, error) {
	c.keeping.Lock()
	defer c.keeping.Unlock()
	if c.client != nil && c.client != lost {
		return c.client, nil
	}
	k, err := c.cfg.Keeper(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the keeper: %w", err)
	}
	if c.network != nil {
		if err := c.keepNetwork(ctx, k); err != nil {
			return nil, err
		}
	}
	if lost != nil {
		if err := c.sweep(ctx, k); err != nil {
			c.cfg.Log.Error("cell: guests that ended with their keeper left something behind", "err", err)
		}
	}
	c.client = k
	return k, nil
}

// sweep removes the control groups of guests that no keeper holds: they ended with
// the one that was lost.
func (c *Cell) sweep(ctx context.Context, k *keeper.Client) error {
	list, err := k.List(ctx)
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, g := range list {
		kept[g.Name] = true
	}
	return c.groups.Reap(func(name string) bool { return strings.HasPrefix(name, c.prefix) && !kept[name] })
}

// loadReports reads what this cell has said before.
func (c *Cell) loadReports(ctx context.Context) error {
	list, err := c.cfg.Ledger.Join(ctx, c.row())
	for _, r := range list {
		c.rows[r.GUID] = r
	}
	return err
}

// adopt takes the guests of the keeper over.
func (c *Cell) adopt(ctx context.Context) error {
	list, err := c.client.List(ctx)
	if err != nil {
		return err
	}
	for _, kept := range list {
		g, err := c.client.Adopt(ctx, kept.Name)
		if err != nil {
			return fmt.Errorf("adopt %s: %w", kept.Name, err)
		}
		var l label
		if err := json.Unmarshal(kept.Label, &l); err != nil || l.Placement.GUID == "" || !c.pool.take(l.Addr) {
			c.cfg.Log.Error("cell: a kept guest cannot be told apart: it is ended", "name", kept.Name, "err", err)
			g.Kill()
			g.Stdout.Close()
			g.Stderr.Close()
			if err := g.Forget(); err != nil {
				return err
			}
			continue
		}
		i := newInstance(c, l)
		i.guest, i.steps = g, l.Boot
		i.adopted = c.rows[l.Placement.GUID]
		c.instances[l.Placement.GUID] = i
		c.wiring.local[l.Placement.GUID] = l
	}
	return c.sweep(ctx, c.client)
}

// Orders are the nouns that say what a cell should run.
func Orders() []cf.Noun { return []cf.Noun{"placements"} }

// Wake makes the cell look at its placements now. It never blocks.
func (c *Cell) Wake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Rewired returns when who may talk to whom is in force as the ledger says now.
func (c *Cell) Rewired(ctx context.Context) error { return c.wiring.sync(ctx) }

// Shut ends all guests, politely, while Run runs, begins no others, and takes
// their way out off the host. What was placed stays placed: the next cell begins
// it anew.
func (c *Cell) Shut(ctx context.Context) error {
	c.closing.Store(true)
	c.Wake()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if !slices.ContainsFunc(c.list(), func(i *instance) bool { return !i.over() }) {
			if c.uplink != nil {
				return c.uplink.Remove()
			}
			return nil
		}
		select {
		case <-ctx.Done():
			if !slices.ContainsFunc(c.list(), (*instance).runs) {
				return errors.New("the guests have ended, but the ledger cannot be told: their keeper tells the next cell")
			}
			return fmt.Errorf("guests still run: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// Concerns are the nouns that say who may talk to whom.
func Concerns() []cf.Noun {
	return []cf.Noun{"security_groups", "group_bindings", "network_policies", "destinations", "routes", "domains"}
}

// Rewire makes the cell look at who may talk to whom now. It never blocks.
func (c *Cell) Rewire() { c.wiring.hint(true) }

// Run keeps the cell's instances as they should be until ctx ends. The guests
// stay with their keeper then.
func (c *Cell) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer func() {
		stop()
		all.Wait()
	}()
	packets, streams, err := c.network.ListenGateway(53) // where guests look for names
	if err != nil {
		return err
	}
	all.Go(func() {
		if err := c.names.Serve(ctx, packets, streams); err != nil && ctx.Err() == nil {
			c.cfg.Log.Error("cell: guests have no name server", "err", err)
		}
	})
	all.Go(func() { c.reports.run(ctx) })
	all.Go(func() { c.wiring.run(ctx) })
	if c.uplink != nil {
		all.Go(func() { c.uplink.Watch(ctx, c.wiring.hostAddresses) })
	}
	all.Go(func() { c.sample(ctx) })
	all.Go(func() { c.insist(ctx, "the firewall is not watched", c.watchWall) })
	flows := newFlowLog(c.cfg.Logs)
	all.Go(func() {
		c.insist(ctx, "connections are not logged", func(ctx context.Context) error { return c.wiring.wall.Flows(ctx, flows.put) })
	})
	for _, i := range c.instances {
		all.Go(func() { i.live(ctx) })
	}
	tick := time.NewTicker(c.cfg.Beat)
	defer tick.Stop()
	healthy := true
	for {
		if err := c.converge(ctx, &all); err != nil && ctx.Err() == nil {
			if healthy {
				c.cfg.Log.Error("cell: the ledger cannot be read, guests go on as they are", "err", err)
			}
			healthy = false
		} else {
			healthy = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			c.reports.beat()
		case <-c.wake:
		}
	}
}

// watchWall repairs what others change in the firewall, and says so.
func (c *Cell) watchWall(ctx context.Context) error {
	return c.wiring.wall.Watch(ctx, func(firewall.Applied) {
		c.cfg.Log.Warn("cell: somebody else had changed the firewall; it is repaired")
	})
}

// converge compares what should run with what runs.
func (c *Cell) converge(ctx context.Context, all *sync.WaitGroup) error {
	wanted := map[string]*cf.Placement{}
	list, err := c.cfg.Ledger.Placed(ctx)
	if err != nil {
		return err
	}
	for _, p := range list {
		wanted[p.GUID] = p
	}
	for guid, i := range c.instances {
		if p := wanted[guid]; p == nil || p.Stopping || c.closing.Load() {
			i.requestStop()
		}
		if wanted[guid] == nil && i.over() {
			c.forget(guid)
		}
	}
	for guid := range c.rows {
		if wanted[guid] == nil && c.instances[guid] == nil {
			delete(c.rows, guid)
			c.reports.remove(guid)
		}
	}
	for _, guid := range slices.Sorted(maps.Keys(wanted)) {
		if c.instances[guid] == nil && !c.closing.Load() {
			c.begin(ctx, wanted[guid], all)
		}
	}
	return nil
}

// begin starts a placement, unless its end was already told, or has to be: its
// guest went away with its keeper, or it was never wanted long enough.
func (c *Cell) begin(ctx context.Context, p *cf.Placement, all *sync.WaitGroup) {
	row := c.rows[p.GUID]
	switch {
	case row != nil && row.State == cf.InstanceEnded:
		return
	case row != nil:
		c.say(p, &cf.Report{State: cf.InstanceEnded, Status: 255, Details: "The cell lost the instance: its host or its keeper ended."})
		return
	case p.Stopping:
		c.say(p, &cf.Report{State: cf.InstanceEnded, Details: "It was stopped before it was started."})
		return
	}
	i := newInstance(c, label{Placement: *p})
	c.rows[p.GUID] = &cf.Report{}
	c.mu.Lock()
	c.instances[p.GUID] = i
	c.mu.Unlock()
	all.Go(func() { i.live(ctx) })
}

// say reports on a placement that has no instance here.
func (c *Cell) say(p *cf.Placement, r *cf.Report) {
	r.GUID, r.CellID, r.AppGUID, r.Since = p.GUID, c.cfg.ID, p.AppGUID, time.Now().UTC()
	c.rows[p.GUID] = r
	c.reports.put(r, nil, nil)
}

func (c *Cell) forget(guid string) {
	c.mu.Lock()
	delete(c.instances, guid)
	c.mu.Unlock()
}

// list is the instances, for others than converge.
func (c *Cell) list() []*instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.instances))
}

// Dial connects to a port of an instance of this cell, which may be ending but has
// not ended.
func (c *Cell) Dial(ctx context.Context, instance string, port uint16) (*net.TCPConn, error) {
	c.mu.Lock()
	i := c.instances[instance]
	c.mu.Unlock()
	if i == nil {
		return nil, errors.New("no such instance is here")
	}
	i.mu.Lock()
	at, lives := i.addr, i.pid != 0
	i.mu.Unlock()
	if !lives {
		return nil, errors.New("the instance does not run")
	}
	return c.network.DialTCP(ctx, netip.AddrPortFrom(at, port))
}

// isReady tells whether an instance of this cell takes requests.
func (c *Cell) isReady(guid string) bool {
	c.mu.Lock()
	i := c.instances[guid]
	c.mu.Unlock()
	if i == nil {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ready
}
