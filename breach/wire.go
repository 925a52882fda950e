package breach

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/cf"
)

// How attacks by frames are arranged and seen.

// onStreet lays the street of the scene. change may alter its topology; without
// its guard, off does.
func onStreet(change, off func(*cf.Topology)) func(*scene) error {
	return func(s *scene) (err error) {
		f := change
		if s.off && off != nil {
			f = off
		}
		if s.baseline != nil {
			s.paving = bridged
		}
		if s.site != nil && s.baseline == nil {
			s.street, err = s.site.street(s.suite.ctx)
		} else {
			s.street, err = newStreet(s.paving, f)
		}
		if err != nil {
			return fmt.Errorf("lay a street: %w", err)
		}
		s.later(s.street.close)
		return nil
	}
}

// making are the frames of an attack, and behind them one that is lawful: when
// it has arrived, all before it are where they go, and the network works.
func making(f func(t *street, token string) []string) func(*scene) error {
	return func(s *scene) error {
		s.frames = f(s.street, s.token)
		s.set("lawful", s.street.wire(s.street.lawful(lawfulText(s))))
		return nil
	}
}

// lawfulText is in no other frame.
func lawfulText(s *scene) string { return "lawful-" + s.name }

// lawful is a datagram from mal to bob's open port.
func (t *street) lawful(text string) []byte {
	return ether(t.gatewayMAC(), t.mal.mac, etherIPv4, udp(t.mal.at(1000), t.bob.at(openPort), []byte(text)).bytes())
}

func (t *street) gatewayMAC() mac { return t.topology.GatewayMAC }

// wire is a frame behind a header that says nothing.
func (t *street) wire(frame []byte) string { return wired(virtio{}, frame) }

// ip is a packet from mal to the gateway.
func (t *street) ip(p packet) string {
	return t.wire(ether(t.gatewayMAC(), t.mal.mac, etherIPv4, p.bytes()))
}

// settled waits for the lawful frame. A container that may send no frames has
// said so.
func settled(s *scene) error {
	for end := time.Now().Add(10 * time.Second); !s.street.bob.has(lawfulText(s)); time.Sleep(2 * time.Millisecond) {
		if s.baseline != nil && (s.said.has("card: call") || !slices.Contains(s.script(), "send {lawful}")) {
			if !s.final {
				time.Sleep(100 * time.Millisecond) // what was said by a socket is on its way
			}
			s.final = true
			return nil
		}
		if time.Now().After(end) {
			return errors.New("the lawful frame behind the attack did not arrive: the network does not work")
		}
	}
	if !s.final && !s.off {
		time.Sleep(100 * time.Millisecond) // other parties' readers may be behind bob's
		s.final = true
	}
	return nil
}

// strayed: a frame with the token has arrived anywhere: at a party, outside, or
// at a server of the host.
func strayed(arrange ...func(*scene) error) Witness {
	return Witness{arrange: arrange, gained: func(s *scene) (bool, error) {
		if err := settled(s); err != nil {
			return false, err
		}
		t := s.street
		return slices.ContainsFunc([]*house{t.ann.house, t.bob.house, t.out.house, t.host}, func(h *house) bool { return h.has(s.token) }), nil
	}}
}

// swamped: a party's wire has been offered more than so many frames, by the
// kernel's count: also those that its reader was too slow for.
func swamped(p func(*street) *party, frames uint64, arrange ...func(*scene) error) Witness {
	return Witness{arrange: arrange, gained: func(s *scene) (bool, error) {
		n, err := s.street.offered(p(s.street))
		return n > frames, err
	}}
}

func (t *street) offered(p *party) (n uint64, err error) {
	err = t.net.Within(func() error {
		link, err := netlink.LinkByName(p.name)
		if err == nil {
			n = link.Attrs().Statistics.TxPackets + link.Attrs().Statistics.TxDropped
		}
		return err
	})
	return n, err
}

// answered: something that f knows was delivered to the attacker's card.
func answered(f func(s *scene, frame []byte) bool, arrange ...func(*scene) error) Witness {
	return Witness{arrange: arrange, gained: func(s *scene) (bool, error) {
		if err := settled(s); err != nil {
			return false, err
		}
		return s.street.delivered(func(b []byte) bool { return f(s, b) }) > 0, nil
	}}
}

// openDoor knows the answer of a server to a SYN: SYN and ACK.
func openDoor(_ *scene, b []byte) bool {
	return len(b) >= 54 && b[12] == 8 && b[13] == 0 && b[14+9] == protoTCP && b[47]&(flagSYN|flagACK) == flagSYN|flagACK
}

// Guards of the wire, and the street without them.

func lock(off paving) Guard {
	return Guard{Name: "vNIC lock", What: "frames must be the guest's own, IPv4 or ARP for the gateway, in one piece and to the gateway (firewall)",
		off: func(s *scene) { s.paving = off }}
}

func wires() Guard {
	return Guard{Name: "a wire for each", What: "every vNIC is a point-to-point wire to the host, which routes (vnet)", off: func(s *scene) { s.paving = hub }}
}

func policy() Guard {
	return Guard{Name: "topology", What: "what no route, policy or security group allows is denied, both ways (firewall)", off: func(s *scene) { s.paving = routed }}
}

func offloads() Guard {
	return Guard{Name: "offload guard", What: "virtio headers that lie are refused (vnet/offload)", off: func(s *scene) { s.paving = routed }}
}

func rates() Guard {
	return Guard{Name: "rates", What: "a vNIC has a bucket for packets, bytes and new connections (firewall)", off: func(s *scene) { s.paving = routed }}
}

// at is a port of a party.
func (p *party) at(port uint16) netip.AddrPort { return netip.AddrPortFrom(p.addr, port) }

// misled: the host has the attacker's MAC for ann's address.
func misled() Witness {
	return Witness{
		arrange: []func(*scene) error{onStreet(nil, nil), making(func(t *street, token string) []string {
			return []string{t.wire(ether(t.gatewayMAC(), t.mal.mac, etherARP, arp(2, t.mal.mac, t.ann.addr, t.gatewayMAC(), t.gateway, token)))}
		})},
		gained: func(s *scene) (bool, error) {
			if err := settled(s); err != nil {
				return false, err
			}
			return s.street.believes(s.street.ann.addr, s.street.mal.mac)
		}}
}

// believes tells whether the host has such a neighbour.
func (t *street) believes(a netip.Addr, m mac) (found bool, err error) {
	err = t.net.Within(func() error {
		list, err := netlink.NeighList(0, unix.AF_INET)
		for _, n := range list {
			if got, ok := netip.AddrFromSlice(n.IP); ok && got.Unmap() == a && bytes.Equal(n.HardwareAddr, m[:]) {
				found = true
			}
		}
		return err
	})
	return found, err
}

// overheard: what ann and bob say to each other is delivered to the attacker.
func overheard() Witness {
	friends := func(t *cf.Topology) {
		t.Policies = append(t.Policies, cf.NetworkPolicy{SourceGUID: "ann", DestinationGUID: "bob", Protocol: "udp", StartPort: openPort, EndPort: openPort})
	}
	w := answered(func(s *scene, b []byte) bool { return bytes.Contains(b, []byte(s.token)) },
		onStreet(friends, nil), making(func(*street, string) []string { return nil }))
	w.after = func(s *scene) error {
		for end := time.Now().Add(5 * time.Second); !s.street.bob.has(s.token); time.Sleep(2 * time.Millisecond) {
			if time.Now().After(end) {
				return errors.New("bob has not heard ann")
			}
		}
		return nil
	}
	w.begun = func(s *scene) error {
		// Each speaks first, so that a bridge that learns has learnt.
		t := s.street
		for range 3 {
			for _, pair := range [][2]*party{{&t.bob, &t.ann}, {&t.ann, &t.bob}} {
				if err := t.speak(pair[0], pair[1], "hello"); err != nil {
					return err
				}
			}
		}
		for range 20 {
			if err := t.speak(&t.ann, &t.bob, s.token); err != nil {
				return err
			}
		}
		return nil
	}
	return w
}

// speak sends a datagram from one of the suite's parties to another, as its
// guest would.
func (t *street) speak(from, to *party, text string) error {
	target := t.gatewayMAC()
	if t.paving == hub || t.paving == bridged {
		target = to.mac
	}
	frame := ether(target, from.mac, etherIPv4, udp(from.at(2000), to.at(openPort), []byte(text)).bytes())
	_, err := from.tap.Write(append(virtio{}.bytes(), frame...))
	return err
}
