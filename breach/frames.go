package breach

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/dewpaas/dew/cf"
)

// onWire is an attack by frames, in the same way behind both kinds of tender,
// and in a container that may open a packet socket.
func onWire(name string, class Class, goal string, g Guard, w Witness) Attack {
	steps := []string{"{frames}", "send {lawful}", "hold"} // a machine that ends takes with it what is in its rings
	row := Row{Guard: g, Steps: steps, Witness: w, Baseline: append([]string{"card eth0"}, steps...)}
	process, metal := row, row
	process.Tender, metal.Tender = Process, QEMU
	return Attack{Name: name, Class: class, Goal: goal, Rows: []Row{process, metal}}
}

// stray is an attack whose frames must arrive nowhere.
func stray(name, goal string, off paving, frames func(t *street, token string) []string) Attack {
	return onWire(name, Wire, goal, lock(off), strayed(onStreet(nil, nil), making(frames)))
}

func wireAttacks() []Attack {
	return slices.Concat(linkFrames(), internetFrames(), lyingHeaders(), floods())
}

// linkFrames are unlawful below IP.
func linkFrames() []Attack {
	// kind is a frame to ann of an EtherType of its own.
	kind := func(header []byte, kind uint16) func(*street, string) []string {
		return func(t *street, token string) []string {
			return []string{t.wire(ether(t.ann.mac, t.mal.mac, kind, append(append([]byte{}, header...), token...)))}
		}
	}
	inner := func(t *street, token string) packet { return udp(t.mal.at(1000), t.bob.at(openPort), []byte(token)) }
	return []Attack{
		stray("spoof-mac", "a frame arrives with a neighbour's MAC as its sender", routed, func(t *street, token string) []string {
			return []string{t.wire(ether(t.gatewayMAC(), t.ann.mac, etherIPv4, inner(t, token).bytes()))}
		}),
		stray("spoof-gateway-mac", "a frame arrives with the gateway's MAC as its sender", hub, func(t *street, token string) []string {
			return []string{t.wire(ether(t.bob.mac, t.gatewayMAC(), etherIPv4, inner(t, token).bytes()))}
		}),
		stray("neighbour-mac", "a frame arrives at a neighbour's MAC, past the gateway", hub, func(t *street, token string) []string {
			return []string{t.wire(ether(t.ann.mac, t.mal.mac, etherIPv4, udp(t.mal.at(1000), t.ann.at(openPort), []byte(token)).bytes()))}
		}),
		stray("broadcast", "a frame arrives at everybody", hub, func(t *street, token string) []string {
			return []string{t.wire(ether(broadcast(), t.mal.mac, etherIPv4, inner(t, token).bytes()))}
		}),
		stray("multicast-frame", "a frame arrives at a group", hub, func(t *street, token string) []string {
			return []string{t.wire(ether(mac{1, 0, 0x5e, 0, 0, 0xfb}, t.mal.mac, etherIPv4, udp(t.mal.at(5353), netip.AddrPortFrom(netip.AddrFrom4([4]byte{224, 0, 0, 251}), 5353), []byte(token)).bytes()))}
		}),
		stray("vlan", "a frame arrives on another VLAN", hub, kind([]byte{0, 7, 0x88, 0xb5}, 0x8100)),
		stray("double-vlan", "a frame arrives behind two VLAN tags", hub, kind([]byte{0, 7, 0x81, 0, 0, 7, 0x88, 0xb5}, 0x88a8)),
		stray("priority-tag", "a frame arrives behind a tag that changes nothing but its priority", routed, func(t *street, token string) []string {
			return []string{t.wire(ether(t.gatewayMAC(), t.mal.mac, 0x8100, append([]byte{0, 0, 8, 0}, inner(t, token).bytes()...)))}
		}),
		stray("foreign-protocol", "a frame arrives of a protocol that nobody serves", hub, kind(nil, etherTest)),
		stray("ipv6", "an IPv6 packet arrives", hub, func(t *street, token string) []string {
			return []string{t.wire(ether(t.ann.mac, t.mal.mac, etherIPv6, ip6(netip.MustParseAddr("ff02::1"), protoUDP, append([]byte{0, 1, 0, 1, 0, 60, 0, 0}, token...))))}
		}),
		stray("poison-nd", "a neighbour is told by IPv6 discovery that the router is the attacker", hub, func(t *street, token string) []string {
			router := netip.MustParseAddr("fe80::1")
			advert := append([]byte{136, 0, 0, 0, 0x60, 0, 0, 0}, router.AsSlice()...)
			advert = append(append(advert, 2, 1), t.mal.mac[:]...)
			return []string{t.wire(ether(t.ann.mac, t.mal.mac, etherIPv6, ip6(netip.MustParseAddr("ff02::1"), protoICMPv6, append(advert, token...))))}
		}),
		stray("router-advert", "everybody is told by IPv6 that the attacker is a router", hub, func(t *street, token string) []string {
			return []string{t.wire(ether(mac{0x33, 0x33, 0, 0, 0, 1}, t.mal.mac, etherIPv6,
				ip6(netip.MustParseAddr("ff02::1"), protoICMPv6, append([]byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}, token...))))}
		}),
		stray("poison-arp", "a neighbour is told by ARP that the gateway is the attacker", hub, func(t *street, token string) []string {
			return []string{t.wire(ether(t.ann.mac, t.mal.mac, etherARP, arp(2, t.mal.mac, t.gateway, t.ann.mac, t.ann.addr, token)))}
		}),
		stray("gratuitous-arp", "everybody is told by ARP that a neighbour's address is the attacker's", hub, func(t *street, token string) []string {
			return []string{t.wire(ether(broadcast(), t.mal.mac, etherARP, arp(1, t.mal.mac, t.ann.addr, mac{}, t.ann.addr, token)))}
		}),
		stray("scan-arp", "a question for a neighbour arrives", hub, func(t *street, token string) []string {
			return []string{t.wire(ether(broadcast(), t.mal.mac, etherARP, arp(1, t.mal.mac, t.mal.addr, mac{}, t.ann.addr, token)))}
		}),
		onWire("poison-host", Wire, "the host believes that a neighbour's address is the attacker's", lock(hub), misled()),
		stray("rogue-dhcp", "a neighbour gets an offer of DHCP", hub, func(t *street, token string) []string {
			offer := udp(netip.AddrPortFrom(t.gateway, 67), netip.AddrPortFrom(t.ann.addr, 68), append([]byte{2, 1, 6, 0}, token...))
			return []string{t.wire(ether(t.ann.mac, t.mal.mac, etherIPv4, offer.bytes()))}
		}),
		stray("ask-dhcp", "a question for DHCP arrives at everybody", hub, func(t *street, token string) []string {
			ask := udp(netip.AddrPortFrom(netip.IPv4Unspecified(), 68), netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), 67), append([]byte{1, 1, 6, 0}, token...))
			return []string{t.wire(ether(broadcast(), t.mal.mac, etherIPv4, ask.bytes()))}
		}),
		onWire("eavesdrop", Wire, "what two neighbours say to each other", wires(), overheard()),
	}
}

// internetFrames are unlawful as IP.
func internetFrames() []Attack {
	// from is a datagram to bob's open port that says it is somebody else's.
	from := func(sender func(*street) netip.Addr, direct bool) func(*street, string) []string {
		return func(t *street, token string) []string {
			p := udp(netip.AddrPortFrom(sender(t), 1000), t.bob.at(openPort), []byte(token))
			if direct {
				return []string{t.wire(ether(t.bob.mac, t.mal.mac, etherIPv4, p.bytes()))}
			}
			return []string{t.ip(p)}
		}
	}
	addr := func(a ...byte) func(*street) netip.Addr {
		return func(*street) netip.Addr { return netip.AddrFrom4([4]byte(a)) }
	}
	// changed is a datagram to bob with another header.
	changed := func(direct bool, change func(*packet)) func(*street, string) []string {
		return func(t *street, token string) []string {
			p := udp(t.mal.at(1000), t.bob.at(openPort), []byte(token))
			change(&p)
			to := t.gatewayMAC()
			if direct {
				to = t.bob.mac
			}
			return []string{t.wire(ether(to, t.mal.mac, etherIPv4, p.bytes()))}
		}
	}
	header := func(f func([]byte)) func(*packet) { return func(p *packet) { p.change = f } }
	return []Attack{
		stray("spoof-neighbour", "a packet arrives with a neighbour's address as its sender", routed, from(func(t *street) netip.Addr { return t.ann.addr }, false)),
		stray("spoof-outsider", "a packet arrives with an address of the Internet as its sender", routed, from(addr(8, 8, 8, 8), false)),
		stray("spoof-gateway", "a packet arrives with the gateway's address as its sender", hub, from(func(t *street) netip.Addr { return t.gateway }, true)),
		stray("spoof-loopback", "a packet arrives with a loopback address as its sender", hub, from(addr(127, 0, 0, 1), true)),
		stray("spoof-nobody", "a packet arrives with no address as its sender", hub, from(addr(0, 0, 0, 0), true)),
		stray("reflect", "a server outside answers a neighbour who has not asked", routed, func(t *street, token string) []string {
			open, _, _, _ := outside()
			return []string{t.ip(tcp(t.ann.at(1000), netip.AddrPortFrom(open, 443), flagSYN, []byte(token)))}
		}),
		stray("source-route", "a packet takes a way of the attacker's choice", routed, func(t *street, token string) []string {
			p := udp(t.mal.at(1000), t.ann.at(openPort), []byte(token))
			p.to = t.gateway
			p.options = append([]byte{131, 7, 4}, t.ann.addr.AsSlice()...)
			p.options = append(p.options, 0)
			return []string{t.ip(p)}
		}),
		stray("record-route", "a packet arrives with options", routed, changed(false, func(p *packet) { p.options = []byte{7, 7, 4, 0, 0, 0, 0, 0} })),
		stray("fragment", "the beginning of a packet arrives without its end", routed, changed(false, func(p *packet) { p.fragment = 0x2000 })),
		stray("late-fragment", "the end of a packet arrives without its beginning, and so without ports", routed, changed(false, func(p *packet) { p.fragment = 8 })),
		stray("overlap", "fragments arrive that overlap, so that two readers understand two things", routed, func(t *street, token string) []string {
			p := udp(t.mal.at(1000), t.bob.at(openPort), append(make([]byte, 24), token...))
			first, second := p, p
			first.fragment, first.payload = 0x2000, p.payload[:32]
			second.fragment, second.payload = 1, p.payload[8:]
			return []string{t.ip(first), t.ip(second)}
		}),
		stray("tiny-fragment", "a header arrives in two pieces, the port in the second", routed, func(t *street, token string) []string {
			p := tcp(t.mal.at(1000), t.ann.at(openPort), flagSYN, []byte(token))
			first, second := p, p
			first.fragment, first.payload = 0x2000, p.payload[:8]
			second.fragment, second.payload = 1, p.payload[8:]
			return []string{t.ip(first), t.ip(second)}
		}),
		stray("oversize", "a datagram arrives that is longer than the wire's packets may be", routed, func(t *street, token string) []string {
			return []string{t.ip(udp(t.mal.at(1000), t.bob.at(openPort), append([]byte(token), make([]byte, 1500)...)))}
		}),
		stray("false-length", "a packet arrives that says it is longer than it is", hub, changed(true, header(func(b []byte) { b[2] = 9 }))),
		stray("short-header", "a packet arrives whose header is shorter than any", hub, changed(true, header(func(b []byte) { b[0] = 0x42 }))),
		stray("false-version", "a packet of version 6 arrives as one of version 4", hub, changed(true, header(func(b []byte) { b[0] = 0x65 }))),
		stray("false-checksum", "a packet arrives with a wrong checksum in its header", hub, func(t *street, token string) []string {
			p := udp(t.mal.at(1000), t.bob.at(openPort), []byte(token)).bytes()
			p[10] ^= 0xff
			return []string{t.wire(ether(t.bob.mac, t.mal.mac, etherIPv4, p))}
		}),
		stray("multicast", "a datagram arrives at a group", hub, func(t *street, token string) []string {
			to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 1, 2, 3}), openPort)
			return []string{t.wire(ether(t.bob.mac, t.mal.mac, etherIPv4, udp(t.mal.at(1000), to, []byte(token)).bytes()))}
		}),
		stray("join-group", "a neighbour is told of a membership in a group", hub, func(t *street, token string) []string {
			group := netip.AddrFrom4([4]byte{239, 1, 2, 3})
			p := packet{from: t.mal.addr, to: group, protocol: protoIGMP, payload: append([]byte{0x16, 0, 0, 0}, append(group.AsSlice(), token...)...)}
			return []string{t.wire(ether(mac{1, 0, 0x5e, 1, 2, 3}, t.mal.mac, etherIPv4, p.bytes()))}
		}),
		stray("subnet-broadcast", "a datagram arrives at all instances", hub, func(t *street, token string) []string {
			to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 254, 255, 255}), openPort)
			return []string{t.wire(ether(broadcast(), t.mal.mac, etherIPv4, udp(t.mal.at(1000), to, []byte(token)).bytes()))}
		}),
	}
}

// lyingHeaders tell lies in the virtio header.
func lyingHeaders() []Attack {
	return []Attack{
		onWire("false-sum", Wire, "the port of a packet is changed after the firewall has looked at it", offloads(), Witness{
			arrange: []func(*scene) error{onStreet(nil, nil), making(func(t *street, token string) []string {
				return []string{wired(virtio{flags: 1, start: 34, offset: 2}, ether(t.gatewayMAC(), t.mal.mac, etherIPv4,
					udp(t.mal.at(1000), t.bob.at(openPort), []byte(token)).bytes()))}
			})},
			gained: func(s *scene) (bool, error) {
				if err := settled(s); err != nil {
					return false, err
				}
				return s.street.bob.count(func(b []byte) bool {
					return len(b) > 42 && b[23] == protoUDP && binary.BigEndian.Uint16(b[36:]) != openPort
				}) > 0, nil
			}}),
		onWire("multiply", Wire, "one frame becomes a thousand", offloads(), swamped(func(t *street) *party { return &t.bob }, 500,
			onStreet(nil, nil), making(func(t *street, token string) []string {
				p := tcp(t.mal.at(1000), t.bob.at(openPort), flagSYN, make([]byte, 1000))
				return []string{wired(virtio{flags: 1, gso: 1, length: 54, size: 1, start: 34, offset: 16}, ether(t.gatewayMAC(), t.mal.mac, etherIPv4, p.bytes()))}
			}))),
	}
}

// floods send more than the vNIC's share.
func floods() []Attack {
	const sent = 4000
	slow := func(t *cf.Topology) {
		for i := range t.Endpoints {
			t.Endpoints[i].Rates = cf.Rates{Packets: 100, PacketBurst: 50, Bytes: 1 << 20, ByteBurst: 1 << 16, Connections: 20, ConnectionBurst: 20}
		}
	}
	slowToConnect := func(t *cf.Topology) {
		for i := range t.Endpoints {
			t.Endpoints[i].Rates = cf.Rates{Connections: 20, ConnectionBurst: 20}
		}
	}
	flood := func(name, goal string, at func(*street) *party, share func(*cf.Topology), step string, frame func(*street) string) Attack {
		w := swamped(at, sent/2, onStreet(share, nil), func(s *scene) error { s.set("frame", frame(s.street)); return nil })
		row := Row{Guard: rates(), Steps: []string{step, "hold"}, Witness: w, Baseline: []string{"card eth0", step, "hold"}}
		process, metal := row, row
		process.Tender, metal.Tender = Process, QEMU
		return Attack{Name: name, Class: Wire, Goal: goal, Rows: []Row{process, metal}}
	}
	bob := func(t *street) *party { return &t.bob }
	return []Attack{
		flood("flood-udp", "a neighbour gets datagrams as fast as the attacker can send", bob, slow, "send {frame} 4000",
			func(t *street) string { return t.ip(udp(t.mal.at(1000), t.bob.at(openPort), make([]byte, 64))) }),
		flood("flood-syn", "a neighbour gets beginnings of connections as fast as the attacker can send", bob, slowToConnect, "syns {frame} 4000",
			func(t *street) string { return t.ip(tcp(t.mal.at(1000), t.bob.at(openPort), flagSYN, nil)) }),
		flood("flood-icmp", "a host outside gets pings as fast as the attacker can send", func(t *street) *party { return &t.out }, slow, "send {frame} 4000",
			func(t *street) string {
				open, _, _, _ := outside()
				return t.ip(icmp(t.mal.addr, open, 8, make([]byte, 64)))
			}),
	}
}
