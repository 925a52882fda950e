package vnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Forwarding is what the host's kernel does with packets for others that come in
// by its interfaces. Answers to guests come in by those: the kernel looks at the
// setting of the interface by which a packet came, and at no other
// (net/ipv4/route.c, ip_route_input_slow).
type Forwarding struct {
	// Everywhere: somebody made the host a router (net.ipv4.ip_forward).
	Everywhere bool
	// Closed are the interfaces with an IPv4 address that do not forward.
	Closed []string
}

// ReadForwarding looks at all interfaces but the loopback.
func ReadForwarding() (Forwarding, error) {
	var f Forwarding
	on, err := forwards("all")
	if err != nil || on {
		return Forwarding{Everywhere: on}, err
	}
	list, err := net.Interfaces()
	if err != nil {
		return f, fmt.Errorf("list the host's interfaces: %w", err)
	}
	for _, one := range list {
		if one.Flags&net.FlagLoopback != 0 || one.Flags&net.FlagUp == 0 || !hasIPv4(one) {
			continue
		}
		on, err := forwards(one.Name)
		if errors.Is(err, os.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return f, err
		}
		if !on {
			f.Closed = append(f.Closed, one.Name)
		}
	}
	slices.Sort(f.Closed)
	return f, nil
}

func hasIPv4(i net.Interface) bool {
	addrs, err := i.Addrs()
	return err == nil && slices.ContainsFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.To4() != nil
	})
}

func forwards(name string) (bool, error) {
	b, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + name + "/forwarding")
	if err != nil {
		return false, fmt.Errorf("look whether the host forwards: %w", err)
	}
	return strings.TrimSpace(string(b)) == "1", nil
}

// SetForwarding lets an interface of the host forward, or not. One that is gone
// needs nothing.
func SetForwarding(name string, on bool) error {
	value := "0"
	if on {
		value = "1"
	}
	err := hostSetting("ipv4/conf/"+name+"/forwarding", value)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES):
		return fmt.Errorf("let %s forward: %w: allow it with `sysctl -w net.ipv4.ip_forward=1` outside of this container", name, err)
	case err != nil:
		return fmt.Errorf("let %s forward: %w", name, err)
	}
	return nil
}

// Least and most of what guests get as MTU: what every IPv4 host takes (RFC 791),
// and Ethernet's.
const leastMTU, mostMTU = 576, DefaultMTU

// hostMTU is what the host sends on in one piece on its way to the world: the
// least of its default routes' interfaces.
func hostMTU(except string) int {
	mtu := mostMTU
	routes, err := netlink.RouteList(nil, unix.AF_INET)
	if err != nil {
		return mtu
	}
	for _, r := range routes {
		if r.Dst != nil && !r.Dst.IP.IsUnspecified() {
			continue
		}
		if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil && link.Attrs().Name != except {
			mtu = min(mtu, link.Attrs().MTU)
		}
	}
	return max(mtu, leastMTU)
}

// Beyond is an address that the host would send packets on to: where its default
// route leads, or else somebody beside it. ok is false where there is none.
func Beyond(except string) (_ netip.Addr, ok bool) {
	routes, err := netlink.RouteList(nil, unix.AF_INET)
	if err != nil {
		return netip.Addr{}, false
	}
	var beside netip.Addr
	for _, r := range routes {
		everywhere := r.Dst == nil || r.Dst.IP.IsUnspecified()
		if a, is := netip.AddrFromSlice(r.Gw.To4()); is && everywhere {
			return a, true
		}
		link, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil || link.Attrs().Name == except || everywhere || strings.HasPrefix(link.Attrs().Name, "lo") {
			continue
		}
		if ones, bits := r.Dst.Mask.Size(); bits-ones >= 2 {
			if a, is := netip.AddrFromSlice(r.Dst.IP.To4()); is && !beside.IsValid() {
				beside = a.Next()
				if slices.ContainsFunc(own(), func(o netip.Addr) bool { return o == beside }) {
					beside = beside.Next()
				}
			}
		}
	}
	return beside, beside.IsValid()
}

// own are the host's IPv4 addresses.
func own() []netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var list []netip.Addr
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP.To4()); ok {
				list = append(list, addr)
			}
		}
	}
	return list
}
