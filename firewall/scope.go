package firewall

import (
	"maps"
	"slices"

	"github.com/dewpaas/dew/firewall/nft"
)

// scope is what differs between two plans: the addresses whose instances
// differ, the pairs of apps whose policies do, and whether any security group
// does. Both plans written down within the scope differ exactly as they do in
// full, at the cost of what has changed. A nil scope has everything.
type scope struct {
	addrs   map[uint32]bool
	pairs   map[pair]bool
	classes bool
	frame   bool // the chains and sets that are there whoever runs
}

func (s *scope) hasAddr(n uint32) bool { return s == nil || s.addrs[n] }
func (s *scope) hasPair(p pair) bool   { return s == nil || s.pairs[p] }
func (s *scope) hasClasses() bool      { return s == nil || s.classes }
func (s *scope) hasFrame() bool        { return s == nil || s.frame }

// scopeOf compares two plans.
func scopeOf(before, now *plan) *scope {
	s := &scope{addrs: map[uint32]bool{}, pairs: map[pair]bool{}}
	for n, e := range now.byAddr {
		if old := before.byAddr[n]; old == nil || !old.alike(e) {
			s.addrs[n] = true
		}
	}
	for n := range before.byAddr {
		if now.byAddr[n] == nil {
			s.addrs[n] = true
		}
	}
	for key, b := range now.policies {
		if old := before.policies[key]; old == nil || !old.alike(b) {
			s.pairs[key] = true
		}
	}
	for key := range before.policies {
		if now.policies[key] == nil {
			s.pairs[key] = true
		}
	}
	s.classes = !maps.Equal(before.localClasses(), now.localClasses())
	s.frame = !before.sameFrame(now)
	return s
}

// alike tells whether an instance is written down the same in both plans.
func (a *instance) alike(b *instance) bool {
	return a.VNIC == b.VNIC && a.MAC == b.MAC && a.Rates == b.Rates && a.Stage == b.Stage && slices.Equal(a.Ports, b.Ports) && slices.Equal(a.Datagrams, b.Datagrams) &&
		a.app.id == b.app.id && a.app.source == b.app.source && a.chain() == b.chain() &&
		slices.EqualFunc(a.routes, b.routes, func(x, y route) bool { return x.port == y.port })
}

// chain is where egress sends an instance, if anywhere.
func (a *instance) chain() string {
	if len(a.class.spaces) > 0 {
		return a.class.name
	}
	return ""
}

// alike tells whether the policies between two apps are written down the same in
// both plans.
func (b *between) alike(c *between) bool {
	if b.matters != c.matters || !slices.Equal(b.list, c.list) {
		return false
	}
	return !b.matters || b.from.local == c.from.local && slices.EqualFunc(b.to.running, c.to.running, func(x, y *instance) bool {
		return x.Addr == y.Addr && (x.VNIC == "") == (y.VNIC == "")
	})
}

// localClasses are the classes whose chains are written down: those of instances
// on this cell.
func (p *plan) localClasses() map[*class]bool {
	used := map[*class]bool{}
	for _, e := range p.byAddr {
		if e.VNIC != "" {
			used[e.class] = true
		}
	}
	return used
}

// sameFrame tells whether all that does not depend on apps is the same.
func (p *plan) sameFrame(q *plan) bool {
	a, b := p.topology, q.topology
	return a.Gateway == b.Gateway && a.GatewayMAC == b.GatewayMAC && p.mtu() == q.mtu() && slices.Equal(p.guests, q.guests) &&
		slices.Equal(a.Resolvers, b.Resolvers) && slices.Equal(a.Routers, b.Routers)
}

// change is what brings the rules of one plan to those of another.
func change(before, now *plan, k Kernel) nft.Change {
	s := scopeOf(before, now)
	return nft.Diff(before.ruleset(k, s), now.ruleset(k, s))
}
