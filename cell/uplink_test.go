package cell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/vnet"
)

// space is a network namespace of a test's own.
type space struct {
	t      *testing.T
	handle netns.NsHandle
}

func newSpace(t *testing.T) *space {
	t.Helper()
	s := &space{t: t}
	made := make(chan error)
	go func() { // on a thread that dies with its goroutine, because it is left inside
		runtime.LockOSThread()
		var err error
		s.handle, err = netns.New()
		made <- err
	}()
	err := <-made
	if errors.Is(err, unix.EPERM) {
		t.Skip("needs root: makes network namespaces")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.handle.Close() })
	s.must(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	return s
}

// do runs f on a thread that is inside.
func (s *space) do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(s.handle); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func (s *space) must(f func() error) {
	s.t.Helper()
	if err := s.do(f); err != nil {
		s.t.Fatal(err)
	}
}

// wire joins two namespaces by a cable with an address at each end.
func wire(a *space, aName, aAddr string, b *space, bName, bAddr string) {
	a.t.Helper()
	a.must(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: aName}, PeerName: bName, PeerNamespace: netlink.NsFd(b.handle)})
	})
	a.must(func() error { return address(aName, aAddr) })
	b.must(func() error { return address(bName, bAddr) })
}

func address(link, addr string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(addr)
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(l, a), netlink.LinkSetUp(l))
}

func route(link, via string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Gw: net.ParseIP(via), Flags: int(netlink.FLAG_ONLINK)})
}

// site is a host between the world and a private network, with a cell whose one
// guest is a Linux of its own behind a vNIC.
//
//	guest 10.255.0.2 - cell - host 198.51.100.2 - world 198.51.100.1
//	                          host 10.9.0.1     - private 10.9.0.2
type site struct {
	t                           *testing.T
	host, world, private, guest *space
	network                     *vnet.Network
	wall                        *firewall.Wall
	up                          *Uplink
	rates                       cf.Rates // of the guest
}

var siteGuest = nic(netip.MustParseAddr("10.255.0.2"))

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, host: newSpace(t), world: newSpace(t), private: newSpace(t), guest: newSpace(t)}
	wire(s.host, "h0", "198.51.100.2/24", s.world, "w0", "198.51.100.1/24")
	wire(s.host, "h1", "10.9.0.1/24", s.private, "p0", "10.9.0.2/24")
	s.host.must(func() error { return route("h0", "198.51.100.1") })
	s.world.must(func() error { return route("w0", "198.51.100.2") })
	s.private.must(func() error { return route("p0", "10.9.0.1") })
	s.host.must(func() (err error) {
		if s.network, err = vnet.New(); err == nil {
			s.wall, err = firewall.Open(s.network.Within)
		}
		return err
	})
	t.Cleanup(func() { s.wall.Close(); s.network.Close() })
	s.up = NewUplink(s.network, "dew-site", slog.New(slog.DiscardHandler))
	t.Cleanup(func() { s.up.Close() })
	s.plug()
	return s
}

// plug gives the guest its vNIC: a cable where others have a tap.
func (s *site) plug() {
	s.t.Helper()
	card := siteGuest
	gateway := vnet.Gateway.String()
	inside, err := s.network.Space()
	if err != nil {
		s.t.Fatal(err)
	}
	defer inside.Close()
	s.guest.must(func() error {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0", HardwareAddr: card.MAC[:]}, PeerName: card.Name,
			PeerHardwareAddr: vnet.GatewayMAC[:], PeerNamespace: netlink.NsFd(inside)}); err != nil {
			return err
		}
		return address("eth0", card.Addr.String()+"/32")
	})
	if err := s.network.Within(func() error { return address(card.Name, gateway+"/32") }); err != nil {
		s.t.Fatal(err)
	}
	if err := s.network.Within(func() error {
		l, err := netlink.LinkByName(card.Name)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: card.Addr.AsSlice(), Mask: net.CIDRMask(32, 32)}, Scope: netlink.SCOPE_LINK})
	}); err != nil {
		s.t.Fatal(err)
	}
	s.guest.must(func() error { return route("eth0", gateway) })
}

// allow makes security group rules the only ones, and the host's addresses those
// that the wall knows.
func (s *site) allow(host []string, rules ...cf.Rule) firewall.Applied {
	s.t.Helper()
	card := siteGuest
	top := cf.Topology{Gateway: vnet.Gateway, GatewayMAC: vnet.GatewayMAC, Guests: []netip.Prefix{netip.MustParsePrefix("10.255.0.0/16")},
		Endpoints: []cf.Endpoint{{GUID: "i", AppGUID: "app", Stage: cf.Running, Addr: card.Addr, VNIC: card.Name, MAC: card.MAC, MTU: card.MTU, Rates: s.rates}},
		Groups:    []cf.SecurityGroup{{Meta: cf.Meta{GUID: "g"}, Name: "g", Running: true, Rules: rules}}}
	for _, a := range host {
		top.Protected = append(top.Protected, cf.Protected{Prefix: netip.MustParsePrefix(a + "/32"), What: "the host"})
	}
	done, err := s.wall.Apply(top)
	if err != nil {
		s.t.Fatal(err)
	}
	return done
}

var everywhere = cf.Rule{Protocol: "all", Destination: "0.0.0.0/0"}

// converge brings the uplink up, with the host's addresses.
func (s *site) converge(host ...string) error {
	var addrs []netip.Addr
	for _, a := range host {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return s.host.do(func() error {
		if err := s.up.Converge(addrs); err != nil {
			return err
		}
		return s.up.Test(s.t.Context())
	})
}

// serve answers every connection with the address that it comes from.
func serve(at *space, addr string) {
	at.t.Helper()
	var l net.Listener
	at.must(func() (err error) { l, err = net.Listen("tcp4", addr); return err })
	at.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintln(c, c.RemoteAddr())
				io.Copy(c, c)
			}()
		}
	}()
}

// dial connects and reads who the other side thinks it talks to.
func dial(from *space, addr string, within time.Duration) (c net.Conn, seenAs string, err error) {
	err = from.do(func() (err error) {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		if c, err = new(net.Dialer).DialContext(ctx, "tcp4", addr); err != nil {
			return err
		}
		c.SetDeadline(time.Now().Add(patience))
		b := make([]byte, 64)
		n, err := c.Read(b)
		seenAs, _, _ = strings.Cut(string(b[:n]), ":")
		return err
	})
	return c, seenAs, err
}

func reaches(from *space, addr string) bool { return tries(from, addr, patience) }

// misses waits a moment only: what is swallowed is never answered.
func misses(from *space, addr string) bool { return !tries(from, addr, 300*time.Millisecond) }

func tries(from *space, addr string, within time.Duration) bool {
	c, _, err := dial(from, addr, within)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// TestGuestsReachWhatTheirRulesAllow, in the name of the host, and nothing else.
func TestGuestsReachWhatTheirRulesAllow(t *testing.T) {
	s := newSite(t)
	for at, addrs := range map[*space][]string{s.world: {"198.51.100.1:80", "198.51.100.1:81"}, s.private: {"10.9.0.2:5432"}, s.host: {"198.51.100.2:80", "10.9.0.1:80"}} {
		for _, a := range addrs {
			serve(at, a)
		}
	}
	host := []string{"198.51.100.2", "10.9.0.1"}
	s.allow(host, cf.Rule{Protocol: "tcp", Destination: "198.51.100.0/24", Ports: "80"})
	if !misses(s.guest, "198.51.100.1:80") {
		t.Fatal("a way out without an uplink")
	}
	if err := s.converge(host...); err != nil {
		t.Fatal(err)
	}
	c, seen, err := dial(s.guest, "198.51.100.1:80", patience)
	if err != nil || seen != "198.51.100.2" {
		t.Fatalf("the world sees %q, %v: want the host", seen, err)
	}
	defer c.Close()
	for _, a := range []string{"198.51.100.1:81", "198.51.100.2:80", "10.9.0.2:5432", "10.9.0.1:80"} {
		if !misses(s.guest, a) {
			t.Errorf("reached %s", a)
		}
	}
	s.allow(host, everywhere)
	for _, a := range []string{"198.51.100.1:81", "10.9.0.2:5432"} {
		if !reaches(s.guest, a) {
			t.Errorf("did not reach %s with 0.0.0.0/0", a)
		}
	}
	for _, a := range []string{"198.51.100.2:80", "10.9.0.1:80"} {
		if !misses(s.guest, a) {
			t.Errorf("reached %s with 0.0.0.0/0", a)
		}
	}
	s.allow(host, everywhere, cf.Rule{Protocol: "tcp", Destination: "10.9.0.1", Ports: "80"})
	if !reaches(s.guest, "10.9.0.1:80") || !misses(s.guest, "198.51.100.2:80") {
		t.Error("want the address of the host that a rule names, and no other")
	}
	if !misses(s.guest, s.up.wire.Host.String()+":80") {
		t.Error("reached the host by its end of the wire")
	}
}

// TestDatagramsAndErrorsPass: UDP there and back, what the other side says of a
// closed port, and ICMP, each by a rule of its own.
func TestDatagramsAndErrorsPass(t *testing.T) {
	s := newSite(t)
	var echo net.PacketConn
	s.world.must(func() (err error) { echo, err = net.ListenPacket("udp4", "198.51.100.1:7"); return err })
	defer echo.Close()
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := echo.ReadFrom(b)
			if err != nil {
				return
			}
			echo.WriteTo(b[:n], from)
		}
	}()
	s.allow(nil, cf.Rule{Protocol: "udp", Destination: "198.51.100.1", Ports: "7-8"})
	if err := s.converge(); err != nil {
		t.Fatal(err)
	}
	say := func(network, addr string, b []byte, within time.Duration) ([]byte, error) {
		var c net.Conn
		s.guest.must(func() (err error) { c, err = net.Dial(network, addr); return err })
		defer c.Close()
		c.SetDeadline(time.Now().Add(within))
		c.Write(b)
		answer := make([]byte, 2000)
		n, _, err := c.(net.PacketConn).ReadFrom(answer) // without the IP header
		return answer[:n], err
	}
	if b, err := say("udp4", "198.51.100.1:7", []byte("hello"), patience); string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := say("udp4", "198.51.100.1:8", []byte("hello"), patience); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a closed port: %v", err)
	}
	ping := []byte{8, 0, 0xf7, 0xfe, 0, 1, 0, 0} // echo request 1 (RFC 792)
	if b, err := say("ip4:icmp", "198.51.100.1", ping, 300*time.Millisecond); err == nil && b[0] == 0 {
		t.Errorf("an echo that no rule allows was answered: %x", b)
	}
	kind, code := 8, 0
	s.allow(nil, cf.Rule{Protocol: "icmp", Destination: "198.51.100.1", Type: &kind, Code: &code})
	if b, err := say("ip4:icmp", "198.51.100.1", ping, patience); err != nil || len(b) < 8 || b[0] != 0 || b[5] != 1 {
		t.Errorf("answer to an echo: %x, %v", b, err)
	}
}

// TestBroadcastsOfTheHostsNetworksAreNotHeard: neither by the host nor by those
// beside it.
func TestBroadcastsOfTheHostsNetworksAreNotHeard(t *testing.T) {
	s := newSite(t)
	heard := make(chan string, 8)
	for name, at := range map[string]*space{"world": s.world, "host": s.host} {
		var l net.PacketConn
		at.must(func() (err error) { l, err = net.ListenPacket("udp4", "0.0.0.0:9"); return err })
		defer l.Close()
		go func() {
			b := make([]byte, 100)
			for {
				n, _, err := l.ReadFrom(b)
				if err != nil {
					return
				}
				heard <- name + " heard " + string(b[:n])
			}
		}()
	}
	s.allow(nil, everywhere)
	if err := s.converge(); err != nil {
		t.Fatal(err)
	}
	s.guest.must(func() error {
		for _, to := range []string{"198.51.100.255:9", "255.255.255.255:9", "198.51.100.1:9"} {
			c, err := net.ListenPacket("udp4", "0.0.0.0:0")
			if err != nil {
				return err
			}
			defer c.Close()
			addr, _ := net.ResolveUDPAddr("udp4", to)
			if _, err := c.WriteTo([]byte(to), addr); err != nil {
				return err
			}
		}
		return nil
	})
	if got := <-heard; got != "world heard 198.51.100.1:9" {
		t.Errorf("%s: want only what was sent to one", got)
	}
}

// TestFloodsDoNotFillTheHostsTable: however many connections a guest begins, the
// host has to remember no more of them than its vNIC may begin in that time.
func TestFloodsDoNotFillTheHostsTable(t *testing.T) {
	const many = 20_000
	for _, c := range []struct {
		rates cf.Rates
		bound func(time.Duration) int // what the host may remember
		least int
	}{
		{cf.Rates{Connections: 500, ConnectionBurst: 1000}, func(d time.Duration) int { return 1000 + int(500*d.Seconds()) + 10 }, 500},
		{cf.Rates{Connections: 1_000_000, ConnectionBurst: 1_000_000}, func(time.Duration) int { return many + 10 }, many / 2}, // the attack works
	} {
		s := newSite(t)
		s.rates = c.rates
		s.allow(nil, everywhere)
		if err := s.converge(); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		s.guest.must(func() error {
			l, err := net.ListenPacket("udp4", "0.0.0.0:0")
			if err != nil {
				return err
			}
			defer l.Close()
			for i := range many {
				l.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(203, 0, 113, byte(i>>14)), Port: 1 + i&0x3fff}) // what is dropped on the way is no error
			}
			return nil
		})
		var has int
		s.host.must(func() (err error) {
			b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
			if err == nil {
				has, err = strconv.Atoi(strings.TrimSpace(string(b)))
			}
			return err
		})
		if most := c.bound(time.Since(begun)); has > most || has < c.least {
			t.Errorf("%+v: the host remembers %d connections, want %d to %d", c.rates, has, c.least, most)
		}
	}
}

// TestNarrowPaths: guests send no more in one piece than the host passes on
// towards the world, and learn of ways that are narrower still.
func TestNarrowPaths(t *testing.T) {
	s := newSite(t)
	serve(s.private, "10.9.0.2:80")
	narrow := func(at *space, name string, mtu int) {
		at.must(func() error {
			l, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			return netlink.LinkSetMTU(l, mtu)
		})
	}
	narrow(s.host, "h0", 1400)
	narrow(s.host, "h1", 1000)
	narrow(s.private, "p0", 1000)
	s.allow(nil, everywhere)
	if err := s.converge(); err != nil {
		t.Fatal(err)
	}
	if got := s.up.MTU(); got != 1400 {
		t.Errorf("guests get an MTU of %d, want 1400", got)
	}
	c, _, err := dial(s.guest, "10.9.0.2:80", patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const much = 1 << 20
	go c.Write(make([]byte, much))
	if n, err := io.CopyN(io.Discard, c, much); err != nil {
		t.Errorf("%d bytes of %d came back: %v", n, much, err)
	}
}

// TestTheHostForgetsSoon: what guests begin in vain stays in the host's table of
// connections for seconds, not minutes.
func TestTheHostForgetsSoon(t *testing.T) {
	s := newSite(t)
	s.allow(nil, everywhere)
	if err := s.converge(); err != nil {
		t.Fatal(err)
	}
	if !misses(s.guest, "198.51.100.99:80") {
		t.Fatal("somebody has that address")
	}
	var table string
	s.host.must(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/nf_conntrack")
		table = string(b)
		return err
	})
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); strings.Contains(line, "dst=198.51.100.99") {
			if seconds, err := strconv.Atoi(f[4]); err != nil || seconds > 20 {
				t.Errorf("%s, want at most 20 s", line)
			}
			return
		}
	}
	t.Errorf("not in the table:\n%s", table)
}

// TestNewAddressesOfTheHostAreNotReached, in the moment before the wall knows
// them. Without the gate they are.
func TestNewAddressesOfTheHostAreNotReached(t *testing.T) {
	s := newSite(t)
	s.host.must(func() error { return address("h0", "198.51.100.77/32") })
	serve(s.host, "198.51.100.77:80")
	s.allow(nil, everywhere)
	if err := s.converge(); err != nil {
		t.Fatal(err)
	}
	if !misses(s.guest, "198.51.100.77:80") {
		t.Error("reached an address of the host that the wall does not know")
	}
	s.host.must(func() error { return s.up.gate.Remove() })
	if !reaches(s.guest, "198.51.100.77:80") {
		t.Error("the attack does not work: the gate was not what stopped it")
	}
}

// TestHostIsNoRouterForOthers: interfaces that forward because of the gate do so
// for guests only. Without the gate strangers would get through.
func TestHostIsNoRouterForOthers(t *testing.T) {
	s := newSite(t)
	serve(s.private, "10.9.0.2:80")
	s.allow(nil, everywhere)
	if !misses(s.world, "10.9.0.2:80") {
		t.Fatal("the host is a router already")
	}
	if err := s.converge(); err != nil {
		t.Fatal(err)
	}
	if !reaches(s.guest, "10.9.0.2:80") || !misses(s.world, "10.9.0.2:80") {
		t.Error("want a way for the guest and none for the world")
	}
	s.host.must(func() error { return s.up.gate.Remove() })
	if !reaches(s.world, "10.9.0.2:80") {
		t.Error("the attack does not work: the gate was not what stopped it")
	}
	// Where the host is a router by somebody's will, it stays one.
	s.host.must(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
	if err := s.converge(); err != nil {
		t.Fatal(err)
	}
	if !reaches(s.world, "10.9.0.2:80") {
		t.Error("a router is none any more")
	}
}

// TestNothingBeginsOutside: nobody outside reaches the cell or a guest, also not
// from the host itself or with the addresses of guests.
func TestNothingBeginsOutside(t *testing.T) {
	s := newSite(t)
	serve(s.guest, siteGuest.Addr.String()+":8080")
	s.allow(nil, everywhere)
	if err := s.converge(); err != nil {
		t.Fatal(err)
	}
	s.host.must(func() error {
		l, err := netlink.LinkByName("dew-site")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4(10, 255, 0, 0), Mask: net.CIDRMask(16, 32)}, Gw: s.up.wire.Guest.AsSlice()})
	})
	for name, from := range map[string]*space{"world": s.world, "host": s.host} {
		if !misses(from, siteGuest.Addr.String()+":8080") {
			t.Errorf("the %s reached a guest", name)
		}
	}
}

// TestConnectionsAreCutAtBothEnds when the rule goes that allowed them.
func TestConnectionsAreCutAtBothEnds(t *testing.T) {
	s := newSite(t)
	var l net.Listener
	s.world.must(func() (err error) { l, err = net.Listen("tcp4", "198.51.100.1:80"); return err })
	defer l.Close()
	s.allow(nil, everywhere)
	if err := s.converge(); err != nil {
		t.Fatal(err)
	}
	var ours net.Conn
	s.guest.must(func() (err error) { ours, err = net.Dial("tcp4", "198.51.100.1:80"); return err })
	defer ours.Close()
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if done := s.allow(nil, cf.Rule{Protocol: "tcp", Destination: "198.51.100.1", Ports: "443"}); done.Cut == 0 {
		t.Error("no connection was cut")
	}
	for name, c := range map[string]net.Conn{"guest": ours, "world": theirs} {
		c.SetDeadline(time.Now().Add(patience))
		c.Write([]byte("x"))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the %s's end: %v, want a reset", name, err)
		}
	}
}

// TestUplinkIsAdopted: whoever comes later takes over what is there, connections
// go on; and repairs what others did to it.
func TestUplinkIsAdopted(t *testing.T) {
	s := newSite(t)
	serve(s.world, "198.51.100.1:80")
	s.allow(nil, everywhere)
	if err := s.converge(); err != nil {
		t.Fatal(err)
	}
	c, _, err := dial(s.guest, "198.51.100.1:80", patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := s.up.wire
	s.up.Close()
	s.up = NewUplink(s.network, "dew-site", slog.New(slog.DiscardHandler))
	t.Cleanup(func() { s.up.Close() })
	if err := s.converge(); err != nil || s.up.wire != before {
		t.Fatalf("%+v, %v: want %+v", s.up.wire, err, before)
	}
	fmt.Fprintln(c, "still there")
	b := make([]byte, 20)
	if n, err := c.Read(b); err != nil || string(b[:n]) != "still there\n" {
		t.Errorf("%q, %v", b[:n], err)
	}
	for name, harm := range map[string]func() error{
		"table": func() error { return s.up.gate.Remove() },
		"wire":  func() error { return vnet.RemoveUplink("dew-site") },
		"route": func() error {
			return s.network.Within(func() error {
				l, err := netlink.LinkByName(firewall.Uplink)
				if err != nil {
					return err
				}
				return netlink.LinkSetDown(l)
			})
		},
		"forwarding": func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0) },
	} {
		s.host.must(harm)
		if err := s.converge(); err != nil || !reaches(s.guest, "198.51.100.1:80") {
			t.Errorf("%s: not repaired: %v", name, err)
		}
	}
}

// TestUplinksShareWhatTheyOpen: the first that goes leaves the other its way out,
// and the last leaves nothing.
func TestUplinksShareWhatTheyOpen(t *testing.T) {
	s := newSite(t)
	serve(s.world, "198.51.100.1:80")
	serve(s.private, "10.9.0.2:80")
	s.allow(nil, everywhere)
	before := s.traces()
	var network *vnet.Network
	s.host.must(func() (err error) { network, err = vnet.New(); return err })
	defer network.Close()
	first := NewUplink(network, "dew-first", slog.New(slog.DiscardHandler))
	defer first.Close()
	s.host.must(func() error { return first.Converge(nil) })
	if err := s.converge(); err != nil {
		t.Fatal(err)
	}
	s.host.must(first.Remove)
	if !reaches(s.guest, "198.51.100.1:80") || !misses(s.world, "10.9.0.2:80") {
		t.Error("want a way for the guest and none for the world")
	}
	s.host.must(s.up.Remove)
	if after := s.traces(); !slices.Equal(after, before) {
		t.Errorf("%v, want %v", after, before)
	}
}

// TestNothingIsLeft: the host is as it was, whoever cleans up.
func TestNothingIsLeft(t *testing.T) {
	s := newSite(t)
	before := s.traces()
	s.allow(nil, everywhere)
	if err := s.converge(); err != nil {
		t.Fatal(err)
	}
	if during := s.traces(); slices.Equal(during, before) {
		t.Fatalf("%v: the test does not see what is made", during)
	}
	s.host.must(func() error { return RemoveUplink("dew-site") }) // not by who made it
	if after := s.traces(); !slices.Equal(after, before) {
		t.Errorf("%v, want %v", after, before)
	}
	s.host.must(func() error { return RemoveUplink("dew-site") })
}

// traces are what an uplink may leave on a host.
func (s *site) traces() []string {
	s.t.Helper()
	var list []string
	s.host.must(func() error {
		links, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, l := range links {
			b, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + l.Name + "/forwarding")
			if err != nil {
				return err
			}
			list = append(list, l.Name+" forwards "+strings.TrimSpace(string(b)))
		}
		routes, err := netlink.RouteList(nil, unix.AF_INET)
		for _, r := range routes {
			list = append(list, r.String())
		}
		if nft, missing := exec.LookPath("nft"); missing == nil {
			out, failed := exec.Command(nft, "list", "ruleset").CombinedOutput()
			list, err = append(list, string(out)), errors.Join(err, failed)
		}
		return err
	})
	return list
}

// TestOtherFirewallsAreNamed: what drops guests' packets on the host is said with
// its remedy, once, and when it is over.
func TestOtherFirewallsAreNamed(t *testing.T) {
	nft, err := exec.LookPath("nft")
	if err != nil {
		t.Skip("needs nft: apt-get install nftables")
	}
	s := newSite(t)
	s.allow(nil, everywhere)
	run := func(args ...string) {
		t.Helper()
		s.host.must(func() error {
			out, err := exec.Command(nft, args...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%v: %s", err, out)
			}
			return nil
		})
	}
	run("add", "table", "ip", "filter")
	run("add", "chain", "ip", "filter", "FORWARD", "{ type filter hook forward priority 0; policy drop; }")
	if err := s.converge(); err == nil || !strings.Contains(err.Error(), "DOCKER-USER -i dew-site") {
		t.Errorf("got %v", err)
	}
	run("add", "rule", "ip", "filter", "FORWARD", "iifname", "dew-site", "accept")
	if err := s.converge(); err != nil {
		t.Error(err)
	}
}
