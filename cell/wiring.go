package cell

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/vnet"
	"github.com/dewpaas/dew/vnet/resolver"
)

// wiring keeps the firewall as the ledger and this cell's instances want it.
// Whoever waits for a change waits together with all others that came since
// the last one began: one transaction for many.
type wiring struct {
	c    *Cell
	wall *firewall.Wall
	asks chan chan error // who waits for what it changed to be in force
	look chan struct{}   // the ledger may have changed

	mu    sync.Mutex // guards what follows
	stale bool       // what the ledger said may have changed
	local map[string]label
	known *world // what the ledger said; nil: not read yet

	lent map[string]*loan
	// inForce is what was applied last.
	inForce cf.Topology
	// nameless is what was wrong with the list of name servers, which apply alone
	// reads; nil: it was not read yet.
	nameless *string
	host     []netip.Addr // this host's own addresses, as the wall knows them
}

func newWiring(c *Cell, wall *firewall.Wall) *wiring {
	return &wiring{c: c, wall: wall, asks: make(chan chan error), look: make(chan struct{}, 1), local: map[string]label{}, lent: map[string]*loan{}}
}

// admit returns when the rules for an instance are in force.
func (w *wiring) admit(ctx context.Context, l label) error {
	w.mu.Lock()
	w.local[l.Placement.GUID] = l
	w.mu.Unlock()
	return w.ask(ctx)
}

// sync returns when what the ledger says now is in force.
func (w *wiring) sync(ctx context.Context) error {
	w.mu.Lock()
	w.stale = true
	w.mu.Unlock()
	return w.ask(ctx)
}

// ask waits for a change that begins after now.
func (w *wiring) ask(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case w.asks <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dismiss takes an instance's rules away soon: its tap is gone already.
func (w *wiring) dismiss(guid string) {
	w.mu.Lock()
	delete(w.local, guid)
	w.mu.Unlock()
	w.hint(false)
}

// hint has the wiring done anew soon; stale, from what the ledger says now.
func (w *wiring) hint(stale bool) {
	w.mu.Lock()
	w.stale = w.stale || stale
	w.mu.Unlock()
	select {
	case w.look <- struct{}{}:
	default:
	}
}

// refresh is how old what the ledger said may become.
const refresh = 10 * time.Second

func (w *wiring) run(ctx context.Context) {
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	healthy := true
	for {
		var waiting []chan error
		select {
		case <-ctx.Done():
			return
		case ask := <-w.asks:
			waiting = append(waiting, ask)
		case <-w.look:
		case <-tick.C:
			w.hint(true)
		}
		for more := true; more; {
			select {
			case ask := <-w.asks:
				waiting = append(waiting, ask)
			default:
				more = false
			}
		}
		err := w.apply(ctx)
		for _, ask := range waiting {
			ask <- err
		}
		if err != nil && ctx.Err() == nil && healthy {
			w.c.cfg.Log.Error("cell: the firewall stays as it is", "err", err)
		}
		healthy = err == nil
	}
}

// apply brings the firewall to what is wanted now. When the ledger cannot be
// read, what it said before holds, and instances that it says nothing about have
// no rules that allow anything.
func (w *wiring) apply(ctx context.Context) error {
	var unread error
	w.mu.Lock()
	known, stale := w.known, w.stale
	w.stale = false
	w.mu.Unlock()
	if stale || known == nil {
		var next *world
		if next, unread = readWorld(ctx, w.c.cfg.Ledger, w.c.cfg.Guests); unread == nil {
			known = next
		}
	}
	if stale || w.nameless == nil {
		w.findUpstreams()
	}
	if known == nil {
		return fmt.Errorf("read who may talk to whom: %w", unread)
	}
	t := known.topology
	t.Gateway, t.GatewayMAC = vnet.Gateway, vnet.GatewayMAC
	t.Resolvers = []netip.AddrPort{netip.AddrPortFrom(vnet.Gateway, 53)}
	t.Guests = []netip.Prefix{w.c.cfg.Guests}
	host := w.hostAddresses()
	if stale || host == nil {
		if now, err := HostAddresses(); err == nil {
			host = now
		}
	}
	t.Protected = Protected(slices.Concat(w.c.cfg.Protected, known.protected), host)
	w.mu.Lock()
	w.known = known
	t.Endpoints = append([]cf.Endpoint(nil), t.Endpoints...)
	for _, l := range w.local {
		t.Endpoints = append(t.Endpoints, known.endpoint(&l.Placement, l.card()))
	}
	for _, l := range w.lent {
		l.addTo(&t, known)
	}
	w.mu.Unlock()
	for i := range t.Endpoints {
		if e := &t.Endpoints[i]; e.VNIC != "" {
			e.Ready = w.c.isReady(e.GUID)
		}
	}
	done, err := w.wall.Apply(t)
	if err != nil {
		return err
	}
	for _, p := range done.Problems {
		w.c.cfg.Log.Warn("cell: part of the topology cannot be enforced and is denied", "what", p.String())
	}
	if done.Repaired {
		w.c.cfg.Log.Warn("cell: somebody else had changed the firewall; it is repaired")
	}
	if err := w.c.names.Update(resolver.SnapshotOf(t)); err != nil {
		w.c.cfg.Log.Warn("cell: some names are not served", "err", err)
	}
	w.mu.Lock()
	w.inForce, w.host = t, host
	w.mu.Unlock()
	w.c.cfg.Wired(t)
	return unread
}

// findUpstreams has outside names asked of those whom the host asks now.
func (w *wiring) findUpstreams() {
	list, err := w.c.cfg.Upstreams()
	trouble := ""
	if err == nil {
		w.c.names.Ask(list)
	} else {
		trouble = err.Error() // who was asked before is asked on
	}
	if trouble != "" && (w.nameless == nil || *w.nameless != trouble) {
		w.c.cfg.Log.Warn("cell: guests find no names of the outside", "err", err)
	}
	w.nameless = &trouble
}

// hostAddresses are this host's own addresses, as far as the wall protects them.
func (w *wiring) hostAddresses() []netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.host
}

// HostAddresses are this host's own IPv4 addresses but for loopback.
func HostAddresses() ([]netip.Addr, error) {
	list, err := resolver.HostAddresses()
	addrs := []netip.Addr{}
	for _, p := range list {
		if a := p.Addr(); a.Is4() && !a.IsLoopback() {
			addrs = append(addrs, a)
		}
	}
	return addrs, err
}

// Protected is what no broad security group opens: this host, metadata services,
// and more.
func Protected(more []cf.Protected, host []netip.Addr) []cf.Protected {
	list := append([]cf.Protected{{Prefix: netip.MustParsePrefix("169.254.0.0/16"), What: "metadata addresses"},
		{Prefix: netip.MustParsePrefix("127.0.0.0/8"), What: "loopback"}}, more...)
	for _, a := range host {
		list = append(list, cf.Protected{Prefix: netip.PrefixFrom(a, a.BitLen()), What: "the host"})
	}
	return list
}
