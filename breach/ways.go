package breach

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall"
)

// way is one connection that a twin begins, and what the topology says of it.
type way struct {
	peer     string
	to       netip.Addr
	protocol string
	port     uint16
	answer   firewall.Answer
	token    string
}

// atOnceWays is how many a twin tries in one run.
const atOnceWays = 32

// tryWays has twins begin connections: to every app, to the cell and what is
// protected, to what each rule of a security group opens and to what none does.
func (u *Suite) tryWays(ctx context.Context, site *Site, tell func(Finding)) error {
	all, err := waysOf(&site.Subject)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(all, atOnceWays) {
		if err := u.walk(ctx, site, some, tell); err != nil {
			return err
		}
	}
	return u.tryDoors(ctx, site, tell)
}

// waysOf lists the connections, each to one address and port.
func waysOf(s *Subject) (list []way, err error) {
	add := func(peer string, to netip.Addr, protocol string, port uint16) {
		if !to.Is4() || port == 0 || slices.ContainsFunc(list, func(w way) bool { return w.to == to && w.protocol == protocol && w.port == port }) {
			return
		}
		w := way{peer: peer, to: to, protocol: protocol, port: port}
		q := firewall.Question{From: firewall.Peer{Endpoint: &s.Self}, To: firewall.Peer{Addr: to}, Protocol: protocol, Port: port}
		var failed error
		if w.answer, failed = firewall.Reach(s.Topology, q); failed != nil {
			err = errors.Join(err, failed)
		}
		token := make([]byte, 12)
		rand.Read(token)
		w.token = tokenPrefix + hex.EncodeToString(token)
		list = append(list, w)
	}
	s.waysToApps(add)
	for _, port := range []uint16{22, 80, apiPort, busPort} {
		add("the cell", s.Topology.Gateway, cf.TCP, port)
	}
	add("the cell", s.Topology.Gateway, cf.UDP, busPort)
	for _, p := range s.Topology.Protected {
		to := p.Prefix.Addr()
		if !p.Prefix.IsSingleIP() {
			to = to.Next()
		}
		if metadata := netip.AddrFrom4([4]byte{169, 254, 169, 254}); p.Prefix.Contains(metadata) {
			to = metadata
		}
		add(p.What, to, cf.TCP, 80)
	}
	s.waysOut(add)
	return list, err
}

// waysToApps: to each process of each app, at its own ports and at those that a
// policy opens. An instance of many is enough.
func (s *Subject) waysToApps(add func(string, netip.Addr, string, uint16)) {
	seen := map[[2]string]bool{} // app and process type
	for i := range s.Topology.Endpoints {
		e := &s.Topology.Endpoints[i]
		key := [2]string{e.AppGUID, e.ProcessType}
		if seen[key] || e.GUID == s.Self.GUID || e.Stage == cf.Staging {
			continue
		}
		seen[key] = true
		peer := "app " + e.AppName
		for _, p := range s.Topology.Policies {
			if p.SourceGUID == s.Self.AppGUID && p.DestinationGUID == e.AppGUID {
				add(peer, e.Addr, p.Protocol, uint16(p.StartPort))
			}
		}
		for _, port := range e.Ports {
			add(peer, e.Addr, cf.TCP, port)
		}
		add(peer, e.Addr, cf.UDP, 9)
	}
}

// waysOut: to one address and port of each rule, and to networks that are
// nobody's (RFC 5737). Of a wide rule that has none of these nothing is tried:
// strangers are not to be disturbed.
func (s *Subject) waysOut(add func(string, netip.Addr, string, uint16)) {
	nobody, nowhere, _, _ := outside()
	for _, g := range s.groups() {
		for _, r := range g.Rules {
			m, err := r.Parse()
			if err != nil || m.Protocol == cf.ICMP || m.Protocol == cf.ICMPv6 {
				continue
			}
			protocol, port := m.Protocol, uint16(443)
			if protocol != cf.UDP {
				protocol = cf.TCP
			}
			if len(m.Ports) > 0 {
				port = m.Ports[0].First
			}
			for _, span := range m.To {
				switch {
				case span.Contains(nobody):
					add("outside", nobody, protocol, port)
				case span.Contains(nowhere):
					add("outside", nowhere, protocol, port)
				case netip.PrefixFrom(span.First, 24).Contains(span.Last): // a few hosts that are meant
					add("outside", span.First, protocol, port)
				}
			}
		}
	}
	add("outside", nobody, cf.TCP, 6667)
	add("outside", nowhere, cf.UDP, 9)
}

// frame is the first packet of the connection, with the token in it.
func (w *way) frame(t *street) string {
	to := netip.AddrPortFrom(w.to, w.port)
	if w.protocol == cf.UDP {
		return t.ip(udp(t.mal.at(1000), to, []byte(w.token)))
	}
	return t.ip(tcp(t.mal.at(1000), to, flagSYN, []byte(w.token)))
}

// walk tries some ways in one run of a twin.
func (u *Suite) walk(ctx context.Context, site *Site, some []way, tell func(Finding)) error {
	arrived := make([]bool, len(some))
	w := Witness{arrange: []func(*scene) error{onStreet(nil, nil), making(func(t *street, _ string) (frames []string) {
		for i := range some {
			frames = append(frames, some[i].frame(t))
		}
		return frames
	})}}
	w.gained = func(s *scene) (bool, error) { return false, settled(s) }
	_, err := u.twin(ctx, site, &Row{Tender: site.Subject.Tender, Steps: []string{"{frames}", "send {lawful}", "hold"}, Witness: w}, func(s *scene) {
		for i := range some {
			arrived[i] = some[i].arrived(s.street)
		}
	})
	for i := range some {
		tell(some[i].finding(site, arrived[i], err))
	}
	return ctx.Err()
}

// arrived: the packet was sent on, or the cell has it, or answers it.
func (w *way) arrived(t *street) bool {
	if w.to != t.gateway {
		return t.out.has(w.token)
	}
	return t.host.has(w.token) || t.delivered(func(b []byte) bool {
		return openDoor(nil, b) && bytes.Equal(b[26:30], t.gateway.AsSlice()) && uint16(b[34])<<8|uint16(b[35]) == w.port
	}) > 0
}

func (w *way) finding(site *Site, arrived bool, err error) Finding {
	f := Finding{Name: fmt.Sprintf("%s, %s %s", w.peer, w.protocol, netip.AddrPortFrom(w.to, w.port)), Class: Reach, Predicted: Stopped, Rule: w.answer.Rule,
		Goal: "a word with it"}
	if w.answer.Allowed {
		f.Predicted = Gained
	}
	f.settle(arrived, err)
	if !f.Agrees && w.answer.Allowed && f.Error == "" && !site.leads(w.to) {
		f.Agrees, f.How = true, "allowed, but no way leads there from this cell"
	}
	return f
}

// leads tells whether the cell has a way to an address.
func (site *Site) leads(to netip.Addr) bool {
	err := site.Network.Within(func() error {
		_, err := netlink.RouteGet(to.AsSlice())
		return err
	})
	return !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EHOSTUNREACH)
}

// tryDoors looks from where a twin is reached: by the cell at the app's ports
// and at no other.
func (u *Suite) tryDoors(ctx context.Context, site *Site, tell func(Finding)) error {
	s := &site.Subject
	doors := append(s.doors(), 22, 9999)
	slices.Sort(doors)
	doors = slices.Compact(doors)
	reached := map[uint16]bool{}
	w := Witness{arrange: []func(*scene) error{onStreet(nil, nil), making(func(*street, string) []string { return nil })}}
	w.begun = func(sc *scene) error {
		for _, port := range doors {
			knock(sc.suite.ctx, site, netip.AddrPortFrom(sc.street.mal.addr, port))
		}
		return nil
	}
	w.gained = func(sc *scene) (bool, error) { return false, settled(sc) }
	_, err := u.twin(ctx, site, &Row{Tender: s.Tender, Steps: []string{"{frames}", "send {lawful}", "hold"}, Witness: w}, func(sc *scene) {
		for _, port := range doors {
			reached[port] = sc.street.delivered(func(b []byte) bool {
				return len(b) >= 38 && b[12] == 8 && b[13] == 0 && b[23] == protoTCP && bytes.Equal(b[26:30], s.Topology.Gateway.AsSlice()) && uint16(b[36])<<8|uint16(b[37]) == port
			}) > 0
		}
	})
	for _, port := range doors {
		twin := s.Self
		a, failed := firewall.Reach(s.Topology, firewall.Question{From: firewall.Peer{Addr: s.Topology.Gateway}, To: firewall.Peer{Endpoint: &twin}, Protocol: cf.TCP, Port: port})
		f := Finding{Name: fmt.Sprintf("from the cell, tcp %d", port), Class: Reach, Goal: "to be reached there", Predicted: Stopped, Rule: a.Rule}
		// No route leads to a twin: of the cell's ways, only the check of its health does.
		if a.Allowed && slices.Contains(s.Self.Ports, port) {
			f.Predicted = Gained
			f.Rule = strings.Replace(f.Rule, "route ", "declared port; route ", 1)
		}
		f.settle(reached[port], errors.Join(err, failed))
		tell(f)
	}
	return ctx.Err()
}

// knock begins a connection from the cell, and waits for no answer.
func knock(ctx context.Context, site *Site, to netip.AddrPort) {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if c, err := site.Network.DialTCP(ctx, to); err == nil {
		c.Close()
	}
}
