package vnet

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// onHost runs f in a network that plays the host's.
func onHost(t *testing.T, f func() error) {
	t.Helper()
	host := newNetwork(t)
	if err := host.Within(f); err != nil {
		t.Fatal(err)
	}
}

// TestUplinkTakesFreeAddresses: of a pair one end of which the host has already,
// it takes neither; made again it is the same; gone with its network.
func TestUplinkTakesFreeAddresses(t *testing.T) {
	n := newNetwork(t)
	onHost(t, func() error {
		first, err := n.Uplink("dew-a", "up0")
		if err != nil {
			return err
		}
		if again, err := n.Uplink("dew-a", "up0"); err != nil || again != first {
			t.Errorf("%+v, %v: want %+v", again, err, first)
		}
		if err := RemoveUplink("dew-a"); err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: only(first.Guest)}); err != nil {
			return err
		}
		second, err := n.Uplink("dew-a", "up0")
		if err == nil && (second.Host == first.Host || second.Guest != second.Host.Next()) {
			t.Errorf("%+v, where the host has %v", second, first.Guest)
		}
		return err
	})
}

// TestUplinkIsTheWayOut: the network's default route leads to the host's end.
func TestUplinkIsTheWayOut(t *testing.T) {
	n := newNetwork(t)
	onHost(t, func() error {
		u, err := n.Uplink("dew-a", "up0")
		if err != nil {
			return err
		}
		return n.Within(func() error {
			routes, err := netlink.RouteGet(net.ParseIP("203.0.113.1"))
			if err == nil && (len(routes) != 1 || !routes[0].Gw.Equal(u.Host.AsSlice()) || !routes[0].Src.Equal(u.Guest.AsSlice())) {
				t.Errorf("%v, want by %v", routes, u.Host)
			}
			return err
		})
	})
}

// TestRemoveUplinkLeavesOthersAlone: what is no veth was not made by us.
func TestRemoveUplinkLeavesOthersAlone(t *testing.T) {
	onHost(t, func() error {
		if err := RemoveUplink("lo"); err == nil || !strings.Contains(err.Error(), "not ours") {
			t.Errorf("got %v", err)
		}
		return RemoveUplink("dew-none")
	})
}

// TestForwardingIsReadAndSet: interfaces without an IPv4 address do not matter,
// and none does where somebody made the host a router.
func TestForwardingIsReadAndSet(t *testing.T) {
	onHost(t, func() error {
		for _, name := range []string{"a", "b", "c"} {
			if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "1"}); err != nil {
				return err
			}
		}
		for name, addr := range map[string]string{"a": "10.1.0.1", "b": "10.2.0.1"} {
			if err := endOf(hostLinks(t), name, netip.MustParseAddr(addr), 1500); err != nil {
				return err
			}
		}
		f, err := ReadForwarding()
		if err != nil || f.Everywhere || !slices.Equal(f.Closed, []string{"a", "b"}) {
			t.Errorf("%+v, %v", f, err)
		}
		if err := SetForwarding("a", true); err != nil {
			return err
		}
		if f, err := ReadForwarding(); err != nil || !slices.Equal(f.Closed, []string{"b"}) {
			t.Errorf("with a open: %+v, %v", f, err)
		}
		if err := SetForwarding("gone", true); err != nil {
			t.Errorf("an interface that is gone: %v", err)
		}
		if err := os.WriteFile(filepath.Join("/proc/sys/net/ipv4", "ip_forward"), []byte("1"), 0); err != nil {
			return err
		}
		if f, err := ReadForwarding(); err != nil || !f.Everywhere || f.Closed != nil {
			t.Errorf("on a router: %+v, %v", f, err)
		}
		return nil
	})
}

// TestBeyondIsNotTheHostItself.
func TestBeyondIsNotTheHostItself(t *testing.T) {
	onHost(t, func() error {
		if a, ok := Beyond("dew-a"); ok {
			t.Errorf("%v, where there is no network", a)
		}
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a"}, PeerName: "a1"}); err != nil {
			return err
		}
		l, err := netlink.LinkByName("a")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr("10.1.0.1/24")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, addr); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
		if a, ok := Beyond("dew-a"); !ok || a.String() != "10.1.0.2" {
			t.Errorf("%v %v, want somebody beside it", a, ok)
		}
		if a, ok := Beyond("a"); ok {
			t.Errorf("%v by the interface that does not count", a)
		}
		return nil
	})
}

func hostLinks(t *testing.T) *netlink.Handle {
	t.Helper()
	h, err := netlink.NewHandle()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}
