package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/dewpaas/dew/cf"
)

// Peer is one end of a question: an instance, or an address.
type Peer struct {
	Endpoint *cf.Endpoint
	Addr     netip.Addr // where Endpoint is nil
}

// Question asks whether From may connect to To. Port is for TCP and UDP, Type
// and Code for ICMP.
type Question struct {
	From, To   Peer
	Protocol   string // cf.TCP, cf.UDP or cf.ICMP
	Port       uint16
	Type, Code uint8
}

// Answer is yes or no, and why, in the words of those who made the rules.
type Answer struct {
	Allowed bool   `json:"allowed"`
	Logged  bool   `json:"logged"`
	Rule    string `json:"rule"`
}

// Reach answers a question from a topology, by the same compiled form that
// Compile writes down as rules. Endpoints in the question need not be in the
// topology: one that is not started has no address but all else.
func Reach(t cf.Topology, q Question) (Answer, error) {
	protocol, n, err := q.selector()
	if err != nil {
		return Answer{}, err
	}
	p := newPlan(&t, nil)
	return p.answer(p.peer(q.From), p.peer(q.To), protocol, n), nil
}

func (q Question) selector() (protocol uint8, n uint32, err error) {
	switch q.Protocol {
	case cf.TCP:
		protocol, n = protoTCP, uint32(q.Port)
	case cf.UDP:
		protocol, n = protoUDP, uint32(q.Port)
	case cf.ICMP:
		return protoICMP, uint32(q.Type)<<8 | uint32(q.Code), nil
	default:
		return 0, 0, fmt.Errorf("protocol %q: want tcp, udp or icmp", q.Protocol)
	}
	if n == 0 {
		return 0, 0, fmt.Errorf("no port for %s", q.Protocol)
	}
	return protocol, n, nil
}

// end is one end of a connection as a plan sees it. addr is 0 for an instance
// that has none yet.
type end struct {
	endpoint *cf.Endpoint
	addr     uint32
}

func (p *plan) peer(one Peer) end {
	a := one.Addr
	if one.Endpoint != nil {
		a = one.Endpoint.Addr
	}
	if !a.Is4() {
		return end{endpoint: one.Endpoint}
	}
	e := p.at(number(a))
	if one.Endpoint != nil {
		e.endpoint = one.Endpoint
	}
	return e
}

func (p *plan) at(n uint32) end {
	if one := p.byAddr[n]; one != nil {
		return end{one.Endpoint, n}
	}
	return end{nil, n}
}

// answer decides as the rules do: in the order of the chains guest, decide,
// between and inbound of Compile.
func (p *plan) answer(from, to end, protocol uint8, n uint32) Answer {
	switch {
	case from.endpoint != nil:
		return p.fromInstance(from.endpoint, to, protocol, n)
	case to.endpoint == nil:
		return Answer{Rule: "default deny: no instance is at either end"}
	case p.topology.Gateway.Is4() && from.addr == number(p.topology.Gateway):
		return p.fromCell(to.endpoint, protocol, n)
	}
	for _, a := range p.topology.Routers {
		if a.Is4() && from.addr == number(a) {
			return p.fromRouter(to.endpoint, protocol, n)
		}
	}
	return Answer{Rule: "default deny: only routers and other instances reach an instance"}
}

func (p *plan) fromInstance(from *cf.Endpoint, to end, protocol uint8, n uint32) Answer {
	for _, r := range p.topology.Resolvers {
		if to.endpoint == nil && r.Addr().Is4() && number(r.Addr()) == to.addr && protocol != protoICMP && uint32(r.Port()) == n {
			return Answer{Allowed: true, Rule: "every instance reaches its resolver"}
		}
	}
	if to.endpoint != nil || inAny(p.guests, to.addr) {
		return p.between(from, to, protocol, n)
	}
	c := p.classOf(from)
	if c.broken != "" {
		return Answer{Rule: "default deny: " + c.broken}
	}
	if l := c.find(to.addr); l != nil {
		if r, log := c.deciding(l, protocol, n); r != nil {
			return Answer{true, log, r.String()}
		}
	}
	return Answer{Rule: "default deny: " + p.whyNot(c, to.addr)}
}

// between decides by network policies.
func (p *plan) between(from *cf.Endpoint, to end, protocol uint8, n uint32) Answer {
	if to.endpoint == nil {
		return Answer{Rule: fmt.Sprintf("default deny: no instance has the address %v, and security groups do not lead to instances", address(to.addr))}
	}
	what := fmt.Sprintf("%s %d", protocolName(protocol), n)
	if from.Stage == cf.Staging || to.endpoint.Stage == cf.Staging {
		return Answer{Rule: "default deny: network policies are not for staging"}
	}
	if one := p.allows(from.AppGUID, to.endpoint.AppGUID, protocol, n); one != nil {
		return Answer{Allowed: true, Rule: fmt.Sprintf("network policy %s -> %s, %s", from.AppName, to.endpoint.AppName, one)}
	}
	return Answer{Rule: fmt.Sprintf("default deny: no network policy from %s to %s allows %s", from.AppName, to.endpoint.AppName, what)}
}

func (p policy) String() string {
	if p.ports.first == p.ports.last {
		return fmt.Sprintf("%s %d", protocolName(p.protocol), p.ports.first)
	}
	return fmt.Sprintf("%s %d-%d", protocolName(p.protocol), p.ports.first, p.ports.last)
}

func protocolName(n uint8) string {
	switch n {
	case protoTCP:
		return cf.TCP
	case protoUDP:
		return cf.UDP
	case protoICMP:
		return cf.ICMP
	}
	return fmt.Sprintf("protocol %d", n)
}

// whyNot says what a missing rule would have to do.
func (p *plan) whyNot(c *class, addr uint32) string {
	if inAny(never(), addr) {
		return fmt.Sprintf("%v is no address of a network that guests reach", address(addr))
	}
	for _, s := range p.shielded {
		if s.has(addr) {
			return fmt.Sprintf("%v is protected (%s), and no security group rule names it alone", address(addr), s.what)
		}
	}
	if len(c.groups) == 0 {
		return "no security group applies"
	}
	return "none of the security groups " + c.names() + " allows it"
}

func (p *plan) fromCell(to *cf.Endpoint, protocol uint8, n uint32) Answer {
	if a := p.fromRouter(to, protocol, n); a.Allowed {
		return a
	}
	for _, port := range to.Ports {
		if protocol == protoTCP && uint32(port) == n {
			return Answer{Allowed: true, Rule: fmt.Sprintf("the cell checks the health of port %d", port)}
		}
	}
	if protocol == protoUDP && slices.Contains(to.Datagrams, uint16(n)) {
		return Answer{Allowed: true, Rule: fmt.Sprintf("the cell passes datagrams to port %d", n)}
	}
	return Answer{Rule: "default deny: the cell reaches declared ports only"}
}

func (p *plan) fromRouter(to *cf.Endpoint, protocol uint8, n uint32) Answer {
	var names []string
	for _, r := range p.routesTo(to) {
		if protocol == protoTCP && uint32(r.port) == n {
			names = append(names, r.name)
		}
	}
	if names == nil {
		return Answer{Rule: "default deny: no route leads there"}
	}
	return Answer{Allowed: true, Rule: "route " + strings.Join(names, ", ")}
}

// classOf is the class of an instance, also of one that is not in the topology.
func (p *plan) classOf(e *cf.Endpoint) *class {
	key := spaceOf(e)
	if p.inSpace[key] == nil {
		p.inSpace[key] = p.classFor(p.groupsOf(e), p.holes())
	}
	return p.inSpace[key]
}
