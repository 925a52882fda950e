package vnet

import (
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Uplink is a wire between a network and that of the host: the way out of its
// guests. Both ends have an address of their own that nobody else has, so the
// host needs no route to any guest. What may use it is not decided here.
type Uplink struct {
	Name        string     // of the host's end
	Host, Guest netip.Addr // of the host's end, and of that in the network
	MTU         int        // bytes of IP packet that the host sends on in one piece
}

// uplinks is where wires have their addresses: link-local ones, which no network
// that guests may want to reach has, clear of metadata services. Each takes two
// (RFC 3021).
var uplinks = netip.AddrFrom4([4]byte{169, 254, 192, 0})

const uplinkPairs = 1 << 13

// Uplink makes the wire, or takes over the one that is there. name is that of
// its end on the host, inside of that in the network, where it becomes the
// default route. It fails as ErrUnsupported on kernels without veth.
func (n *Network) Uplink(name, inside string) (Uplink, error) {
	u := Uplink{Name: name, MTU: hostMTU(name)}
	if n.adoptUplink(&u, inside) {
		return u, n.finishUplink(&u, inside)
	}
	// What is left of one whose other end is gone or in another network.
	if err := RemoveUplink(name); err != nil {
		return u, err
	}
	if old, err := n.links.LinkByName(inside); err == nil {
		if err := n.links.LinkDel(old); err != nil {
			return u, fmt.Errorf("remove the old uplink: %w", err)
		}
	}
	err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: inside, PeerNamespace: netlink.NsFd(n.space)})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return u, fmt.Errorf("make the uplink %s: %w: load the kernel module with `modprobe veth`", name, errors.ErrUnsupported)
	}
	if err != nil {
		return u, fmt.Errorf("make the uplink %s: %w", name, err)
	}
	if err = u.number(); err == nil {
		err = n.finishUplink(&u, inside)
	}
	if err != nil {
		return u, errors.Join(err, RemoveUplink(name))
	}
	return u, nil
}

// adoptUplink finds out whether both ends are there and belong together.
func (n *Network) adoptUplink(u *Uplink, inside string) bool {
	near, err := netlink.LinkByName(u.Name)
	if err != nil {
		return false
	}
	far, err := n.links.LinkByName(inside)
	if err != nil || near.Type() != "veth" || near.Attrs().ParentIndex != far.Attrs().Index || far.Attrs().ParentIndex != near.Attrs().Index {
		return false
	}
	list, err := netlink.AddrList(near, unix.AF_INET)
	if err != nil || len(list) != 1 {
		return false
	}
	a, ok := netip.AddrFromSlice(list[0].IP.To4())
	if !ok || a.As4()[3]&1 != 0 {
		return false
	}
	u.Host, u.Guest = a, a.Next()
	return true
}

// number finds addresses that this host does not have yet.
func (u *Uplink) number() error {
	taken := map[netip.Addr]bool{}
	list, err := netlink.AddrList(nil, unix.AF_INET)
	if err != nil {
		return fmt.Errorf("list the host's addresses: %w", err)
	}
	for _, a := range list {
		if one, ok := netip.AddrFromSlice(a.IP.To4()); ok {
			taken[one] = true
		}
	}
	first := crc32.ChecksumIEEE([]byte(u.Name))
	for i := range uint32(uplinkPairs) {
		offset := 2 * ((first + i) % uplinkPairs)
		b := uplinks.As4()
		b[2], b[3] = b[2]|byte(offset>>8), byte(offset)
		u.Host = netip.AddrFrom4(b)
		u.Guest = u.Host.Next()
		if !taken[u.Host] && !taken[u.Guest] {
			return nil
		}
	}
	return fmt.Errorf("all addresses for uplinks are in use on this host")
}

// finishUplink brings both ends to what they should be; what is so already stays.
func (n *Network) finishUplink(u *Uplink, inside string) error {
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink on the host: %w", err)
	}
	defer host.Close()
	steps := []struct {
		name string
		do   func() error
	}{
		{"no IPv6", func() error { return hostSetting("ipv6/conf/"+u.Name+"/disable_ipv6", "1") }},
		{"the host's end", func() error { return endOf(host, u.Name, u.Host, u.MTU) }},
		{"forward from it", func() error { return SetForwarding(u.Name, true) }},
		{"check sources on it", func() error { return hostSetting("ipv4/conf/"+u.Name+"/rp_filter", "1") }},
		{"the network's end", func() error { return endOf(n.links, inside, u.Guest, u.MTU) }},
		{"route", func() error { return n.defaultRoute(inside, u.Host) }},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("set the uplink %s up: %s: %w", u.Name, s.name, err)
		}
	}
	return nil
}

func endOf(h *netlink.Handle, name string, a netip.Addr, mtu int) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	pair := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(31, 32)}
	return errors.Join(h.LinkSetMTU(link, mtu), h.AddrReplace(link, &netlink.Addr{IPNet: pair}), h.LinkSetUp(link))
}

func (n *Network) defaultRoute(inside string, via netip.Addr) error {
	link, err := n.links.LinkByName(inside)
	if err != nil {
		return err
	}
	everywhere := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	return n.links.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: everywhere, Gw: via.AsSlice()})
}

// RemoveUplink removes the wire whose end on the host has that name, if there is
// one.
func RemoveUplink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil && link.Type() != "veth" {
		return fmt.Errorf("remove the uplink: %s is no veth, so it is not ours", name)
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove the uplink %s: %w", name, err)
	}
	return nil
}

// hostSetting writes a setting below /proc/sys/net of the host. Where IPv6 is not
// there, there is nothing to turn off.
func hostSetting(name, value string) error {
	path := filepath.Join("/proc/sys/net", name)
	if b, err := os.ReadFile(path); err == nil && len(b) > 0 && string(b[:len(b)-1]) == value {
		return nil // also where /proc/sys may only be read
	}
	err := os.WriteFile(path, []byte(value), 0)
	if errors.Is(err, os.ErrNotExist) && name[:4] == "ipv6" {
		return nil
	}
	return err
}
