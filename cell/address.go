package cell

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"

	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/vnet"
)

// addresses gives out the addresses of a network, each again only after all
// others: what still arrives for the one before does not reach the next.
type addresses struct {
	prefix netip.Prefix

	mu   sync.Mutex // guards what follows
	used map[netip.Addr]bool
	last uint32 // offset of the last one given out
}

// firstHost leaves the network's own address and a router's out.
const firstHost = 2

func newAddresses(p netip.Prefix) *addresses {
	return &addresses{prefix: p.Masked(), used: map[netip.Addr]bool{}, last: firstHost - 1}
}

func (a *addresses) size() uint32 { return 1 << (32 - a.prefix.Bits()) }

// at is the address with an offset.
func (a *addresses) at(offset uint32) netip.Addr {
	base := a.prefix.Addr().As4()
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(base[:])+offset)
	return netip.AddrFrom4(b)
}

// give takes a free address.
func (a *addresses) give() (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for range a.size() {
		a.last++
		if a.last >= a.size()-1 { // the last is the broadcast address
			a.last = firstHost
		}
		if n := a.at(a.last); !a.used[n] {
			a.used[n] = true
			return n, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("all %d addresses of %s are in use", a.size(), a.prefix)
}

// take takes the address of a guest that is there already.
func (a *addresses) take(n netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.prefix.Contains(n) || a.used[n] {
		return false
	}
	a.used[n] = true
	return true
}

func (a *addresses) free(n netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.used, n)
}

// nic is the card of the guest with an address: its name and its MAC are the
// address in other words, so they are unique while it is.
func nic(n netip.Addr) vnet.VNIC {
	b := n.As4()
	return vnet.VNIC{Name: fmt.Sprintf("%s%02x%02x%02x%02x", firewall.Prefix, b[0], b[1], b[2], b[3]), Addr: n,
		MAC: [6]byte{0x02, 0xde, b[0], b[1], b[2], b[3]}, MTU: vnet.DefaultMTU}
}
