package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/tender/cgroup"
	"github.com/dewpaas/dew/vnet"
)

// yard is a cell's network with a client where a guest would be, and a server
// outside: client -- dew0 [cell] up0 -- server.
type yard struct {
	cell, client, server *vnet.Network
	wall                 *firewall.Wall // nil: nothing filters
	first                *cgroup.Group  // where the server and its clients come before others; nil: nowhere
	stops                []func()
}

var (
	outside    = netip.MustParseAddr("172.31.255.2")
	outsideMAC = net.HardwareAddr{2, 9, 0, 0, 0, 2}
)

// newYard builds one. With a topology there is a wall; its first endpoint is
// the client.
func newYard(t *cf.Topology) (*yard, error) {
	y := &yard{}
	var err error
	for _, n := range []**vnet.Network{&y.cell, &y.client, &y.server} {
		if *n, err = vnet.New(); err != nil {
			return y, err
		}
		network := *n
		y.stops = append(y.stops, func() { network.Close() })
	}
	if t != nil {
		if y.wall, err = firewall.Open(y.cell.Within); err != nil {
			return y, err
		}
		y.stops = append(y.stops, func() { y.wall.Close() })
		if _, err := y.wall.Apply(*t); err != nil {
			return y, err
		}
	}
	me := endpoint(0, 0)
	if err := y.wire("dew0", y.client, vnet.Gateway, vnet.GatewayMAC[:], me.Addr, me.MAC[:]); err != nil {
		return y, err
	}
	up := net.HardwareAddr{2, 9, 0, 0, 0, 1}
	if err := y.wire("up0", y.server, netip.MustParseAddr("172.31.255.1"), up, outside, outsideMAC); err != nil {
		return y, err
	}
	return y, y.cell.Within(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
}

func (y *yard) close() {
	for i := len(y.stops) - 1; i >= 0; i-- {
		y.stops[i]()
	}
}

// wire lays a cable from the cell to a namespace of its own, with routes and
// neighbours at both ends.
func (y *yard) wire(name string, far *vnet.Network, here netip.Addr, hereMAC net.HardwareAddr, there netip.Addr, thereMAC net.HardwareAddr) error {
	space, err := far.File()
	if err != nil {
		return err
	}
	defer space.Close()
	if err := y.cell.Within(func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, HardwareAddr: hereMAC, TxQLen: 1000}, PeerName: "eth0", PeerHardwareAddr: thereMAC,
			PeerNamespace: netlink.NsFd(int(space.Fd()))}
		if err := netlink.LinkAdd(v); err != nil {
			return err
		}
		return settle(name, here, there, thereMAC, false)
	}); err != nil {
		return fmt.Errorf("lay %s: %w", name, err)
	}
	return far.Within(func() error { return settle("eth0", there, here, hereMAC, true) })
}

func settle(name string, own, peer netip.Addr, peerMAC net.HardwareAddr, everything bool) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	only := func(a netip.Addr) *net.IPNet { return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(32, 32)} }
	index := link.Attrs().Index
	errs := []error{
		netlink.LinkSetARPOff(link),
		netlink.AddrAdd(link, &netlink.Addr{IPNet: only(own)}),
		netlink.LinkSetUp(link),
		netlink.RouteAdd(&netlink.Route{LinkIndex: index, Dst: only(peer), Scope: netlink.SCOPE_LINK, Src: own.AsSlice()}),
		netlink.NeighSet(&netlink.Neigh{LinkIndex: index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT, IP: peer.AsSlice(), HardwareAddr: peerMAC}),
	}
	if everything {
		errs = append(errs, netlink.RouteAdd(&netlink.Route{LinkIndex: index, Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Gw: peer.AsSlice(), Flags: int(netlink.FLAG_ONLINK), Src: own.AsSlice()}))
	}
	return errors.Join(errs...)
}

// run starts this program again inside a network and returns its first line of
// output once it is there, and a function that ends it.
func run(in *vnet.Network, files []*os.File, args ...string) (*exec.Cmd, *bufio.Reader, error) {
	c := exec.Command("/proc/self/exe", args...)
	c.Stderr, c.ExtraFiles = os.Stderr, files
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	// A process is born in the network of the thread that makes it.
	if err := in.Within(c.Start); err != nil {
		return nil, nil, err
	}
	return c, bufio.NewReader(out), nil
}

// serving starts a server in a network and waits until it listens.
func (y *yard) serving(in *vnet.Network) error {
	c, out, err := run(in, nil, "serve")
	if err != nil {
		return err
	}
	y.stops = append(y.stops, func() { c.Process.Kill(); c.Wait() })
	if err := y.favour(c); err != nil {
		return err
	}
	if line, err := out.ReadString('\n'); err != nil || strings.TrimSpace(line) != "ready" {
		return fmt.Errorf("the server says %q: %w", line, err)
	}
	return nil
}

// favour puts a process where it comes first, if there is such a place.
func (y *yard) favour(c *exec.Cmd) error {
	if y.first == nil {
		return nil
	}
	return enter(y.first, c.Process.Pid)
}

// asking runs the client in a network and returns what it counted a second.
func (y *yard) asking(in *vnet.Network, what string, to netip.AddrPort, seconds float64) (float64, error) {
	c, out, err := run(in, nil, "request", what, to.String(), fmt.Sprint(seconds))
	if err != nil {
		return 0, err
	}
	if err := y.favour(c); err != nil {
		return 0, errors.Join(err, c.Process.Kill(), c.Wait())
	}
	var n float64
	_, failed := fmt.Fscan(out, &n)
	return n, errors.Join(failed, c.Wait())
}
