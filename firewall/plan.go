package firewall

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dewpaas/dew/cf"
)

// The transport protocols that rules know (IANA protocol numbers).
const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
)

// plan is a topology understood: what Compile writes down as a ruleset, and
// Reach reads to name the deciding rule.
type plan struct {
	topology *cf.Topology
	byAddr   map[uint32]*instance
	guests   []span // merged
	shielded []shield
	ids      map[string]uint32 // of every app that is mentioned, by guid
	collided bool              // two of them would have had the same number
	apps     map[uint32]*app   // that have instances
	policies map[pair]*between
	classes  map[string]*class // by the guids of their groups
	inSpace  map[space]*class  // for the instances there
	bound    map[space][]*cf.SecurityGroup
	routed   map[process][]route
	problems []Problem
}

type (
	// instance is an endpoint and what the plan found out about it.
	instance struct {
		*cf.Endpoint
		app    *app
		class  *class
		routes []route // that lead to it
	}
	// app is what a plan knows of an app: its running instances.
	app struct {
		id      uint32 // stable as long as the app is there
		running []*instance
		local   bool // one of them is on this cell
		source  bool // of a policy that matters on this cell
	}
	// pair is source and destination of network policies.
	pair struct{ from, to uint32 }
	// between is what one app may do with another.
	between struct {
		list     []policy
		from, to *app // nil without instances
		matters  bool // both are there, and one of them on this cell
	}
	// policy is the ports of one network policy.
	policy struct {
		protocol uint8
		ports    span
	}
	// process is one process type of an app.
	process struct{ app, kind string }
	// space is where security groups apply.
	space struct{ stage, guid string }
	// route is a port to which a route leads, and the route's name.
	route struct {
		port uint16
		name string
	}
	// shield is a protected destination.
	shield struct {
		span
		what string
	}
)

// newPlan understands a topology. before, which may be nil, is the plan of an
// earlier one: what is alike in both is taken from there.
func newPlan(t *cf.Topology, before *plan) *plan {
	p := &plan{topology: t, byAddr: make(map[uint32]*instance, len(t.Endpoints)), apps: map[uint32]*app{}, policies: make(map[pair]*between, len(t.Policies)),
		classes: map[string]*class{}, inSpace: map[space]*class{}, bound: map[space][]*cf.SecurityGroup{}, routed: map[process][]route{}}
	p.numberApps(before)
	p.readRoutes()
	p.readEndpoints()
	p.readProtected()
	p.readPolicies()
	p.readGroups(before)
	return p
}

func (p *plan) problem(what, format string, args ...any) {
	p.problems = append(p.problems, Problem{what, fmt.Errorf(format, args...)})
}

// numberApps gives each app a number that depends on its guid alone, so that
// other apps may come and go; only two of the same number depend on each other.
func (p *plan) numberApps(before *plan) {
	if before != nil && !before.collided && p.knows(before.ids) {
		p.ids = before.ids
		return
	}
	p.ids = map[string]uint32{}
	for i := range p.topology.Endpoints {
		p.ids[p.topology.Endpoints[i].AppGUID] = 0
	}
	for i := range p.topology.Policies {
		p.ids[p.topology.Policies[i].SourceGUID], p.ids[p.topology.Policies[i].DestinationGUID] = 0, 0
	}
	taken := map[uint32]bool{0: true}
	for _, guid := range slices.Sorted(maps.Keys(p.ids)) {
		sum := sha256.Sum256([]byte(guid))
		id := binary.BigEndian.Uint32(sum[:])
		for taken[id] {
			p.collided = true
			id++
		}
		taken[id] = true
		p.ids[guid] = id
	}
}

// knows tells whether ids has every app of the topology.
func (p *plan) knows(ids map[string]uint32) bool {
	for i := range p.topology.Endpoints {
		if ids[p.topology.Endpoints[i].AppGUID] == 0 {
			return false
		}
	}
	for i := range p.topology.Policies {
		if ids[p.topology.Policies[i].SourceGUID] == 0 || ids[p.topology.Policies[i].DestinationGUID] == 0 {
			return false
		}
	}
	return true
}

func (p *plan) readEndpoints() {
	t := p.topology
	for _, prefix := range t.Guests {
		if s, ok := spanOf(cf.SpanOf(prefix)); ok {
			p.guests = append(p.guests, s)
		}
	}
	p.guests = merged(p.guests)
	var outside []span // instances that have no address of the guests' networks
	list := make([]instance, len(t.Endpoints))
	for i := range t.Endpoints {
		e := &t.Endpoints[i]
		if !e.Addr.Is4() || e.VNIC != "" && !strings.HasPrefix(e.VNIC, Prefix) || len(e.VNIC) > maxName {
			p.problem("instance "+e.GUID, "address %v on vNIC %q: want IPv4 and a name that begins with %q of at most %d bytes", e.Addr, e.VNIC, Prefix, maxName)
			continue
		}
		n := number(e.Addr)
		if other := p.byAddr[n]; other != nil {
			p.problem("instance "+e.GUID, "address %v is that of instance %s", e.Addr, other.GUID)
			continue
		}
		one := &list[i]
		one.Endpoint, one.routes = e, p.routesTo(e)
		p.byAddr[n] = one
		if !inAny(p.guests, n) {
			outside = append(outside, span{n, n})
		}
		p.join(one)
	}
	p.guests = merged(append(p.guests, outside...))
}

// join makes an instance one of its app's.
func (p *plan) join(one *instance) {
	id := p.ids[one.AppGUID]
	if p.apps[id] == nil {
		p.apps[id] = &app{id: id}
	}
	one.app = p.apps[id]
	if one.Stage != cf.Staging {
		one.app.running = append(one.app.running, one)
		one.app.local = one.app.local || one.VNIC != ""
	}
}

func (p *plan) readProtected() {
	for _, d := range p.topology.Protected {
		if s, ok := spanOf(cf.SpanOf(d.Prefix)); ok {
			p.shielded = append(p.shielded, shield{s, d.What})
		}
	}
	if g := p.topology.Gateway; g.Is4() {
		p.shielded = append(p.shielded, shield{span{number(g), number(g)}, "the cell"})
	}
}

func (p *plan) readPolicies() {
	list := p.topology.Policies
	all, made := make([]between, len(list)), 0
	for i := range list {
		one, ok := p.readPolicy(&list[i])
		if !ok {
			continue
		}
		key := pair{p.ids[list[i].SourceGUID], p.ids[list[i].DestinationGUID]}
		b := p.policies[key]
		if b == nil {
			b = &all[made]
			made++
			*b = between{from: p.apps[key.from], to: p.apps[key.to]}
			p.policies[key] = b
		}
		b.list = append(b.list, one)
	}
	for i := range all[:made] {
		all[i].finish()
	}
}

func (p *plan) readPolicy(n *cf.NetworkPolicy) (one policy, ok bool) {
	one.ports = span{uint32(n.StartPort), uint32(n.EndPort)}
	switch n.Protocol {
	case cf.TCP:
		one.protocol = protoTCP
	case cf.UDP:
		one.protocol = protoUDP
	}
	if one.protocol == 0 || n.StartPort < 1 || n.EndPort < n.StartPort || n.EndPort > 0xffff {
		p.problem("network policy "+n.GUID, "protocol %q, ports %d to %d: want tcp or udp, and ports from 1 to 65535", n.Protocol, n.StartPort, n.EndPort)
		return one, false
	}
	return one, true
}

// finish brings the policies into order and finds out whether they matter here.
func (b *between) finish() {
	slices.SortFunc(b.list, func(x, y policy) int {
		return cmp.Or(cmp.Compare(x.protocol, y.protocol), comparePosition(x.ports, y.ports))
	})
	b.matters = b.from != nil && b.to != nil && len(b.to.running) > 0 && (b.from.local || b.to.local)
	if b.matters {
		b.from.source = true
	}
}

// allows is the first policy from one app to another for a port, or nil.
func (p *plan) allows(from, to string, protocol uint8, port uint32) *policy {
	b := p.policies[pair{p.ids[from], p.ids[to]}]
	if b == nil {
		return nil
	}
	for i := range b.list {
		if b.list[i].protocol == protocol && b.list[i].ports.has(port) {
			return &b.list[i]
		}
	}
	return nil
}

func (p *plan) readRoutes() {
	for _, r := range p.topology.Routes {
		key := process{r.AppGUID, r.ProcessType}
		p.routed[key] = append(p.routed[key], route{r.Port, r.Route})
	}
	for _, list := range p.routed {
		slices.SortFunc(list, func(a, b route) int { return cmp.Or(cmp.Compare(a.port, b.port), cmp.Compare(a.name, b.name)) })
	}
}

// routesTo lists where routes lead on an instance.
func (p *plan) routesTo(e *cf.Endpoint) []route {
	if e.Stage == cf.Staging {
		return nil
	}
	var list []route
	for _, r := range p.routed[process{e.AppGUID, e.ProcessType}] {
		if r.port == 0 {
			if len(e.Ports) == 0 {
				continue
			}
			r.port = e.Ports[0]
		}
		list = append(list, r)
	}
	return list
}

// readGroups finds for each instance the security groups that apply.
func (p *plan) readGroups(before *plan) {
	byGUID := map[string]*cf.SecurityGroup{}
	for i := range p.topology.Groups {
		byGUID[p.topology.Groups[i].GUID] = &p.topology.Groups[i]
	}
	for _, b := range p.topology.Bindings {
		if g := byGUID[b.GroupGUID]; g != nil {
			key := space{b.Stage, b.SpaceGUID}
			p.bound[key] = append(p.bound[key], g)
		}
	}
	if before != nil && slices.Equal(before.closed(), p.closed()) && slices.Equal(before.shielded, p.shielded) {
		p.keepClasses(before)
	}
	for _, one := range p.byAddr {
		one.class = p.classOf(one.Endpoint)
	}
}

// keepClasses takes over classes whose groups have not changed.
func (p *plan) keepClasses(before *plan) {
	now := map[string]*cf.SecurityGroup{}
	for i := range p.topology.Groups {
		now[p.topology.Groups[i].GUID] = &p.topology.Groups[i]
	}
	same := func(g *cf.SecurityGroup) bool {
		n := now[g.GUID]
		return n != nil && n.Name == g.Name && slices.EqualFunc(n.Rules, g.Rules, sameRule)
	}
	for key, c := range before.classes {
		if c.problems == nil && !slices.ContainsFunc(c.groups, func(g *cf.SecurityGroup) bool { return !same(g) }) {
			p.classes[key] = c
		}
	}
}

func sameRule(a, b cf.Rule) bool {
	sameInt := func(x, y *int) bool { return x == y || x != nil && y != nil && *x == *y }
	return a.Protocol == b.Protocol && a.Destination == b.Destination && a.Ports == b.Ports && a.Log == b.Log && sameInt(a.Type, b.Type) && sameInt(a.Code, b.Code)
}

// closed is what no security group leads to.
func (p *plan) closed() []span { return merged(append(never(), p.guests...)) }

// never are addresses that no rule leads to: those of no network, loopback, and
// multicast and reserved ones (RFC 6890). The lock or the kernel drops them.
func never() []span {
	return []span{{0, 0x00ffffff}, {0x7f000000, 0x7fffffff}, {0xe0000000, 0xffffffff}}
}

// holes is what no broad rule opens.
func (p *plan) holes() []span {
	var holes []span
	for _, s := range p.shielded {
		holes = append(holes, s.span)
	}
	return holes
}

func spaceOf(e *cf.Endpoint) space {
	if e.Stage == cf.Staging {
		return space{cf.Staging, e.SpaceGUID}
	}
	return space{cf.Running, e.SpaceGUID}
}

// groupsOf lists the groups that apply to an instance: those of its space, and
// those of every space.
func (p *plan) groupsOf(e *cf.Endpoint) []*cf.SecurityGroup {
	list := slices.Clone(p.bound[spaceOf(e)])
	for i := range p.topology.Groups {
		if g := &p.topology.Groups[i]; e.Stage == cf.Staging && g.Staging || e.Stage != cf.Staging && g.Running {
			list = append(list, g)
		}
	}
	slices.SortFunc(list, func(a, b *cf.SecurityGroup) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.GUID, b.GUID))
	})
	return slices.Compact(list)
}

func (p *plan) classFor(groups []*cf.SecurityGroup, holes []span) *class {
	key := classKey(groups)
	if p.classes[key] == nil {
		p.classes[key] = newClass(groups, p.closed(), holes)
		p.problems = append(p.problems, p.classes[key].problems...)
	}
	return p.classes[key]
}

func classKey(groups []*cf.SecurityGroup) string {
	var b strings.Builder
	for _, g := range groups {
		b.WriteString(g.GUID)
		b.WriteByte(' ')
	}
	return b.String()
}
