package socket

import (
	"sync"
	"syscall"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/inet"
	door "github.com/dewpaas/dew/guest/syscall"
)

// init gives the families to the system calls, when this process is a guest.
func init() {
	if c := door.Config(); c != nil {
		n := New(c)
		door.RegisterFamily(syscall.AF_INET, n.Open)
		door.RegisterFamily(syscall.AF_NETLINK, openNetlink(&n.network))
		door.RegisterFamily(syscall.AF_PACKET, refuse)
	}
}

func refuse(int, int) (fd.Socket, syscall.Errno) { return nil, syscall.EPERM }

// Net is a guest's network as its sockets see it.
type Net struct {
	network
	stack func() *inet.Stack
	told  announced
}

// New makes the network that a boot record describes.
func New(c *boot.Config) *Net {
	return &Net{network: newNetwork(c), stack: sync.OnceValue(func() *inet.Stack {
		return inet.New(inet.Config{NIC: c.NIC, Seed: c.Seed, Memory: inet.MemoryFor(c.MemoryLimit)})
	})}
}

// Open is socket(2) for AF_INET.
func (n *Net) Open(typ, proto int) (fd.Socket, syscall.Errno) {
	switch {
	case typ == syscall.SOCK_STREAM && (proto == 0 || proto == syscall.IPPROTO_TCP):
		return newTCP(n, n.stack().NewTCP()), 0
	case typ == syscall.SOCK_DGRAM && (proto == 0 || proto == syscall.IPPROTO_UDP):
		return newUDP(n, n.stack().NewUDP()), 0
	case typ == syscall.SOCK_RAW:
		return nil, syscall.EPERM
	case typ == syscall.SOCK_STREAM || typ == syscall.SOCK_DGRAM:
		return nil, syscall.EPROTONOSUPPORT // IPPROTO_MPTCP, upon which package net takes TCP; IPPROTO_ICMP
	}
	return nil, syscall.ESOCKTNOSUPPORT
}
