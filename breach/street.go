package breach

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/vnet"
)

// paving is how a street is laid.
type paving int

const (
	walled  paving = iota // as a cell's: routed, behind the firewall
	routed                // a wire for each, and a host that forwards everything
	hub                   // one cable for all, as if there were no wires
	bridged               // as containers have it by default: a bridge, and a host that forwards
)

// street is a network with a few parties, of whom the suite is all but one:
// mal, the attacker; ann, who has nothing to do with it; bob, whom it may reach
// at port 8080; a way out; and the host, where the gateway is.
type street struct {
	paving   paving
	net      *vnet.Network
	wall     *firewall.Wall
	topology cf.Topology
	card     *os.File // the attacker's tap, nil for containers
	mal      party
	ann, bob party
	out      party
	gateway  netip.Addr
	host     *house                 // the host's services
	lost     func() (uint32, error) // frames that were not looked at; nil: none can be
	undo     []func()
}

// party is one end of the street.
type party struct {
	name string // of its interface on the host
	mac  mac
	addr netip.Addr
	tap  *os.File // where the suite is this party
	*house
}

// house keeps what was delivered to it. One goroutine for each door puts it in.
type house struct {
	mu  sync.Mutex // guards got
	got [][]byte
}

func (h *house) put(b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.got) < 1<<16 {
		h.got = append(h.got, bytes.Clone(b))
	}
}

// count of deliveries for which f holds.
func (h *house) count(f func([]byte) bool) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.got {
		if f(b) {
			n++
		}
	}
	return n
}

func (h *house) has(text string) bool {
	return h.count(func(b []byte) bool { return bytes.Contains(b, []byte(text)) }) > 0
}

// receive puts in what file reads, less so many bytes, until it is closed.
func (h *house) receive(file *os.File, skip int) {
	go func() {
		b := make([]byte, abi.VNetHeaderSize+abi.MaxFrame)
		for {
			n, err := file.Read(b)
			if err != nil {
				return
			}
			h.put(b[min(skip, n):n])
		}
	}()
}

const (
	openPort   = 8080 // which bob's app has opened to mal's
	closedPort = 9999
	apiPort    = 8081 // of the host
	busPort    = 4222
)

// outside are addresses that the security group of mal's space opens, and
// others; protected are the platform's own hosts.
func outside() (open, closed, protected, metadata netip.Addr) {
	return netip.AddrFrom4([4]byte{203, 0, 113, 5}), netip.AddrFrom4([4]byte{198, 51, 100, 7}),
		netip.AddrFrom4([4]byte{172, 30, 0, 5}), netip.AddrFrom4([4]byte{169, 254, 169, 254})
}

// hostAddr is an address of the host that is not the gateway's.
func hostAddr() netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 1}) }

// newStreet lays a street. change may alter the topology before it is in force.
func newStreet(p paving, change func(*cf.Topology)) (_ *street, err error) {
	t := &street{paving: p, gateway: vnet.Gateway, host: new(house),
		mal: party{name: firewall.Prefix + "66", mac: mac{2, 0xde, 0x77, 1, 0, 66}, addr: netip.AddrFrom4([4]byte{10, 254, 0, 66}), house: new(house)},
		ann: party{name: firewall.Prefix + "2", mac: mac{2, 0xde, 0x77, 1, 0, 2}, addr: netip.AddrFrom4([4]byte{10, 254, byte(1 + rand.IntN(250)), byte(1 + rand.IntN(250))}), house: new(house)},
		bob: party{name: firewall.Prefix + "3", mac: mac{2, 0xde, 0x77, 1, 0, 3}, addr: netip.AddrFrom4([4]byte{10, 254, 0, 3}), house: new(house)},
		out: party{name: "up0", house: new(house)},
	}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if t.net, err = vnet.New(); err != nil {
		return nil, err
	}
	t.later(func() { t.net.Close() })
	t.topology = t.plan()
	if change != nil {
		change(&t.topology)
	}
	steps := []func() error{t.protect, t.openOut, t.plug, t.openHost}
	if p == hub || p == bridged {
		steps = []func() error{t.openOut, t.lay, t.openHost}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *street) later(f func()) { t.undo = append(t.undo, f) }

func (t *street) close() {
	for i := range t.undo {
		t.undo[len(t.undo)-1-i]()
	}
}

// plan is the topology: mal's app may reach bob's at one port, and one network
// outside.
func (t *street) plan() cf.Topology {
	endpoint := func(p party, app string) cf.Endpoint {
		return cf.Endpoint{GUID: app + "-0", AppGUID: app, AppName: app, SpaceGUID: "space-" + app, ProcessType: "web", Stage: cf.Running,
			Addr: p.addr, VNIC: p.name, MAC: p.mac, MTU: vnet.DefaultMTU, Ports: []uint16{openPort}, Ready: true}
	}
	policy := func(protocol string) cf.NetworkPolicy {
		return cf.NetworkPolicy{SourceGUID: "mal", DestinationGUID: "bob", Protocol: protocol, StartPort: openPort, EndPort: openPort}
	}
	every := -1 // type and code of ICMP
	group := cf.SecurityGroup{Name: "one-network", Running: true, Rules: []cf.Rule{
		{Protocol: "tcp", Destination: "203.0.113.0/24", Ports: "443"}, {Protocol: "icmp", Destination: "203.0.113.0/24", Type: &every, Code: &every}}}
	group.GUID = "one-network"
	return cf.Topology{
		Endpoints: []cf.Endpoint{endpoint(t.mal, "mal"), endpoint(t.ann, "ann"), endpoint(t.bob, "bob")},
		Policies:  []cf.NetworkPolicy{policy("tcp"), policy("udp")}, Groups: []cf.SecurityGroup{group},
		Gateway: vnet.Gateway, GatewayMAC: vnet.GatewayMAC, Resolvers: []netip.AddrPort{netip.AddrPortFrom(vnet.Gateway, 53)},
		Guests: []netip.Prefix{netip.MustParsePrefix("10.254.0.0/16")},
		Protected: []cf.Protected{{Prefix: netip.MustParsePrefix("172.30.0.0/16"), What: "the host"}, {Prefix: netip.MustParsePrefix("192.0.2.0/24"), What: "the host"},
			{Prefix: netip.MustParsePrefix("169.254.0.0/16"), What: "metadata addresses"}},
	}
}

// protect raises the firewall, or opens the network wide.
func (t *street) protect() (err error) {
	if t.paving == routed {
		return t.sysctl(map[string]string{"ip_forward": "1", "conf/all/rp_filter": "0", "conf/default/rp_filter": "0",
			"conf/all/accept_source_route": "1", "conf/default/accept_source_route": "1"})
	}
	if err := t.net.GuardOffloads(); err != nil {
		return err
	}
	if t.wall, err = firewall.Open(t.net.Within); err != nil {
		return err
	}
	t.later(func() { t.wall.Close() })
	done, err := t.wall.Apply(t.topology)
	if err == nil && len(done.Problems) > 0 {
		err = fmt.Errorf("the topology of the attack: %v", done.Problems)
	}
	return err
}

func (t *street) sysctl(settings map[string]string) error {
	return t.net.Within(func() error {
		for name, value := range settings {
			if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// plug gives each party a wire.
func (t *street) plug() error {
	for _, p := range []*party{&t.mal, &t.ann, &t.bob} {
		tap, err := t.net.AddTap(vnet.VNIC{Name: p.name, Addr: p.addr, MAC: p.mac, MTU: vnet.DefaultMTU})
		if err != nil {
			return err
		}
		t.later(func() { tap.Close() })
		if p == &t.mal {
			t.card = tap
			continue
		}
		if err := plain(tap); err != nil {
			return err
		}
		p.tap = tap
		p.receive(tap, abi.VNetHeaderSize)
	}
	return t.listenAt(&t.mal)
}

// plain takes all offloads from a tap: its guest gets finished frames only.
func plain(tap *os.File) error {
	conn, err := tap.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) { failed = unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, 0) })
	return errors.Join(err, failed)
}

// listenAt hears what an interface delivers to the attacker.
func (t *street) listenAt(p *party) error {
	return t.net.Within(func() error {
		link, err := netlink.LinkByName(p.name)
		if err != nil {
			return err
		}
		const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, all)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "sniffer")
		t.later(func() { f.Close() })
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Attrs().Index}); err != nil {
			return err
		}
		p.receive(f, 0)
		return nil
	})
}

// delivered counts frames to the attacker: those that it has not sent itself.
func (t *street) delivered(f func([]byte) bool) int {
	return t.mal.count(func(b []byte) bool { return len(b) > 14 && mac(b[6:12]) != t.mal.mac && f(b) })
}

// openOut is a tap to which everything is routed that is nobody else's.
func (t *street) openOut() error {
	return t.net.Within(func() error {
		f, link, err := t.tap(t.out.name)
		if err != nil {
			return err
		}
		t.out.tap = f
		t.out.receive(f, abi.VNetHeaderSize)
		t.out.mac = mac(link.Attrs().HardwareAddr)
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(172, 31, 255, 1), Mask: net.CIDRMask(32, 32)}}
		return errors.Join(netlink.LinkSetARPOff(link), netlink.AddrAdd(link, addr), netlink.LinkSetUp(link),
			netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Scope: netlink.SCOPE_LINK}))
	})
}

func (t *street) tap(name string) (*os.File, netlink.Link, error) {
	f, err := vnet.Attach(name)
	if err != nil {
		return nil, nil, err
	}
	t.later(func() { f.Close() })
	link, err := netlink.LinkByName(name)
	return f, link, err
}

// lay puts all parties on one cable, and the host with its gateway too.
func (t *street) lay() error {
	settings := map[string]string{"ip_forward": "1"}
	if t.paving == hub {
		settings["conf/all/rp_filter"], settings["conf/default/rp_filter"] = "0", "0"
	}
	if err := t.sysctl(settings); err != nil {
		return err
	}
	return t.net.Within(func() error {
		// Whether what the bridge passes on is checked as IP: containers have it
		// so, a cable does not.
		check := []byte{'0'}
		if t.paving == bridged {
			check[0] = '1'
		}
		if err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", check, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
		bridge.Name, bridge.HardwareAddr = "street", vnet.GatewayMAC[:]
		if t.paving == hub {
			never, no := uint32(0), false
			bridge.AgeingTime, bridge.MulticastSnooping = &never, &no
		}
		if err := netlink.LinkAdd(bridge); err != nil {
			return fmt.Errorf("make a bridge: %w", err)
		}
		// What the host knows of its neighbours is old enough to change.
		if err := os.WriteFile("/proc/sys/net/ipv4/neigh/street/locktime", []byte("0"), 0); err != nil {
			return err
		}
		gateway := &netlink.Addr{IPNet: &net.IPNet{IP: t.gateway.AsSlice(), Mask: net.CIDRMask(32, 32)}}
		route := &netlink.Route{LinkIndex: bridge.Index, Dst: &net.IPNet{IP: net.IPv4(10, 254, 0, 0), Mask: net.CIDRMask(16, 32)}, Src: gateway.IP, Scope: netlink.SCOPE_LINK}
		if err := errors.Join(netlink.AddrAdd(bridge, gateway), netlink.LinkSetUp(bridge), netlink.RouteAdd(route)); err != nil {
			return err
		}
		for _, p := range []*party{&t.mal, &t.ann, &t.bob} {
			if err := t.join(bridge, p); err != nil {
				return err
			}
		}
		return nil
	})
}

// join puts a party on the cable. The host knows everybody's MAC, by entries
// that can change.
func (t *street) join(bridge *netlink.Bridge, p *party) error {
	known := netlink.NeighSet(&netlink.Neigh{LinkIndex: bridge.Index, Family: unix.AF_INET, State: netlink.NUD_STALE, IP: p.addr.AsSlice(), HardwareAddr: p.mac[:]})
	if t.paving == bridged && p == &t.mal {
		return known // a container brings its own interface
	}
	f, link, err := t.tap(p.name)
	if err != nil {
		return err
	}
	if p == &t.mal {
		t.card = f
	} else {
		p.tap = f
		p.receive(f, abi.VNetHeaderSize)
	}
	if err := errors.Join(known, netlink.LinkSetMaster(link, bridge), netlink.LinkSetUp(link)); err != nil {
		return err
	}
	if p == &t.mal {
		return t.listenAt(p)
	}
	return nil
}

// openHost is what runs on the host: servers at the gateway and at another
// address, over UDP and TCP.
func (t *street) openHost() error {
	return t.net.Within(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: hostAddr().AsSlice(), Mask: net.CIDRMask(32, 32)}}
		if err := netlink.AddrAdd(lo, addr); err != nil {
			return err
		}
		return t.openDoors()
	})
}

// openDoors serves the host's ports, in the network that it is called in.
func (t *street) openDoors() error {
	for _, port := range []int{apiPort, busPort} {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{Port: port})
		if err != nil {
			return err
		}
		u, err := net.ListenUDP("udp4", &net.UDPAddr{Port: port})
		if err != nil {
			l.Close()
			return err
		}
		t.later(func() { l.Close(); u.Close() })
		go t.serve(l)
		go t.hear(u)
	}
	return nil
}

func (t *street) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.SetDeadline(time.Now().Add(5 * time.Second))
		b := make([]byte, 256)
		n, _ := c.Read(b)
		t.host.put(b[:n])
		c.Close()
	}
}

func (t *street) hear(u net.PacketConn) {
	b := make([]byte, 2048)
	for {
		n, _, err := u.ReadFrom(b)
		if err != nil {
			return
		}
		t.host.put(b[:n])
	}
}

// nic is what the attacker is told.
func (t *street) nic() boot.NIC {
	return boot.NIC{MAC: t.mal.mac, GatewayMAC: vnet.GatewayMAC, Addr: t.mal.addr.As4(), Gateway: t.gateway.As4(), MTU: vnet.DefaultMTU}
}

// admit connects a container to the bridge, as mal: an interface eth0 with its
// address, and the gateway as the way to everywhere.
func (t *street) admit(pid int) error {
	space, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer space.Close()
	err = t.net.Within(func() error {
		bridge, err := netlink.LinkByName("street")
		if err != nil {
			return err
		}
		pair := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "eth0", PeerNamespace: netlink.NsFd(space)}
		pair.Name, pair.PeerHardwareAddr = t.mal.name, t.mal.mac[:]
		if err := netlink.LinkAdd(pair); err != nil {
			return fmt.Errorf("make an interface: %w", err)
		}
		return errors.Join(netlink.LinkSetMaster(pair, bridge), netlink.LinkSetUp(pair))
	})
	if err != nil {
		return err
	}
	inside, err := netlink.NewHandleAt(space)
	if err != nil {
		return err
	}
	defer inside.Close()
	link, err := inside.LinkByName("eth0")
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: t.mal.addr.AsSlice(), Mask: net.CIDRMask(16, 32)}}
	if err := errors.Join(inside.AddrAdd(link, addr), inside.LinkSetUp(link)); err != nil {
		return err
	}
	way := func(to *net.IPNet, via net.IP) error {
		r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: to, Gw: via}
		if via == nil {
			r.Scope = netlink.SCOPE_LINK
		}
		return inside.RouteAdd(r)
	}
	gateway := t.gateway.AsSlice()
	if err := errors.Join(way(&net.IPNet{IP: gateway, Mask: net.CIDRMask(32, 32)}, nil), way(&net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, gateway)); err != nil {
		return err
	}
	for _, p := range []*party{&t.ann, &t.bob} { // who would answer ARP, were they more than taps
		if err := inside.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT, IP: p.addr.AsSlice(), HardwareAddr: p.mac[:]}); err != nil {
			return err
		}
	}
	return t.listenAt(&t.mal)
}
