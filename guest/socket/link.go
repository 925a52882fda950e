package socket

import (
	"syscall"

	"github.com/dewpaas/dew/abi/boot"
)

// link is one network interface as programs see it.
type link struct {
	index int32
	name  string
	flags uint32 // IFF_
	kind  uint16 // ARPHRD_
	mtu   uint32
	mac   [6]byte
	addr  [4]byte
	bits  uint8 // length of the prefix
}

const (
	loIndex  = 1
	nicIndex = 2

	loopbackMTU = 65536
)

// network is what a guest's network looks like from inside: its interfaces,
// and the gateway that is behind the vNIC.
type network struct {
	links      []link
	gateway    [4]byte
	gatewayMAC [6]byte
}

// newNetwork describes the network of a boot record, nil for none.
func newNetwork(c *boot.Config) network {
	n := network{links: []link{{
		index: loIndex, name: "lo", flags: syscall.IFF_UP | syscall.IFF_LOOPBACK | syscall.IFF_RUNNING,
		kind: syscall.ARPHRD_LOOPBACK, mtu: loopbackMTU, addr: [4]byte{127, 0, 0, 1}, bits: 8,
	}}}
	if c == nil || !c.HasNIC() {
		return n
	}
	n.gateway, n.gatewayMAC = c.NIC.Gateway, c.NIC.GatewayMAC
	n.links = append(n.links, link{
		// No IFF_BROADCAST and no IFF_MULTICAST: the wire has one other end.
		index: nicIndex, name: "eth0", flags: syscall.IFF_UP | syscall.IFF_RUNNING | syscall.IFF_NOARP,
		kind: syscall.ARPHRD_ETHER, mtu: uint32(c.NIC.MTU), mac: c.NIC.MAC, addr: c.NIC.Addr, bits: 32,
	})
	return n
}

// nic is the vNIC, nil without one.
func (n *network) nic() *link { return n.byIndex(nicIndex) }

func (n *network) byIndex(index int32) *link {
	for i := range n.links {
		if n.links[i].index == index {
			return &n.links[i]
		}
	}
	return nil
}

func (n *network) byName(name string) *link {
	for i := range n.links {
		if n.links[i].name == name {
			return &n.links[i]
		}
	}
	return nil
}

// local tells whether packets to an address do not leave the guest.
func (n *network) local(a [4]byte) bool {
	if a[0] == 127 {
		return true
	}
	nic := n.nic()
	return nic != nil && a == nic.addr
}
