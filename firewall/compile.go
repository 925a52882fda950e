package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall/nft"
)

const (
	// Table is the name of every table of ours.
	Table = "dew"
	// Prefix begins the name of every vNIC, and of no other interface of the
	// cell's network.
	Prefix = "dew"
	// Uplink is the name of the interface by which the cell's network reaches
	// that of the host.
	Uplink = "up0"
	// maxName is the longest name of an interface (IFNAMSIZ less its end).
	maxName = 15
	// LogGroup is the netlink group of the flow log.
	LogGroup = 1
	// Snaplen is how much of a logged packet is read, in bytes: headers.
	Snaplen = 64
)

// What the flow log's packets are marked with.
const (
	logDeny  = "deny"
	logAllow = "allow"
)

// Bounds of the flow log, of each address.
const (
	logRate  = 5 // logged connections a second
	logBurst = 20
)

// Kernel is what the compiler has to know of the machine. The zero value asks
// for the most.
type Kernel struct{ Lock Lock }

// Compile turns a topology into rules. It is pure: the same topology gives the
// same rules, whatever the order of its lists. What cannot be compiled is left
// out, which denies it, and named.
func Compile(t cf.Topology, k Kernel) (*nft.Ruleset, []Problem) {
	p := newPlan(&t, nil)
	return p.ruleset(k, nil), p.problems
}

// ruleset writes a plan down, or as much of it as is in scope.
func (p *plan) ruleset(k Kernel, s *scope) *nft.Ruleset {
	b := &builder{plan: p, scope: s, table: &nft.Table{Family: nft.NFPROTO_IPV4, Name: Table}, made: map[string]bool{}}
	if s.hasFrame() {
		b.hooks()
		b.guestChains()
		b.endChains(b.table, deniedChains())
		b.frameSets()
	}
	b.served()
	b.peers()
	b.egress()
	r := &nft.Ruleset{Tables: []*nft.Table{b.table}}
	b.lock(r, k.Lock)
	r.Sort()
	return r
}

// builder writes a plan down.
type builder struct {
	*plan
	scope *scope // nil: all
	table *nft.Table
	made  map[string]bool // names of what several classes share
}

func (b *builder) chain(name string, rules ...nft.Rule) *nft.Chain {
	c := &nft.Chain{Name: name, Rules: rules}
	b.table.Chains = append(b.table.Chains, c)
	return c
}

func (b *builder) base(name string, hook uint32, priority int32, rules ...nft.Rule) {
	b.chain(name, rules...).Base = &nft.Base{Hook: hook, Priority: priority, Drop: true}
}

func (b *builder) set(s *nft.Set) *nft.Set {
	b.table.Sets = append(b.table.Sets, s)
	return s
}

func rule(parts ...nft.Statement) nft.Rule { return nft.NewRule(parts...) }

// Interface names, and the state of a connection.
func fromGuest() nft.Statement { return nft.Prefixed(nft.IIFName(), Prefix) }
func toGuest() nft.Statement   { return nft.Prefixed(nft.OIFName(), Prefix) }
func established() nft.Statement {
	return nft.State("established,related", nft.NF_CT_STATE_ESTABLISHED|nft.NF_CT_STATE_RELATED)
}
func invalid() nft.Statement { return nft.State("invalid", nft.NF_CT_STATE_INVALID_BIT) }
func tcp() nft.Statement     { return nft.IsProto("", "tcp", protoTCP) }

// hooks are the chains that the kernel calls: for what the cell itself gets and
// sends, and for what passes between interfaces.
func (b *builder) hooks() {
	b.base("input", nft.NF_INET_LOCAL_IN, 0,
		rule(nft.Called(nft.IIFName(), "lo"), nft.Accept()),
		rule(established(), nft.Accept()),
		rule(fromGuest(), nft.Goto("guest")),
		rule(nft.Called(nft.IIFName(), Uplink), tcp(), nft.Reset())) // who talks to a guest whose connection was cut learns of it
	b.base("forward", nft.NF_INET_FORWARD, 0,
		rule(established(), nft.Accept()),
		rule(fromGuest(), nft.Goto("guest")),
		rule(toGuest(), nft.Goto("inbound")))
	b.base("output", nft.NF_INET_LOCAL_OUT, 0,
		rule(established(), nft.Accept()),
		rule(nft.Called(nft.OIFName(), Uplink), nft.Goto("beyond")),
		rule(nft.NotPrefixed(nft.OIFName(), Prefix), nft.Accept()),
		rule(tcp(), nft.InSet("served", nft.DAddr(), nft.DPort()), nft.Accept()),
		rule(nft.IsProto("", "udp", protoUDP), nft.InSet("datagrams", nft.DAddr(), nft.DPort()), nft.Accept()),
		rule(tcp(), nft.Reset()))
	// The cell itself has no business outside. What it sends there was meant for
	// an instance whose vNIC has just gone.
	b.chain("beyond", rule(isProbe(), nft.Accept()), rule(tcp(), nft.Reset()), rule(nft.Drop()))
	// Outside all guests are one address: the host has a route to no guest.
	b.base("outward", nft.NF_INET_POST_ROUTING, natPriority, rule(nft.Called(nft.OIFName(), Uplink), nft.Masquerade()))
	outward := b.table.Chain("outward").Base
	outward.Drop, outward.NAT = false, true
}

// natPriority is where the kernel changes sources (NF_IP_PRI_NAT_SRC).
const natPriority = 100

// guestChains decide about the first packet of a connection.
func (b *builder) guestChains() {
	to := []nft.Field{nft.DAddr(), nft.Protocol(), nft.DPort()}
	b.chain("guest",
		rule(invalid(), nft.Goto("drop-invalid")),
		// Without an answer a connection stays new; only its first packet is judged.
		rule(nft.Confirmed(), nft.Accept()),
		rule(nft.InSet("fresh", nft.SAddr()), nft.Goto("decide")),
		rule(nft.Goto("drop-new")))
	b.chain("decide",
		rule(nft.InSet("crowding", nft.SAddr()), nft.Goto("drop-open")),
		rule(nft.InSet("resolver", to...), nft.Accept()),
		rule(nft.InSet("guests", nft.DAddr()), nft.Goto("between")),
		rule(nft.VMap("egress", nft.SAddr())),
		rule(nft.Goto("deny")))
	b.chain("between", rule(nft.Jump("peers")), rule(nft.Goto("deny")))
	b.chain("peers",
		rule(nft.MarkFrom("apps", nft.SAddr())),
		rule(nft.InSet("policies", slices.Insert(to, 0, nft.MetaMark())...), nft.Accept()),
		rule(nft.InSet("policy-ranges", slices.Insert(to, 0, nft.MetaMark().Ordered())...), nft.Accept()))
	b.chain("inbound",
		rule(invalid(), nft.Drop()),
		rule(nft.Confirmed(), nft.Accept()),
		rule(nft.InSet("routers", nft.SAddr()), tcp(), nft.InSet("routed", nft.DAddr(), nft.DPort()), nft.Accept()),
		rule(nft.Jump("peers")),
		rule(nft.Drop()))
	b.chain("deny",
		rule(nft.Slower("logged-deny", nft.SAddr(), logRate, logBurst), nft.LogTo(LogGroup, logDeny, Snaplen)),
		rule(nft.Count("drops", nft.IIFName(), reasonField(ReasonDenied))),
		rule(tcp(), nft.Reset()),
		rule(nft.Prohibit()))
	b.chain("allow-log",
		rule(nft.Slower("logged-allow", nft.SAddr(), logRate, logBurst), nft.LogTo(LogGroup, logAllow, Snaplen)),
		rule(nft.Accept()))
}

func types(names ...string) []nft.Type { return nft.Types(names...) }

// frameSets are what is the same whichever apps there are.
func (b *builder) frameSets() {
	guests := b.set(&nft.Set{Name: "guests", Fields: types("ipv4_addr"), Flags: unix.NFT_SET_INTERVAL})
	for _, s := range b.guests {
		guests.Elements = append(guests.Elements, nft.Element{Key: bytes4(s.first), End: endOf(s)})
	}
	resolver := b.set(&nft.Set{Name: "resolver", Fields: types("ipv4_addr", "inet_proto", "inet_service")})
	for _, r := range b.topology.Resolvers {
		for _, protocol := range []byte{protoTCP, protoUDP} {
			if r.Addr().Is4() {
				resolver.Elements = append(resolver.Elements, nft.Element{Key: nft.Key(bytes4(number(r.Addr())), string(protocol), nft.Port(r.Port()))})
			}
		}
	}
	for _, name := range []string{"logged-deny", "logged-allow"} {
		b.set(&nft.Set{Name: name, Fields: types("ipv4_addr"), Flags: unix.NFT_SET_EVAL, Size: 4096, Timeout: 60})
	}
	b.set(crowdingSet())
	b.set(dropsSet())
	routers := b.set(&nft.Set{Name: "routers", Fields: types("ipv4_addr")})
	seen := map[netip.Addr]bool{}
	for _, a := range b.topology.Routers {
		if a.Is4() && !seen[a] {
			routers.Elements = append(routers.Elements, nft.Element{Key: bytes4(number(a))})
		}
		seen[a] = true
	}
}

func endOf(s span) string {
	if s.first == s.last {
		return ""
	}
	return bytes4(s.last)
}

// served is where the cell and the routers may connect to.
func (b *builder) served() {
	served := b.set(&nft.Set{Name: "served", Fields: types("ipv4_addr", "inet_service")})
	datagrams := b.set(&nft.Set{Name: "datagrams", Fields: types("ipv4_addr", "inet_service")})
	routed := b.set(&nft.Set{Name: "routed", Fields: types("ipv4_addr", "inet_service")})
	fresh := b.set(&nft.Set{Name: "fresh", Fields: types("ipv4_addr"), Flags: unix.NFT_SET_EVAL})
	for n, e := range b.byAddr {
		if e.VNIC == "" || !b.scope.hasAddr(n) {
			continue
		}
		r := ratesOf(e.Endpoint)
		fresh.Elements = append(fresh.Elements, nft.Rated(bytes4(n), nft.Limit{Rate: uint64(r.Connections), Burst: r.ConnectionBurst}))
		seen := map[uint16]bool{}
		for _, to := range e.routes {
			if !seen[to.port] {
				routed.Elements = append(routed.Elements, nft.Element{Key: nft.Key(bytes4(n), nft.Port(to.port))})
				served.Elements = append(served.Elements, nft.Element{Key: nft.Key(bytes4(n), nft.Port(to.port))})
			}
			seen[to.port] = true
		}
		for _, port := range slices.Compact(slices.Sorted(slices.Values(e.Datagrams))) {
			datagrams.Elements = append(datagrams.Elements, nft.Element{Key: nft.Key(bytes4(n), nft.Port(port))})
		}
		for _, port := range e.Ports {
			if !seen[port] {
				served.Elements = append(served.Elements, nft.Element{Key: nft.Key(bytes4(n), nft.Port(port))})
			}
			seen[port] = true
		}
	}
}

// peers are network policies: who is which app, and which app reaches which
// instance on which port.
func (b *builder) peers() {
	apps := b.set(&nft.Set{Name: "apps", Fields: types("ipv4_addr"), DataType: nft.TypeMark, DataLen: 4})
	key := types("mark", "ipv4_addr", "inet_proto", "inet_service")
	exact := b.set(&nft.Set{Name: "policies", Fields: key})
	ranges := b.set(&nft.Set{Name: "policy-ranges", Fields: key, Flags: unix.NFT_SET_INTERVAL | nft.NFT_SET_CONCAT})
	for key, between := range b.policies {
		if !between.matters || !b.scope.hasPair(key) {
			continue
		}
		ports := mergedPorts(between.list)
		for _, e := range between.to.running {
			if e.VNIC == "" && !between.from.local {
				continue // neither end is here
			}
			for _, one := range ports {
				add(exact, ranges, key.from, e.Addr, one)
			}
		}
	}
	for n, e := range b.byAddr {
		if e.app.source && e.Stage != cf.Staging && b.scope.hasAddr(n) {
			apps.Elements = append(apps.Elements, nft.Element{Key: bytes4(n), Mark: e.app.id})
		}
	}
}

// add writes one range of ports down, where a single port costs least.
func add(exact, ranges *nft.Set, from uint32, to netip.Addr, one policy) {
	key := func(mark string, port uint32) string {
		return nft.Key(mark, bytes4(number(to)), string([]byte{one.protocol}), nft.Port(uint16(port)))
	}
	if one.ports.first == one.ports.last {
		exact.Elements = append(exact.Elements, nft.Element{Key: key(nft.Mark(from), one.ports.first)})
		return
	}
	// Sets of ranges keep every field with its highest byte first.
	ranges.Elements = append(ranges.Elements, nft.Element{Key: key(bytes4(from), one.ports.first), End: key(bytes4(from), one.ports.last)})
}

// mergedPorts joins overlapping policies: the kernel takes no boxes that overlap.
func mergedPorts(list []policy) []policy {
	var out []policy
	for _, protocol := range []uint8{protoTCP, protoUDP} {
		var spans []span
		for _, one := range list {
			if one.protocol == protocol {
				spans = append(spans, one.ports)
			}
		}
		for _, s := range merged(spans) {
			out = append(out, policy{protocol, s})
		}
	}
	return out
}

// egress sends each instance to the chain of its security groups.
func (b *builder) egress() {
	egress := b.set(&nft.Set{Name: "egress", Fields: types("ipv4_addr"), DataType: unix.NFT_DATA_VERDICT})
	for n, e := range b.byAddr {
		if e.VNIC == "" {
			continue
		}
		c := e.class
		if len(c.spaces) == 0 {
			continue
		}
		if b.scope.hasClasses() && !b.made[c.name] {
			b.made[c.name] = true
			b.class(c.name, c)
		}
		if !b.scope.hasAddr(n) {
			continue
		}
		egress.Elements = append(egress.Elements, nft.Element{Key: bytes4(n), Verdict: nft.GotoVerdict(c.name)})
	}
}

// class writes down what security groups allow: a map from addresses to what is
// allowed there.
func (b *builder) class(name string, c *class) {
	to := b.set(&nft.Set{Name: name, Fields: types("ipv4_addr"), DataType: unix.NFT_DATA_VERDICT, Flags: unix.NFT_SET_INTERVAL})
	b.chain(name, rule(nft.VMap(name, nft.DAddr())), rule(nft.Goto("deny")))
	verdicts := map[*leaf]nft.Verdict{}
	for _, s := range c.spaces {
		v, known := verdicts[s.leaf]
		if !known {
			v = b.leaf(c, s.leaf)
			verdicts[s.leaf] = v
		}
		if n := len(to.Elements); n > 0 && to.Elements[n-1].Verdict == v && adjoins(to.Elements[n-1], s.span) {
			to.Elements[n-1].End = bytes4(s.last)
			continue
		}
		to.Elements = append(to.Elements, nft.Element{Key: bytes4(s.first), End: endOf(s.span), Verdict: v})
	}
}

func adjoins(e nft.Element, s span) bool {
	last := e.Key
	if e.End != "" {
		last = e.End
	}
	return last < bytes4(s.first) && bytes4(s.first-1) == last
}

// leaf is the verdict for a destination whose address is known: at once, or in
// a chain that looks at protocol and port. Chains are named after what is in
// them, so classes share them and a changed one is a new one.
func (b *builder) leaf(c *class, l *leaf) nft.Verdict {
	rest := nft.GotoVerdict("deny")
	switch {
	case l.all >= 0 && l.log:
		return nft.GotoVerdict("allow-log")
	case l.all >= 0:
		rest = nft.AcceptVerdict()
	}
	var rules []nft.Rule
	for _, one := range []struct {
		name   string
		number uint8
		field  nft.Field
		pieces []piece
	}{{"tcp", protoTCP, nft.DPort(), l.tcp}, {"udp", protoUDP, nft.DPort(), l.udp}, {"icmp", protoICMP, nft.ICMPKind(), l.icmp}} {
		elements := b.leafElements(c, one.pieces, l.all >= 0)
		if len(elements) == 0 {
			continue
		}
		name := one.name + "-" + hash(fmt.Sprint(elements))
		if !b.made[name] {
			b.made[name] = true
			b.set(&nft.Set{Name: name, Fields: types("inet_service"), DataType: unix.NFT_DATA_VERDICT, Flags: unix.NFT_SET_INTERVAL, Elements: elements})
		}
		rules = append(rules, rule(nft.IsProto("", one.name, one.number), nft.VMap(name, one.field)))
	}
	if len(rules) == 0 {
		return rest
	}
	last := rule(nft.Goto("deny"))
	if l.all >= 0 {
		last = rule(nft.Accept())
	}
	rules = append(rules, last)
	var text strings.Builder
	for _, r := range rules {
		text.WriteString(r.Text + "\n")
	}
	name := "ports-" + hash(text.String())
	if !b.made[name] {
		b.made[name] = true
		b.chain(name, rules...)
	}
	return nft.GotoVerdict(name)
}

// leafElements are the ports of one protocol. Where everything is allowed
// anyway only those matter that are logged.
func (b *builder) leafElements(c *class, pieces []piece, allowed bool) []nft.Element {
	var list []nft.Element
	for _, p := range pieces {
		v := nft.AcceptVerdict()
		if c.logs(p.owners) {
			v = nft.GotoVerdict("allow-log")
		} else if allowed {
			continue
		}
		first, last := nft.Port(uint16(p.first)), nft.Port(uint16(p.last))
		if n := len(list); n > 0 && list[n-1].Verdict == v && nextPort(list[n-1]) == p.first {
			list[n-1].End = last
			continue
		}
		if first == last {
			last = ""
		}
		list = append(list, nft.Element{Key: first, End: last, Verdict: v})
	}
	return list
}

func nextPort(e nft.Element) uint32 {
	last := e.Key
	if e.End != "" {
		last = e.End
	}
	return uint32(last[0])<<8 + uint32(last[1]) + 1
}
