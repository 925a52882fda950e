package socket

import (
	"syscall"

	"github.com/dewpaas/dew/guest/inet"
)

// Control implements fd.Controller: what netdevice(7) and tcp(7) list for
// asking. arg is struct ifreq, a name of 16 bytes and a union, or an int; for
// SIOCGIFCONF it is an int for the length of the list and the list.
func (s *socket) Control(request uint32, arg []byte) syscall.Errno {
	if request == siocOutQ {
		return s.unsent(arg)
	}
	return s.net.control(request, arg)
}

// Control implements fd.Controller.
func (s *Netlink) Control(request uint32, arg []byte) syscall.Errno {
	return s.net.control(request, arg)
}

// unsent is SIOCOUTQ.
func (s *socket) unsent(arg []byte) syscall.Errno {
	n := 0
	if end, ok := s.endpoint.(*inet.TCP); ok {
		if end.Listening() {
			return syscall.EINVAL
		}
		n = end.Unacked()
	}
	putInt(arg, n)
	return 0
}

const (
	ifreqSize = 40
	ifreqName = 16 // IFNAMSIZ
)

func (n *network) control(request uint32, arg []byte) syscall.Errno {
	switch {
	case request == siocGIFCONF:
		return n.list(arg)
	case request < siocGIFNAME || request > siocGIFMAP:
		return syscall.ENOTTY
	case len(arg) < ifreqSize:
		return syscall.EFAULT
	case request == siocGIFNAME:
		l := n.byIndex(int32(get32(arg[ifreqName:])))
		if l == nil {
			return syscall.ENODEV
		}
		clear(arg[:ifreqName])
		copy(arg, l.name)
		return 0
	}
	l := n.byName(cString(arg[:ifreqName]))
	if l == nil {
		return syscall.ENODEV
	}
	return l.answer(request, arg[ifreqName:ifreqSize])
}

// answer fills the union of a struct ifreq. Requests that set are refused.
func (l *link) answer(request uint32, u []byte) syscall.Errno {
	address := func(a [4]byte) {
		clear(u[:16])
		putAddress(u, inet.Addr{IP: a})
	}
	switch request {
	case siocGIFFLAGS:
		put16(u, uint16(l.flags))
	case siocGIFADDR, siocGIFDSTADDR:
		address(l.addr)
	case siocGIFBRDADDR:
		address([4]byte{})
	case siocGIFNETMASK:
		mask := ^uint32(0) << (32 - l.bits)
		address([4]byte{byte(mask >> 24), byte(mask >> 16), byte(mask >> 8), byte(mask)})
	case siocGIFHWADDR:
		clear(u[:16])
		put16(u, l.kind)
		copy(u[2:], l.mac[:])
	case siocGIFMTU:
		put32(u, l.mtu)
	case siocGIFMETRIC:
		put32(u, 0)
	case siocGIFINDEX:
		put32(u, uint32(l.index))
	case siocGIFTXQLEN:
		put32(u, 1000)
	case siocGIFMAP:
		clear(u)
	case siocETHTOOL:
		return syscall.EOPNOTSUPP
	default:
		return syscall.EPERM
	}
	return 0
}

// list is SIOCGIFCONF.
func (n *network) list(arg []byte) syscall.Errno {
	if len(arg) < 4+len(n.links)*ifreqSize {
		return syscall.EFAULT
	}
	put32(arg, uint32(len(n.links)*ifreqSize))
	for i, l := range n.links {
		r := arg[4+i*ifreqSize:][:ifreqSize]
		clear(r)
		copy(r, l.name)
		putAddress(r[ifreqName:], inet.Addr{IP: l.addr})
	}
	return 0
}
