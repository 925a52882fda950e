package firewall

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dewpaas/dew/cf"
)

// class is what the same security groups allow: all instances that have these
// groups share it.
type class struct {
	name   string              // of its chain and its map
	groups []*cf.SecurityGroup // in the order of name and guid
	rules  []classRule         // in the order of groups and of their rules
	spaces []addressed         // in order, not overlapping
	broken string              // why nothing is allowed at all, if so

	problems []Problem
}

// classRule is one rule of one group.
type classRule struct {
	group *cf.SecurityGroup
	index int
	match cf.Match
	log   bool
}

// String names the rule as its author knows it.
func (r *classRule) String() string {
	return fmt.Sprintf("security group %s rule %d", r.group.Name, r.index+1)
}

// addressed is what is allowed towards some addresses.
type addressed struct {
	span
	leaf *leaf
}

// leaf is what is allowed once the address is known. Rules of all protocols
// decide where no other says to log.
type leaf struct {
	owners         []int   // rules, in order
	all            int     // the first rule for every protocol, or -1
	log            bool    // one of those says so
	tcp, udp, icmp []piece // ports, or ICMP type and code as one number; owners are rules
}

// Problem is something in a topology that cannot be compiled. It allows
// nothing; everything else is in force.
type Problem struct {
	What string // the group and rule, or the app
	Err  error
}

func (p Problem) String() string { return p.What + ": " + p.Err.Error() }

// workLimit bounds how many overlaps the rules of one class may have. Real
// groups have some dozens; a thousand rules that all overlap have a million.
const workLimit = 1 << 20

// newClass compiles groups. closed is never reached; protected only by rules
// that lie within.
func newClass(groups []*cf.SecurityGroup, closed, protected []span) *class {
	c := &class{name: "groups-" + hash(classKey(groups)), groups: groups}
	var list []owned
	for _, g := range groups {
		for i := range g.Rules {
			m, err := g.Rules[i].Parse()
			if err != nil {
				c.problems = append(c.problems, Problem{fmt.Sprintf("security group %s rule %d", g.Name, i+1), err})
				continue
			}
			list = append(list, reachable(m, len(c.rules), closed, protected)...)
			c.rules = append(c.rules, classRule{g, i, m, g.Rules[i].Log})
		}
	}
	if !c.divide(list) {
		c.spaces, c.broken = nil, "too many of its security group rules overlap"
		c.problems = append(c.problems, Problem{"security groups " + c.names(), errors.New("too many rules overlap: nothing is allowed by them; merge rules for the same addresses")})
	}
	return c
}

// divide finds what is allowed towards which addresses. It gives up where rules
// overlap so much that this would take long.
func (c *class) divide(list []owned) bool {
	pieces, ok := slice(list, workLimit)
	leaves := map[string]*leaf{}
	for _, p := range pieces {
		key := fmt.Sprint(p.owners)
		if leaves[key] == nil && ok {
			leaves[key], ok = c.newLeaf(p.owners)
		}
		c.spaces = append(c.spaces, addressed{p.span, leaves[key]})
	}
	return ok
}

func (c *class) names() string {
	var names []string
	for _, g := range c.groups {
		names = append(names, g.Name)
	}
	return strings.Join(names, ", ")
}

// reachable is where a rule leads after closed and protected destinations are
// taken out. A destination that lies within a protected one names it.
func reachable(m cf.Match, owner int, closed, protected []span) []owned {
	var list []owned
	for _, to := range m.To {
		s, ok := spanOf(to)
		if !ok || m.Protocol == cf.ICMPv6 {
			continue
		}
		holes := slices.Clone(closed)
		for _, p := range protected {
			if !s.within(p) {
				holes = append(holes, p)
			}
		}
		for _, left := range s.without(merged(holes)) {
			list = append(list, owned{left, owner})
		}
	}
	return list
}

func (c *class) newLeaf(owners []int) (_ *leaf, ok bool) {
	l := &leaf{owners: owners, all: -1}
	var tcp, udp, icmp []owned
	for _, o := range owners {
		m := &c.rules[o].match
		switch m.Protocol {
		case cf.AllIP:
			if l.all < 0 {
				l.all = o
			}
			l.log = l.log || c.rules[o].log
		case cf.TCP:
			tcp = appendPorts(tcp, m.Ports, o)
		case cf.UDP:
			udp = appendPorts(udp, m.Ports, o)
		case cf.ICMP:
			icmp = append(icmp, owned{kinds(m.Type, m.Code), o})
		}
	}
	var tcpOK, udpOK, icmpOK bool
	l.tcp, tcpOK = slice(tcp, workLimit)
	l.udp, udpOK = slice(udp, workLimit)
	l.icmp, icmpOK = slice(icmp, workLimit)
	return l, tcpOK && udpOK && icmpOK
}

func appendPorts(list []owned, ports []cf.Ports, owner int) []owned {
	for _, p := range ports {
		list = append(list, owned{span{uint32(p.First), uint32(p.Last)}, owner})
	}
	return list
}

// kinds is ICMP type and code as one number. With any type the code does not
// matter: there is no message whose code means the same in all types.
func kinds(kind, code int) span {
	switch {
	case kind < 0:
		return span{0, 0xffff}
	case code < 0:
		return span{uint32(kind) << 8, uint32(kind)<<8 | 0xff}
	}
	return span{uint32(kind)<<8 | uint32(code), uint32(kind)<<8 | uint32(code)}
}

// find is the leaf for an address, or nil.
func (c *class) find(n uint32) *leaf {
	at, _ := slices.BinarySearchFunc(c.spaces, n, func(a addressed, n uint32) int { return cmp.Compare(a.last, n) })
	if at < len(c.spaces) && c.spaces[at].has(n) {
		return c.spaces[at].leaf
	}
	return nil
}

// deciding is the first rule that allows a protocol and a port, or an ICMP
// kind, and whether any of those that do says to log.
func (c *class) deciding(l *leaf, protocol uint8, n uint32) (rule *classRule, log bool) {
	first := -1
	if l.all >= 0 {
		first, log = l.all, l.log
	}
	var pieces []piece
	switch protocol {
	case protoTCP:
		pieces = l.tcp
	case protoUDP:
		pieces = l.udp
	case protoICMP:
		pieces = l.icmp
	}
	at, _ := slices.BinarySearchFunc(pieces, n, func(p piece, n uint32) int { return cmp.Compare(p.last, n) })
	if at < len(pieces) && pieces[at].has(n) {
		owners := pieces[at].owners
		if first < 0 || owners[0] < first {
			first = owners[0]
		}
		log = log || c.logs(owners)
	}
	if first < 0 {
		return nil, false
	}
	return &c.rules[first], log
}

func (c *class) logs(owners []int) bool {
	return slices.ContainsFunc(owners, func(o int) bool { return c.rules[o].log })
}
