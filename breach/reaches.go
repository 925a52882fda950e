package breach

import (
	"bytes"
	"net/netip"

	"github.com/dewpaas/dew/cf"
)

// reach is an attack by packets that are lawful in themselves, to where nothing
// allows. A container needs no packet socket for a datagram: it says the token
// to the address by an ordinary one, where say tells which.
func reach(name, goal string, change func(*cf.Topology), w func(...func(*scene) error) Witness, say func(*street) netip.AddrPort, frames func(t *street, token string) []string) Attack {
	arrange := []func(*scene) error{onStreet(change, change), making(frames)}
	if say != nil {
		arrange = append(arrange, func(s *scene) error {
			to := say(s.street)
			s.set("addr", to.Addr().String())
			s.setNumber("port", int(to.Port()))
			return nil
		})
	}
	a := onWire(name, Reach, goal, policy(), w(arrange...))
	if say != nil {
		a.Rows[0].Baseline = []string{"say-udp {addr} {port} {token}", "hold"}
	}
	return a
}

// everywhere is a security group that opens all addresses, as many foundations
// have it: it does not name the platform's own.
func everywhere(t *cf.Topology) {
	g := cf.SecurityGroup{Name: "everywhere", Running: true, Rules: []cf.Rule{{Protocol: "all", Destination: "0.0.0.0/0"}}}
	g.GUID = "everywhere"
	t.Groups = append(t.Groups, g)
}

// hosts and ports that mal's app must not reach, and what must not reach it.
func reaches() []Attack {
	open, closed, protected, metadata := outside()
	// datagram says the token to an address.
	datagram := func(name, goal string, change func(*cf.Topology), to func(*street) netip.AddrPort) Attack {
		return reach(name, goal, change, strayed, to, func(t *street, token string) []string {
			return []string{t.ip(udp(t.mal.at(1000), to(t), []byte(token)))}
		})
	}
	at := func(a netip.Addr, port uint16) func(*street) netip.AddrPort {
		return func(*street) netip.AddrPort { return netip.AddrPortFrom(a, port) }
	}
	segment := func(name, goal string, change func(*cf.Topology), flags byte, to func(*street) netip.AddrPort) Attack {
		return reach(name, goal, change, strayed, nil, func(t *street, token string) []string {
			return []string{t.ip(tcp(t.mal.at(1000), to(t), flags, []byte(token)))}
		})
	}
	tunnel := func(name, goal string, protocol byte) Attack {
		return reach(name, goal, nil, strayed, nil, func(t *street, token string) []string {
			return []string{t.ip(packet{from: t.mal.addr, to: t.bob.addr, protocol: protocol, payload: append(make([]byte, 24), token...)})}
		})
	}
	ann := func(t *street) netip.AddrPort { return t.ann.at(openPort) }
	return []Attack{
		datagram("reach-neighbour", "a word with an app that no policy opens", nil, ann),
		datagram("reach-closed-port", "a word with a port that the policy does not name", nil, func(t *street) netip.AddrPort { return t.bob.at(closedPort) }),
		segment("connect-neighbour", "the beginning of a connection to an app that no policy opens", nil, flagSYN, ann),
		segment("answer-unasked", "the middle of a connection that was never begun", nil, flagACK, ann),
		segment("all-flags", "a segment with every flag, to see who answers", nil, 0x3f, ann),
		reach("ping-neighbour", "an answer to whether a neighbour is there", nil, strayed, nil, func(t *street, token string) []string {
			return []string{t.ip(icmp(t.mal.addr, t.ann.addr, 8, []byte(token)))}
		}),
		datagram("reach-host", "a word with a server of the host, at the gateway", everywhere, func(t *street) netip.AddrPort { return netip.AddrPortFrom(t.gateway, busPort) }),
		datagram("reach-host-address", "a word with a server of the host, at another of its addresses", everywhere, at(hostAddr(), busPort)),
		reach("scan-host", "to know which port of the host is open", everywhere, func(a ...func(*scene) error) Witness { return answered(openDoor, a...) }, nil, func(t *street, token string) []string {
			return []string{t.ip(tcp(t.mal.at(1000), netip.AddrPortFrom(t.gateway, apiPort), flagSYN, nil))}
		}),
		datagram("reach-metadata", "a word with a cloud's metadata service", everywhere, at(metadata, 80)),
		datagram("reach-platform", "a word with another host of the platform", everywhere, at(protected, busPort)),
		datagram("reach-outside", "a word with a network that no security group opens", nil, at(closed, 25)),
		segment("connect-outside-port", "a connection to a port that the security group does not name", nil, flagSYN, at(open, 22)),
		tunnel("tunnel-ipip", "a packet within a packet", protoIPIP),
		tunnel("tunnel-gre", "a packet within a tunnel", protoGRE),
		heardFrom("receive-neighbour", "what a neighbour says to it that no policy opens it to", func(t *street) *party { return &t.ann }),
		heardFrom("receive-outsider", "what a host outside says to it that it has not asked", func(t *street) *party { return &t.out }),
	}
}

// heardFrom is an attack by two: somebody speaks to the attacker.
func heardFrom(name, goal string, who func(*street) *party) Attack {
	w := answered(func(s *scene, b []byte) bool { return bytes.Contains(b, []byte(s.token)) },
		onStreet(nil, nil), making(func(*street, string) []string { return nil }))
	w.begun = func(s *scene) error {
		t := s.street
		p := *who(t)
		if p.name == t.out.name {
			p.addr, _, _, _ = outside()
			frame := ether(p.mac, mac{2, 1, 2, 3, 4, 5}, etherIPv4, udp(p.at(2000), t.mal.at(openPort), []byte(s.token)).bytes())
			_, err := p.tap.Write(append(virtio{}.bytes(), frame...))
			return err
		}
		return t.speak(&p, &t.mal, s.token)
	}
	return onWire(name, Reach, goal, policy(), w)
}
