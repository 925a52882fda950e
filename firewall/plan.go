package firewall

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
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
	byAddr   map[uint32]*cf.Endpoint
	guests   []span // merged
	shielded []shield
	appID    map[string]uint32 // stable as long as the app is there
	apps     map[string]*app
	policies map[pair][]policy
	classes  map[string]*class              // by the guids of their groups
	inSpace  map[string]*class              // by stage and space
	bound    map[string][]*cf.SecurityGroup // by stage and space
	routed   map[process][]route
	problems []Problem
}

type (
	// pair is source and destination of network policies.
	pair struct{ from, to string }
	// policy is the ports of one network policy.
	policy struct {
		protocol uint8
		ports    span
	}
	// process is one process type of an app.
	process struct{ app, kind string }
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
	// app is what a plan knows of an app: its running instances.
	app struct {
		name    string
		running []*cf.Endpoint
		local   bool // one of them is on this cell
	}
)

func newPlan(t *cf.Topology) *plan {
	p := &plan{topology: t, byAddr: map[uint32]*cf.Endpoint{}, appID: map[string]uint32{}, apps: map[string]*app{},
		policies: map[pair][]policy{}, classes: map[string]*class{}, inSpace: map[string]*class{}, bound: map[string][]*cf.SecurityGroup{}, routed: map[process][]route{}}
	p.readEndpoints()
	p.readProtected()
	p.readPolicies()
	p.readRoutes()
	p.readClasses()
	return p
}

func (p *plan) problem(what, format string, args ...any) {
	p.problems = append(p.problems, Problem{what, fmt.Errorf(format, args...)})
}

func (p *plan) readEndpoints() {
	t := p.topology
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
		p.byAddr[n] = e
		p.guests = append(p.guests, span{n, n})
		a := p.apps[e.AppGUID]
		if a == nil {
			a = &app{name: e.AppName}
			p.apps[e.AppGUID] = a
		}
		if e.Stage != cf.Staging {
			a.running = append(a.running, e)
			a.local = a.local || e.VNIC != ""
		}
	}
	for _, prefix := range t.Guests {
		if s, ok := spanOf(cf.SpanOf(prefix)); ok {
			p.guests = append(p.guests, s)
		}
	}
	p.guests = merged(p.guests)
	p.numberApps()
}

// numberApps gives each app a number that depends on its guid alone, so that
// other apps may come and go; only two of the same number depend on each other.
func (p *plan) numberApps() {
	guids := make([]string, 0, len(p.apps))
	for guid := range p.apps {
		guids = append(guids, guid)
	}
	slices.Sort(guids)
	taken := map[uint32]bool{0: true}
	for _, guid := range guids {
		sum := sha256.Sum256([]byte(guid))
		id := binary.BigEndian.Uint32(sum[:])
		for taken[id] {
			id++
		}
		taken[id] = true
		p.appID[guid] = id
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
	for i := range p.topology.Policies {
		n := &p.topology.Policies[i]
		one := policy{ports: span{uint32(n.StartPort), uint32(n.EndPort)}}
		switch n.Protocol {
		case cf.TCP:
			one.protocol = protoTCP
		case cf.UDP:
			one.protocol = protoUDP
		}
		if one.protocol == 0 || n.StartPort < 1 || n.EndPort < n.StartPort || n.EndPort > 0xffff {
			p.problem("network policy "+n.GUID, "protocol %q, ports %d to %d: want tcp or udp, and ports from 1 to 65535", n.Protocol, n.StartPort, n.EndPort)
			continue
		}
		between := pair{n.SourceGUID, n.DestinationGUID}
		p.policies[between] = append(p.policies[between], one)
	}
	for _, list := range p.policies {
		slices.SortFunc(list, func(a, b policy) int {
			return cmp.Or(cmp.Compare(a.protocol, b.protocol), comparePosition(a.ports, b.ports))
		})
	}
}

// allows is the first policy from one app to another for a port, or nil.
func (p *plan) allows(from, to string, protocol uint8, port uint32) *policy {
	list := p.policies[pair{from, to}]
	for i := range list {
		if list[i].protocol == protocol && list[i].ports.has(port) {
			return &list[i]
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

// readClasses finds for each space and stage the groups that apply.
func (p *plan) readClasses() {
	t := p.topology
	byGUID := map[string]*cf.SecurityGroup{}
	for i := range t.Groups {
		byGUID[t.Groups[i].GUID] = &t.Groups[i]
	}
	for _, b := range t.Bindings {
		if g := byGUID[b.GroupGUID]; g != nil {
			p.bound[b.Stage+" "+b.SpaceGUID] = append(p.bound[b.Stage+" "+b.SpaceGUID], g)
		}
	}
	for i := range t.Endpoints {
		p.classOf(&t.Endpoints[i])
	}
}

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

func spaceKey(e *cf.Endpoint) string {
	if e.Stage == cf.Staging {
		return cf.Staging + " " + e.SpaceGUID
	}
	return cf.Running + " " + e.SpaceGUID
}

// groupsOf lists the groups that apply to an instance: those of its space, and
// those of every space.
func (p *plan) groupsOf(e *cf.Endpoint) []*cf.SecurityGroup {
	list := slices.Clone(p.bound[spaceKey(e)])
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
		c, problems := newClass(groups, merged(append(never(), p.guests...)), holes)
		p.classes[key] = c
		p.problems = append(p.problems, problems...)
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
