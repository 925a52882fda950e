package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/vnet"
)

// pairTopology has two apps, ann and bob, where ann may reach bob on tcp and udp
// 8080.
func pairTopology() cf.Topology {
	return cf.Topology{
		Endpoints: []cf.Endpoint{endpoint(2, "ann"), endpoint(3, "bob")},
		Policies: []cf.NetworkPolicy{{SourceGUID: "ann", DestinationGUID: "bob", Protocol: "tcp", StartPort: 8080, EndPort: 8080},
			{SourceGUID: "ann", DestinationGUID: "bob", Protocol: "udp", StartPort: 8080, EndPort: 8080}},
		Gateway: vnet.Gateway, GatewayMAC: vnet.GatewayMAC,
		Resolvers: []netip.AddrPort{netip.AddrPortFrom(vnet.Gateway, 53)},
		Guests:    []netip.Prefix{netip.MustParsePrefix("10.254.0.0/16")},
	}
}

// endpoint is an instance on this cell, of an app in a space of its own.
func endpoint(i int, app string) cf.Endpoint {
	return cf.Endpoint{GUID: fmt.Sprintf("%s-%d", app, i), AppGUID: app, AppName: app, SpaceGUID: "space-" + app, ProcessType: "web", Stage: cf.Running,
		Addr: netip.AddrFrom4([4]byte{10, 254, byte(i >> 8), byte(i)}), VNIC: fmt.Sprintf("dew%d", i), MAC: [6]byte{2, 0xde, 0x77, 1, byte(i >> 8), byte(i)},
		MTU: 1500, Ports: []uint16{8080}}
}

var (
	annAddr, bobAddr = netip.MustParseAddr("10.254.0.2"), netip.MustParseAddr("10.254.0.3")
	annMAC, bobMAC   = [6]byte{2, 0xde, 0x77, 1, 0, 2}, [6]byte{2, 0xde, 0x77, 1, 0, 3}
	gw               = vnet.GatewayMAC
)

// good is a packet that may pass.
func good() []byte { return udpDatagram(annAddr, bobAddr, 1000, 8080, []byte("hello")) }

// altered applies f to a packet and makes its checksum right again.
func altered(p []byte, f func([]byte)) []byte {
	f(p)
	return seal(p)
}

// unlawful are frames that must die at the lock. reaches tells where the frame
// would go without it: to bob, or nowhere, because the kernel has no use for it.
func unlawful() []struct {
	name    string
	frame   []byte
	reason  Reason
	reaches bool
} {
	options := append(append([]byte{0x46}, good()[1:20]...), append([]byte{131, 3, 4, 0}, good()[20:]...)...) // loose source route
	binary.BigEndian.PutUint16(options[2:], uint16(len(options)))
	record := append(append([]byte{0x47}, good()[1:20]...), append([]byte{7, 7, 4, 0, 0, 0, 0, 0}, good()[20:]...)...)
	binary.BigEndian.PutUint16(record[2:], uint16(len(record)))
	tagged := append(append(append([]byte(nil), gw[:]...), annMAC[:]...), 0x81, 0, 0, 7, 8, 0)
	double := append(append(append([]byte(nil), gw[:]...), annMAC[:]...), 0x88, 0xa8, 0, 7, 0x81, 0, 0, 7, 8, 0)
	return []struct {
		name    string
		frame   []byte
		reason  Reason
		reaches bool
	}{
		{"MAC of another guest", ether(gw, bobMAC, 0x800, good()), ReasonSource, true},
		{"MAC of nobody", ether(gw, [6]byte{2, 9, 9, 9, 9, 9}, 0x800, good()), ReasonSource, true},
		{"address of another guest", ether(gw, annMAC, 0x800, udpDatagram(bobAddr, bobAddr, 1, 8080, nil)), ReasonSource, false},
		{"address of the gateway", ether(gw, annMAC, 0x800, udpDatagram(vnet.Gateway, bobAddr, 1, 8080, nil)), ReasonSource, false},
		{"address of nobody", ether(gw, annMAC, 0x800, udpDatagram(netip.MustParseAddr("8.8.8.8"), bobAddr, 1, 8080, nil)), ReasonSource, false},
		{"address of loopback", ether(gw, annMAC, 0x800, udpDatagram(netip.MustParseAddr("127.0.0.1"), bobAddr, 1, 8080, nil)), ReasonSource, false},
		{"frame to another guest's MAC", ether(bobMAC, annMAC, 0x800, good()), ReasonDestination, false},
		{"broadcast frame", ether([6]byte{255, 255, 255, 255, 255, 255}, annMAC, 0x800, good()), ReasonDestination, false},
		{"multicast frame", ether([6]byte{1, 0, 0x5e, 0, 0, 1}, annMAC, 0x800, good()), ReasonDestination, false},
		{"IPv6", ether(gw, annMAC, 0x86dd, make([]byte, 60)), ReasonProtocol, false},
		{"VLAN tag", append(tagged, good()...), ReasonProtocol, false},
		{"priority tag", append(append(append([]byte(nil), gw[:]...), append(annMAC[:], 0x81, 0, 0, 0, 8, 0)...), good()...), ReasonProtocol, true},
		{"two VLAN tags", append(double, good()...), ReasonProtocol, false},
		{"LLDP", ether(gw, annMAC, 0x88cc, make([]byte, 60)), ReasonProtocol, false},
		{"spanning tree", ether([6]byte{1, 0x80, 0xc2, 0, 0, 0}, annMAC, 0x0026, make([]byte, 60)), ReasonProtocol, false},
		{"loose source route", ether(gw, annMAC, 0x800, seal(options)), ReasonHeader, false},
		{"record route", ether(gw, annMAC, 0x800, seal(record)), ReasonHeader, true},
		{"IP version 6 in an IPv4 frame", ether(gw, annMAC, 0x800, altered(good(), func(p []byte) { p[0] = 0x65 })), ReasonHeader, false},
		{"header shorter than 20 bytes", ether(gw, annMAC, 0x800, altered(good(), func(p []byte) { p[0] = 0x44 })), ReasonHeader, false},
		{"first fragment", ether(gw, annMAC, 0x800, altered(good(), func(p []byte) { p[6] = 0x20 })), ReasonFragment, true},
		{"later fragment", ether(gw, annMAC, 0x800, altered(good(), func(p []byte) { p[7] = 1 })), ReasonFragment, true},
		{"fragment that ends beyond 64 KiB", ether(gw, annMAC, 0x800, altered(good(), func(p []byte) { p[6], p[7] = 0x1f, 0xff })), ReasonFragment, true},
		{"reserved flag", ether(gw, annMAC, 0x800, altered(good(), func(p []byte) { p[6] = 0x80 })), ReasonFragment, true},
		{"multicast", ether(gw, annMAC, 0x800, udpDatagram(annAddr, netip.MustParseAddr("224.0.0.251"), 5353, 5353, nil)), ReasonMulticast, false},
		{"limited broadcast (DHCP)", ether(gw, annMAC, 0x800, udpDatagram(annAddr, netip.MustParseAddr("255.255.255.255"), 68, 67, nil)), ReasonMulticast, false},
		{"reserved address", ether(gw, annMAC, 0x800, udpDatagram(annAddr, netip.MustParseAddr("240.0.0.1"), 1, 1, nil)), ReasonMulticast, false},
		{"longer than it is", ether(gw, annMAC, 0x800, altered(good(), func(p []byte) { p[3] += 9 })), ReasonLength, false},
		{"shorter than its header", ether(gw, annMAC, 0x800, altered(good(), func(p []byte) { p[3] = 19 })), ReasonLength, false},
		{"longer than the MTU", ether(gw, annMAC, 0x800, udpDatagram(annAddr, bobAddr, 1, 8080, make([]byte, 1473))), ReasonLength, true},
		{"reserved protocol", ether(gw, annMAC, 0x800, ip4(annAddr, bobAddr, 255, make([]byte, 40))), ReasonLength, true},
		{"ARP answer for the gateway", ether(gw, annMAC, 0x806, arp(2, annMAC, vnet.Gateway, gw, annAddr)), ReasonARP, false},
		{"ARP question as another guest", ether(gw, annMAC, 0x806, arp(1, annMAC, bobAddr, [6]byte{}, vnet.Gateway)), ReasonARP, false},
		{"ARP question with another MAC", ether(gw, annMAC, 0x806, arp(1, bobMAC, annAddr, [6]byte{}, vnet.Gateway)), ReasonARP, false},
		{"ARP question for another guest", ether(gw, annMAC, 0x806, arp(1, annMAC, annAddr, [6]byte{}, bobAddr)), ReasonARP, false},
		{"gratuitous ARP", ether([6]byte{255, 255, 255, 255, 255, 255}, annMAC, 0x806, arp(1, annMAC, annAddr, [6]byte{}, annAddr)), ReasonARP, false},
		{"ARP for other hardware", ether(gw, annMAC, 0x806, append([]byte{0, 6}, arp(1, annMAC, annAddr, [6]byte{}, vnet.Gateway)[2:]...)), ReasonARP, false},
		{"ARP cut short", ether(gw, annMAC, 0x806, arp(1, annMAC, annAddr, [6]byte{}, vnet.Gateway)[:20]), ReasonARP, false},
		{"no IP header at all", ether(gw, annMAC, 0x800, []byte{0x45}), ReasonLength, false},
		{"IP header cut short", ether(gw, annMAC, 0x800, good()[:15]), ReasonLength, false},
	}
}

// TestUnlawfulFramesDieAtTheLock: each is counted under its reason, nobody gets
// it, and a lawful frame before and after passes. Frames that would reach
// somebody do so where there is no wall: the attack is real.
func TestUnlawfulFramesDieAtTheLock(t *testing.T) {
	for _, lock := range []Lock{LockWildcard, LockDevice} {
		t.Run(lock.String(), func(t *testing.T) { testUnlawful(t, lock) })
	}
	t.Run("without a wall", func(t *testing.T) {
		l := newLab(t, pairTopology(), false)
		for _, c := range unlawful() {
			if !c.reaches {
				continue
			}
			if err := l.taps["dew2"].frame(c.frame); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if len(l.taps["dew3"].drain()) == 0 {
				t.Errorf("%s: does not arrive without a wall either: it proves nothing", c.name)
			}
		}
	})
}

func testUnlawful(t *testing.T, lock Lock) {
	top := pairTopology()
	l := &lab{t: t, net: newNetwork(t), taps: map[string]*tap{}}
	l.openWall()
	if l.wall.kernel.Lock > lock {
		t.Skipf("needs a kernel with an %v; this one has: %v", lock, l.wall.kernel.Lock)
	}
	l.wall.kernel.Lock = lock
	for _, e := range top.Endpoints {
		l.plugLocked(e, top)
	}
	l.out = l.openUplink()
	ann, bob := l.taps["dew2"], l.taps["dew3"]
	for _, c := range unlawful() {
		before := l.drops("dew2", c.reason)
		if err := ann.frame(c.frame); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := append(bob.drain(), l.out.drain()...); len(got) > 0 {
			t.Errorf("%s: arrived: %x", c.name, got)
		}
		if after := l.drops("dew2", c.reason); after != before+1 {
			all, _ := l.wall.Drops()
			t.Errorf("%s: %d counted as %v, want one; all: %v", c.name, after-before, c.reason, all["dew2"])
		}
		ann.send(good())
		if got := bob.drain(); len(got) != 1 {
			t.Fatalf("%s: afterwards %d lawful frames arrived", c.name, len(got))
		}
	}
	if all, _ := l.wall.Drops(); len(all["dew3"]) != 0 {
		t.Errorf("bob sent nothing, and is said to have: %v", all["dew3"])
	}
}

// plugLocked adds a tap whose lock is on before it is up.
func (l *lab) plugLocked(e cf.Endpoint, top cf.Topology) {
	l.t.Helper()
	f, err := l.net.AddTap(vnet.VNIC{Name: e.VNIC, Addr: e.Addr, MAC: e.MAC, MTU: e.MTU}, func() error {
		have := top
		have.Endpoints = nil
		for _, o := range top.Endpoints {
			if l.taps[o.VNIC] != nil || o.VNIC == e.VNIC {
				have.Endpoints = append(have.Endpoints, o)
			}
		}
		_, err := l.wall.Apply(have)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { f.Close() })
	l.taps[e.VNIC] = &tap{l.t, f, e.MAC, e.Addr}
}

func (l *lab) drops(vnic string, r Reason) uint64 {
	l.t.Helper()
	all, err := l.wall.Drops()
	if err != nil {
		l.t.Fatal(err)
	}
	return all[vnic][r].Packets
}
