package firewall

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall/nft"
	"github.com/dewpaas/dew/vnet"
)

// dice draws topologies and questions from a small world, so that rules overlap
// and questions hit their edges.
type dice struct{ *rand.Rand }

func (d dice) chance(of int) bool { return d.IntN(of) == 0 }

func pick[T any](d dice, list []T) T { return list[d.IntN(len(list))] }

func (d dice) port() uint16 {
	return pick(d, []uint16{1, 53, 79, 80, 81, 443, 8080, 8081, 9000, 65535})
}

// edges are addresses at which something begins or ends.
func edges() []string {
	return []string{"10.0.0.0", "10.0.0.1", "10.0.0.4", "10.0.0.5", "10.0.0.255", "10.0.1.0", "10.253.255.255", "10.254.0.2", "10.254.0.9", "10.254.77.7",
		"10.255.0.0", "169.253.255.255", "169.254.0.0", "169.254.0.1", "169.254.169.254", "169.255.0.0", "192.0.2.0", "192.0.2.7", "192.0.2.9", "192.0.2.255",
		"198.51.100.1", "8.8.8.8", "1.0.0.0", "223.255.255.255", "224.0.0.1", "127.0.0.1", "0.0.0.0", "255.255.255.255"}
}

func (d dice) addr() netip.Addr { return netip.MustParseAddr(pick(d, edges())) }

func (d dice) destination() string {
	switch d.IntN(6) {
	case 0:
		return "0.0.0.0/0"
	case 1:
		return d.addr().String()
	case 2:
		return fmt.Sprintf("%v/%d", d.addr(), pick(d, []int{8, 16, 24, 30, 31}))
	case 3:
		return d.addr().String() + "," + d.addr().String()
	}
	a, b := d.addr(), d.addr()
	if b.Less(a) {
		a, b = b, a
	}
	return a.String() + "-" + b.String()
}

func (d dice) rule() cf.Rule {
	r := cf.Rule{Protocol: pick(d, []string{"tcp", "tcp", "udp", "icmp", "all"}), Destination: d.destination(), Log: d.chance(4)}
	switch r.Protocol {
	case "tcp", "udp":
		r.Ports = pick(d, []string{"80", "53", "80,443", "79-81", "1-65535", "8080-9000,1", "65535"})
	case "icmp":
		r.Type, r.Code = intp(pick(d, []int{-1, 8, 0, 13})), intp(pick(d, []int{-1, 0, 1}))
	}
	return r
}

func (d dice) topology() cf.Topology {
	t := cf.Topology{Gateway: vnet.Gateway, GatewayMAC: vnet.GatewayMAC, Guests: []netip.Prefix{netip.MustParsePrefix("10.254.0.0/16")},
		Resolvers: []netip.AddrPort{netip.AddrPortFrom(vnet.Gateway, 53)},
		Routers:   []netip.Addr{netip.MustParseAddr("192.0.2.9")},
		Protected: []cf.Protected{{Prefix: netip.MustParsePrefix("169.254.0.0/16"), What: "metadata addresses"}, {Prefix: netip.MustParsePrefix("192.0.2.0/24"), What: "the host"}}}
	apps := []string{"ann", "bob", "cat"}
	for i := range 6 {
		e := endpoint(i+2, pick(d, apps))
		e.SpaceGUID = pick(d, []string{"red", "blue"})
		e.ProcessType = pick(d, []string{"web", "worker"})
		if d.chance(5) {
			e.Stage = cf.Staging
		}
		if i >= 4 {
			e.VNIC = "" // on another cell
		}
		for range d.IntN(3) {
			e.Ports = append(e.Ports, d.port())
		}
		for range d.IntN(3) {
			e.Datagrams = append(e.Datagrams, d.port())
		}
		t.Endpoints = append(t.Endpoints, e)
	}
	for range 3 + d.IntN(8) {
		a, b := d.port(), d.port()
		if d.chance(2) {
			b = a
		}
		t.Policies = append(t.Policies, cf.NetworkPolicy{SourceGUID: pick(d, apps), DestinationGUID: pick(d, apps), Protocol: pick(d, []string{"tcp", "udp"}),
			StartPort: int(min(a, b)), EndPort: int(max(a, b))})
	}
	for i := range 1 + d.IntN(4) {
		g := cf.SecurityGroup{Meta: cf.Meta{GUID: fmt.Sprintf("g%d", i)}, Name: fmt.Sprintf("group%d", i), Running: d.chance(2), Staging: d.chance(2)}
		for range 1 + d.IntN(6) {
			g.Rules = append(g.Rules, d.rule())
		}
		t.Groups = append(t.Groups, g)
		for range d.IntN(3) {
			t.Bindings = append(t.Bindings, cf.GroupBinding{GroupGUID: g.GUID, SpaceGUID: pick(d, []string{"red", "blue"}), Stage: pick(d, []string{"running", "staging"})})
		}
	}
	for range d.IntN(4) {
		t.Routes = append(t.Routes, cf.RoutedPort{AppGUID: pick(d, apps), ProcessType: pick(d, []string{"web", "worker"}), Port: pick(d, []uint16{0, 8080, 9000}), Route: "r.example.com"})
	}
	return t
}

func (d dice) question(t *cf.Topology) Question {
	q := Question{Protocol: pick(d, []string{"tcp", "tcp", "udp", "icmp"}), Port: d.port(), Type: pick(d, []uint8{8, 13}), Code: pick(d, []uint8{0, 1})}
	switch d.IntN(8) {
	case 0:
		q.From.Addr = t.Gateway
		q.Protocol = "tcp"
	case 1:
		q.From.Addr = t.Routers[0]
	case 2:
		q.From.Addr = netip.MustParseAddr("198.51.100.1")
	default:
		q.From.Endpoint = &t.Endpoints[d.IntN(len(t.Endpoints))]
	}
	if d.chance(2) && len(t.Policies) > 0 { // near a policy, or a port of a rule
		q.Protocol, q.Port = "tcp", uint16(pick(d, t.Policies).EndPort)
	} else if d.chance(2) {
		q.Port = 80
	}
	if q.From.Addr == t.Gateway {
		q.Protocol = pick(d, []string{"tcp", "tcp", "udp"})
		q.Port = pick(d, []uint16{q.Port, 8080, 9000})
	}
	local := q.From.Endpoint != nil && q.From.Endpoint.VNIC != ""
	if local && d.chance(2) {
		q.To.Addr = d.addr()
		return q
	}
	q.To.Endpoint = &t.Endpoints[d.IntN(len(t.Endpoints))]
	if !local {
		q.To.Endpoint = &t.Endpoints[d.IntN(4)] // what comes from elsewhere is judged here for those who are here
	}
	return q
}

func (q Question) String() string {
	name := func(p Peer) string {
		if p.Endpoint != nil {
			return fmt.Sprintf("%s(%s %s %s %v vnic %q)", p.Endpoint.GUID, p.Endpoint.AppName, p.Endpoint.SpaceGUID, p.Endpoint.Stage, p.Endpoint.Addr, p.Endpoint.VNIC)
		}
		return p.Addr.String()
	}
	return fmt.Sprintf("%s -> %s %s port %d icmp %d/%d", name(q.From), name(q.To), q.Protocol, q.Port, q.Type, q.Code)
}

// seeds are the rounds of an ordinary run; DEW_SEEDS=n,m,... runs others.
func seeds(t *testing.T) []uint64 {
	var list []uint64
	if s := os.Getenv("DEW_SEEDS"); s != "" {
		for _, f := range strings.Split(s, ",") {
			n, err := strconv.ParseUint(f, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, n)
		}
		return list
	}
	for i := range uint64(25) {
		list = append(list, i)
	}
	return list
}

// TestReachAgreesWithRulesAndPackets: for random topologies and questions the
// explanation, the compiled rules under the interpreter, the rules that the
// kernel says it has, and packets that are really sent come to the same end.
func TestReachAgreesWithRulesAndPackets(t *testing.T) {
	allowed, denied, logged := 0, 0, 0
	for _, seed := range seeds(t) {
		d := dice{rand.New(rand.NewPCG(seed, 7))}
		top := d.topology()
		l := newLab(t, top, true)
		listener(t, l)
		live, err := l.wall.Live()
		if err != nil {
			t.Fatal(err)
		}
		compiled, problems := Compile(top, l.wall.Kernel())
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for i := range 60 {
			q := d.question(&top)
			answer, err := Reach(top, q)
			if err != nil {
				t.Fatal(err)
			}
			if answer.Allowed {
				allowed++
			} else {
				denied++
			}
			if answer.Logged {
				logged++
			}
			where := fmt.Sprintf("seed %d question %d: %v: reach says %+v", seed, i, q, answer)
			compare(t, where, answer, compiled, top, q)
			compare(t, where+" (live)", answer, live, top, q)
			if got := l.attempt(q, uint16(20000+i)); got != answer.Allowed {
				t.Errorf("%s, but a packet says %v", where, got)
			}
			if t.Failed() {
				t.Fatalf("DEW_SEEDS=%d runs it again", seed)
			}
		}
		for _, one := range l.taps {
			one.file.Close()
		}
		l.out.file.Close()
	}
	if os.Getenv("DEW_SEEDS") == "" && (allowed < 100 || denied < 100 || logged < 10) {
		t.Errorf("%d allowed, %d denied, %d logged: the dice prove too little", allowed, denied, logged)
	}
}

func compare(t *testing.T, where string, a Answer, rules *nft.Ruleset, top cf.Topology, q Question) {
	t.Helper()
	s, err := Simulate(rules, top, q)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	if s.Allowed != a.Allowed || s.Logged != a.Logged {
		t.Errorf("%s, the rules %v, logged %v", where, s, s.Logged)
	}
}

// listener makes the gateway answer on port 53.
func listener(t *testing.T, l *lab) {
	t.Helper()
	packets, streams, err := l.net.ListenGateway(53)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { packets.Close(); streams.Close() })
}

// attempt makes the connection of a question and tells whether its first packet
// got where it should.
func (l *lab) attempt(q Question, port uint16) bool {
	l.t.Helper()
	src, dst := where(q.From), where(q.To)
	l.out.drain()
	for _, one := range l.taps {
		one.drain()
	}
	before := l.totalDrops()
	switch {
	case src == vnet.Gateway:
		l.connect(netip.AddrPortFrom(dst, q.Port), q.Protocol)
	case q.From.Endpoint != nil && q.From.Endpoint.VNIC != "":
		l.taps[q.From.Endpoint.VNIC].send(q.packet(src, dst, port))
	default:
		l.out.inject(q.packet(src, dst, port))
	}
	if dst == vnet.Gateway {
		return l.totalDrops() == before
	}
	at := l.out
	if q.From.Endpoint != nil && q.From.Endpoint.VNIC != "" && (q.To.Endpoint == nil || q.To.Endpoint.VNIC == "") && l.local(dst) == nil {
		return l.outward(q, src, dst)
	}
	if q.To.Endpoint == nil {
		if e := l.local(dst); e != nil {
			at = e
		}
	} else if q.To.Endpoint.VNIC != "" {
		at = l.taps[q.To.Endpoint.VNIC]
	}
	for _, f := range at.drain() {
		s, ok := look(f)
		if ok && s.src == src && s.dst == dst && !s.embedded && s.flags&rst == 0 {
			return true
		}
	}
	return false
}

// outward looks at what left by the uplink: nothing but the packet of the
// question, in the name of the uplink. An answer to it gets back to who asked and
// to nobody else; what is no answer gets to nobody.
func (l *lab) outward(q Question, src, dst netip.Addr) bool {
	l.t.Helper()
	left := false
	for _, f := range l.out.drain() {
		s, ok := look(f)
		if !ok || s.src != uplinkAddr || s.dst != dst {
			l.t.Errorf("%v: left the cell: %v", q, s)
			continue
		}
		left = true
		l.out.inject(answerTo(f[14:]))
		back := l.taps[q.From.Endpoint.VNIC].only(fmt.Sprintf("%v: the answer to %v", q, s))
		if back.src != dst || back.dst != src || back.protocol != s.protocol {
			l.t.Errorf("%v: the answer came as %v", q, back)
		}
	}
	stranger := netip.MustParseAddr("203.0.113.9")
	for _, to := range []netip.Addr{uplinkAddr, src} { // also by somebody who knows where guests have their addresses
		l.out.inject(udpDatagram(stranger, to, q.Port, 9, []byte("?")))
		l.out.inject(tcpSegment(stranger, to, q.Port, 9, syn, 1, 0, nil))
	}
	for _, one := range l.taps {
		for _, f := range one.drain() {
			if s, _ := look(f); !s.embedded && s.flags&rst == 0 { // but for the refusal of the question itself
				l.t.Errorf("%v: %v got %v", q, one.addr, s)
			}
		}
	}
	l.out.drain()
	return left
}

func (l *lab) local(a netip.Addr) *tap {
	for _, one := range l.taps {
		if one.addr == a {
			return one
		}
	}
	return nil
}

func (l *lab) totalDrops() (n uint64) {
	l.t.Helper()
	all, err := l.wall.Drops()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, byReason := range all {
		for _, c := range byReason {
			n += c.Packets
		}
	}
	return n
}

func where(p Peer) netip.Addr {
	if p.Endpoint != nil {
		return p.Endpoint.Addr
	}
	return p.Addr
}

func (q Question) packet(src, dst netip.Addr, port uint16) []byte {
	switch q.Protocol {
	case "tcp":
		return tcpSegment(src, dst, port, q.Port, syn, 1, 0, nil)
	case "udp":
		return udpDatagram(src, dst, port, q.Port, []byte("?"))
	}
	return icmpMessage(src, dst, q.Type, q.Code, byte(port>>8), byte(port))
}

// connect begins a connection from the cell. Its SYN, or a datagram, is out, or
// refused, when it returns.
func (l *lab) connect(to netip.AddrPort, protocol string) {
	l.t.Helper()
	kind := unix.SOCK_STREAM
	if protocol == cf.UDP {
		kind = unix.SOCK_DGRAM
	}
	err := l.net.Within(func() error {
		fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if protocol == cf.UDP {
			err := unix.Sendto(fd, []byte("?"), 0, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
			if err == unix.EPERM { // dropped by the output hook
				return nil
			}
			return err
		}
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
		if err == unix.EINPROGRESS || err == unix.ECONNREFUSED {
			return nil
		}
		return err
	})
	if err != nil {
		l.t.Fatalf("connect to %v: %v", to, err)
	}
}
