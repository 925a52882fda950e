package vnet

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/vnet/offload"
)

// Gateway of every vNIC. Link-local, so that it can collide with no guest.
var Gateway = netip.AddrFrom4([4]byte{169, 254, 0, 1})

// GatewayMAC of every vNIC: locally administered.
var GatewayMAC = [6]byte{0x02, 0xde, 0x77, 0, 0, 1}

// DefaultMTU is what guests get on their vNIC, in bytes of IP packet.
const DefaultMTU = 1500

// Network is a network namespace for guests.
type Network struct {
	space netns.NsHandle
	links *netlink.Handle
	guard *offload.Guard // nil unless GuardOffloads was called
}

// New makes an empty network with nothing but a loopback.
func New() (*Network, error) {
	space, err := newSpace()
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("make a network namespace: %w: run dew as root", err)
	}
	if err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	links, err := netlink.NewHandleAt(space, unix.NETLINK_ROUTE, unix.NETLINK_INET_DIAG)
	if err != nil {
		space.Close()
		return nil, fmt.Errorf("open netlink in the network: %w", err)
	}
	n := &Network{space: space, links: links}
	if err := n.prepare(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// newSpace makes a namespace on a thread that dies with its goroutine, because
// the thread is left inside.
func newSpace() (netns.NsHandle, error) {
	type result struct {
		space netns.NsHandle
		err   error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread()
		space, err := netns.New()
		made <- result{space, err}
	}()
	r := <-made
	return r.space, r.err
}

func (n *Network) prepare() error {
	lo, err := n.links.LinkByName("lo")
	if err == nil {
		err = n.links.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("prepare the network: %w", err)
	}
	return n.sysctl(map[string]string{
		"ipv6/conf/all/disable_ipv6":     "1",
		"ipv6/conf/default/disable_ipv6": "1",
		"ipv4/conf/all/rp_filter":        "1",
		"ipv4/conf/default/rp_filter":    "1",
	})
}

// Close lets go of the network.
func (n *Network) Close() error {
	n.links.Close()
	var err error
	if n.guard != nil {
		err = n.guard.Close()
	}
	return errors.Join(err, n.space.Close())
}

// Within runs f on a thread that is inside the network. What f opens there stays
// inside; goroutines that it starts are not.
func (n *Network) Within(f func() error) error {
	runtime.LockOSThread()
	outside, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer outside.Close()
	if err := netns.Set(n.space); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the network: %w", err)
	}
	failed := f()
	if err := netns.Set(outside); err != nil {
		return fmt.Errorf("leave the network: %w", err) // the thread stays locked and dies with its goroutine
	}
	runtime.UnlockOSThread()
	return failed
}

// sysctl writes settings below /proc/sys/net, which shows the namespace of the
// thread that looks. A kernel without IPv6 has nothing to turn off.
func (n *Network) sysctl(settings map[string]string) error {
	return n.Within(func() error {
		for name, value := range settings {
			err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0)
			if err != nil && !(errors.Is(err, fs.ErrNotExist) && name[:4] == "ipv6") {
				return fmt.Errorf("set sysctl: %w", err)
			}
		}
		return nil
	})
}

// VNIC is what a guest's network card looks like from outside.
type VNIC struct {
	Name string // of the tap, at most 15 bytes
	Addr netip.Addr
	MAC  [6]byte
	MTU  int
}

// AddTap makes the tap of a guest and returns it open. It is gone when the last
// of those who hold it closes it. The functions in beforeUp run when the tap is
// there and nothing can pass it yet: locks go on before the door is hung.
func (n *Network) AddTap(v VNIC, beforeUp ...func() error) (*os.File, error) {
	var tap *os.File
	err := n.Within(func() (err error) {
		tap, err = openTap(v.Name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make tap %s: %w", v.Name, err)
	}
	if err := n.configure(v, beforeUp); err != nil {
		tap.Close()
		return nil, fmt.Errorf("configure tap %s: %w", v.Name, err)
	}
	return tap, nil
}

func openTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENODEV, unix.ENXIO:
		return nil, fmt.Errorf("open /dev/net/tun: %w: load the kernel module with `modprobe tun`", err)
	default:
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	if err := shapeTap(fd, name); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// shapeTap agrees on the header of package abi, and that frames may come with
// an unfinished checksum and larger than the MTU: the two offloads that make
// bulk traffic an order of magnitude cheaper.
func shapeTap(fd int, name string) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return fmt.Errorf("TUNSETIFF: %w", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, abi.VNetHeaderSize); err != nil {
		return fmt.Errorf("TUNSETVNETHDRSZ: %w", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETLE, 1); err != nil {
		return fmt.Errorf("TUNSETVNETLE: %w", err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4); err != nil {
		return fmt.Errorf("TUNSETOFFLOAD: %w", err)
	}
	return nil
}

// queueLength of a tap, in frames: a burst of a full TCP window of small
// segments waits here while the guest is not scheduled.
const queueLength = 1000

func (n *Network) configure(v VNIC, beforeUp []func() error) error {
	link, err := n.links.LinkByName(v.Name)
	if err != nil {
		return err
	}
	index := link.Attrs().Index
	gateway, guest := only(Gateway), only(v.Addr)
	// Not the gateway address on each tap: the same address on many links is
	// lawful, and then each knows its source without a shared bridge.
	steps := []struct {
		name string
		do   func() error
	}{
		{"set MAC", func() error { return n.links.LinkSetHardwareAddr(link, GatewayMAC[:]) }},
		{"set MTU", func() error { return n.links.LinkSetMTU(link, v.MTU) }},
		{"set queue length", func() error { return n.links.LinkSetTxQLen(link, queueLength) }},
		{"no ARP", func() error { return n.links.LinkSetARPOff(link) }},
		{"set address", func() error { return n.links.AddrAdd(link, &netlink.Addr{IPNet: gateway}) }},
		{"guard", func() error { return n.attachGuard(link) }},
		{"prepare", func() error { return all(beforeUp) }},
		{"set up", func() error { return n.links.LinkSetUp(link) }},
		{"add route", func() error {
			return n.links.RouteAdd(&netlink.Route{LinkIndex: index, Dst: guest, Src: gateway.IP, Scope: netlink.SCOPE_LINK})
		}},
		{"add neighbour", func() error {
			return n.links.NeighSet(&netlink.Neigh{LinkIndex: index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT,
				IP: guest.IP, HardwareAddr: v.MAC[:]})
		}},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func all(list []func() error) error {
	for _, f := range list {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// only is the network that holds nothing but a.
func only(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(32, 32)}
}

// Space opens the network namespace itself, for tests and measurements that
// run programs in it. The caller closes it.
func (n *Network) Space() (netns.NsHandle, error) {
	fd, err := unix.FcntlInt(uintptr(n.space), unix.F_DUPFD_CLOEXEC, 0)
	return netns.NsHandle(fd), err
}
