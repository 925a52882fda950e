package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/firewall/nft"
)

// Gate is the host's side of a cell's uplink: one table of its own in the host's
// network, named after the wire. The Wall decides what a guest may reach. The
// gate sees to it that nothing else comes of it: what leaves has the address of
// the cell's end and gets that of the host, nothing begins from outside, of the
// host's own addresses only those are reached that the Wall knows to protect,
// and the host is a router for nobody else because of us. The table remembers
// which interfaces were made to forward, so that whoever removes it can undo it.
type Gate struct {
	name string

	mu     sync.Mutex // guards what follows; one change at a time
	tables *nft.Conn
	have   *nft.Ruleset // what was committed last; nil: look
	at     uint32       // the generation that has it
}

// GateRules is what a gate enforces.
type GateRules struct {
	Cell   netip.Addr   // the address of the cell's end
	Host   []netip.Addr // of the host, which the Wall protects
	Opened []string     // interfaces that forward only because of the gate
}

// Priorities of the gate's chains: before those of other firewalls, which are
// asked as well; the kernel changes sources after both of ours.
const gatePriority, passedPriority = -10, -150

// protoProbe is the protocol of a packet that asks whether other firewalls of
// the host let through what guests send (RFC 3692: for experiments). The gate
// takes it off at the last hook: it never leaves the host.
const protoProbe = 253

func isProbe() nft.Statement { return nft.IsProto("", "253", protoProbe) }

// What the gate counts.
const (
	countSent   = 1 // first packets that came from the cell
	countPassed = 2 // those of them that are about to leave
)

// OpenGate opens the gate of a name in the network that in runs functions in.
// Nothing is changed yet.
func OpenGate(in func(func() error) error, name string) (*Gate, error) {
	c, err := nft.Open(in)
	if err != nil {
		return nil, fmt.Errorf("open the host's gate: %w", explained(err))
	}
	return &Gate{name: name, tables: c}, nil
}

// Close lets go of the kernel's ear; the table stays.
func (g *Gate) Close() error { return g.tables.Close() }

// Converge makes the rules true. changed tells whether the kernel had others.
func (g *Gate) Converge(r GateRules) (changed bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bring(gateTable(g.name, r))
}

// bring replaces what the kernel has, unless it is that already.
func (g *Gate) bring(want *nft.Ruleset) (changed bool, err error) {
	for range attempts {
		if err = g.look(); err != nil {
			return false, err
		}
		ch := nft.Diff(g.have, want)
		if ch.Empty() {
			return false, nil
		}
		g.have = nil
		if g.at, err = g.tables.Commit(ch, g.at); err == nil {
			g.have = want
			return true, nil
		}
		if !errors.Is(err, nft.ErrStale) && !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return false, fmt.Errorf("set the host's gate up: %w: load the kernel modules with `modprobe -a nf_tables nft_masq nft_chain_nat nft_ct` (built with CONFIG_NF_CONNTRACK_TIMEOUT)", err)
	}
	return false, fmt.Errorf("set the host's gate up: %w", explained(err))
}

// look reads the table unless it is known to be as it was.
func (g *Gate) look() error {
	if g.have != nil {
		now, err := g.tables.Generation()
		if err != nil || now == g.at {
			return err
		}
	}
	var err error
	g.have, g.at, err = g.tables.Read(g.name)
	return err
}

// GatePrefix begins the name of every gate.
const GatePrefix = "dew-"

// Gates lists the gates of the host whose name begins so.
func (g *Gate) Gates(prefix string) ([]string, error) {
	names, err := g.tables.Names(nft.NFPROTO_IPV4)
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) }), err
}

// Opened lists the interfaces that this gate's table says were made to forward,
// and those that others' do, also when earlier processes did it.
func (g *Gate) Opened() (own, others []string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	names, err := g.Gates(GatePrefix)
	for _, name := range names {
		r, _, failed := g.tables.Read(name)
		if failed != nil {
			return nil, nil, failed
		}
		t := r.Table(nft.NFPROTO_IPV4, name)
		if t == nil || t.Set("opened") == nil {
			continue
		}
		for _, e := range t.Set("opened").Elements {
			if name == g.name {
				own = append(own, cString(e.Key))
			} else {
				others = append(others, cString(e.Key))
			}
		}
	}
	return own, others, err
}

// Probe sends a packet of the kind that gates take off, from the network of the
// calling thread.
func Probe(to netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protoProbe)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, []byte("dew"), unix.MSG_DONTWAIT, &unix.SockaddrInet4{Addr: to.As4()}); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	return nil
}

// Remove removes the table.
func (g *Gate) Remove() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err := g.bring(&nft.Ruleset{})
	return err
}

// Passed counts the connections that came from the cell, and those that other
// firewalls of the host let through.
func (g *Gate) Passed() (sent, passed uint64, err error) {
	list, err := g.tables.Counters(nft.NFPROTO_IPV4, g.name, "traffic")
	for _, c := range list {
		if len(c.Key) != 8 {
			continue
		}
		switch nft.ReadMark(c.Key[4:]) {
		case countSent:
			sent += c.Packets
		case countPassed:
			passed += c.Packets
		}
	}
	return sent, passed, err
}

// The host's table of connections is the host's as well. What guests begin is
// remembered in it as long as in the cell's (see tune), where Relieve keeps them
// from having too many, and not for the minutes that are usual. Connections of
// other protocols are remembered for ten minutes (nf_conntrack_generic_timeout),
// so only so many a second begin.
const otherRate, otherBurst = 20, 100

func gateTimeouts() (streams, datagrams *nft.Timeout) {
	return &nft.Timeout{Name: "streams", Protocol: protoTCP, Seconds: []uint32{20, 20, 86400, 30, 60, 20, 20, 10, 20, 300, 300}},
		&nft.Timeout{Name: "datagrams", Protocol: protoUDP, Seconds: []uint32{20, 120}}
}

// gateTable is pure.
func gateTable(wire string, r GateRules) *nft.Ruleset {
	b := &builder{table: &nft.Table{Family: nft.NFPROTO_IPV4, Name: wire}}
	in := func(f func() nft.Field) nft.Statement { return nft.Called(f(), wire) }
	cell := func(operator string) nft.Statement {
		return nft.IsAddr(nft.SAddr(), operator, r.Cell.String(), r.Cell.As4())
	}
	count := func(what uint32) nft.Statement {
		return nft.Count("traffic", nft.SAddr(), nft.Const(fmt.Sprintf("0x%08x", what), nft.Mark(what)))
	}
	begins := nft.State("new", nft.NF_CT_STATE_NEW)
	streams, datagrams := gateTimeouts()
	b.table.Timeouts = []*nft.Timeout{streams, datagrams}
	b.base("forward", nft.NF_INET_FORWARD, gatePriority,
		rule(in(nft.IIFName), cell("!="), nft.Drop()),
		rule(in(nft.IIFName), begins, count(countSent)),
		rule(in(nft.IIFName), begins, tcp(), nft.Remembered(streams)),
		rule(in(nft.IIFName), begins, nft.IsProto("", "udp", protoUDP), nft.Remembered(datagrams)),
		rule(in(nft.IIFName), begins, nft.IsProto("!=", "tcp", protoTCP), nft.IsProto("!=", "udp", protoUDP), nft.IsProto("!=", "icmp", protoICMP),
			nft.Faster(otherRate, otherBurst), nft.Drop()),
		rule(in(nft.IIFName), nft.Accept()),
		rule(established(), nft.Accept()),
		rule(in(nft.OIFName), nft.Drop()),
		rule(nft.NotInSet("opened", nft.IIFName()), nft.Accept()),
		rule(nft.Redirected(), nft.Accept()), // a published port of somebody else
		rule(nft.Drop()))
	b.base("input", nft.NF_INET_LOCAL_IN, gatePriority,
		rule(in(nft.IIFName), cell(""), nft.InSet("host", nft.DAddr()), nft.Accept()),
		rule(in(nft.IIFName), tcp(), nft.Reset()), // refused, as the Wall refuses
		rule(in(nft.IIFName), nft.Drop()))
	b.base("passed", nft.NF_INET_POST_ROUTING, passedPriority,
		rule(cell(""), begins, count(countPassed)),
		rule(cell(""), isProbe(), nft.Drop()))
	b.base("outward", nft.NF_INET_POST_ROUTING, natPriority, rule(cell(""), nft.Masquerade()))
	for _, c := range b.table.Chains {
		c.Base.Drop = false // what has nothing to do with the wire is not ours
	}
	b.table.Chain("outward").Base.NAT = true
	b.set(&nft.Set{Name: "traffic", Fields: types("ipv4_addr", "mark"), Flags: unix.NFT_SET_EVAL, Size: 16})
	host := b.set(&nft.Set{Name: "host", Fields: types("ipv4_addr")})
	for _, a := range r.Host {
		host.Elements = append(host.Elements, nft.Element{Key: bytes4(number(a))})
	}
	opened := b.set(&nft.Set{Name: "opened", Fields: types("ifname")})
	for _, name := range r.Opened {
		opened.Elements = append(opened.Elements, nft.Element{Key: nft.Name(name)})
	}
	rs := &nft.Ruleset{Tables: []*nft.Table{b.table}}
	rs.Sort()
	return rs
}
