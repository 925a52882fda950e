package socket

import (
	"syscall"

	"github.com/dewpaas/dew/guest/inet"
)

// Control messages that a program can ask for, as bits of socket.wants.
const (
	wantPktInfo = 1 << iota
	wantTTL
	wantTOS
	wantOrigDst
)

// cmsgHeader is the length of struct cmsghdr: u64 length, int level, int type.
const cmsgHeader = 16

// cmsgWriter writes control messages (cmsg(3)).
type cmsgWriter struct {
	b   []byte
	n   int  // bytes written
	cut bool // one did not fit
}

func (w *cmsgWriter) put(level, kind uint32, value []byte) {
	size := cmsgHeader + len(value)
	if w.n+size > len(w.b) {
		w.cut = true
		return
	}
	b := w.b[w.n:]
	put32(b, uint32(size))
	put32(b[4:], 0)
	put32(b[8:], level)
	put32(b[12:], kind)
	copy(b[cmsgHeader:], value)
	end := min(w.n+align8(size), len(w.b))
	clear(w.b[w.n+size : end])
	w.n = end
}

// meta writes what came with a datagram, in the order of ip_cmsg_recv_offset
// of net/ipv4/ip_sockglue.c.
func (w *cmsgWriter) meta(s *UDP, m inet.Meta) {
	wants := s.wants.Load()
	if wants&wantPktInfo != 0 {
		var info [12]byte // struct in_pktinfo: interface, local address, address of the header
		put32(info[:], uint32(s.net.arrival(m)))
		copy(info[4:], m.To[:])
		copy(info[8:], m.To[:])
		w.put(syscall.IPPROTO_IP, syscall.IP_PKTINFO, info[:])
	}
	if wants&wantTTL != 0 {
		w.put(syscall.IPPROTO_IP, syscall.IP_TTL, []byte{m.TTL, 0, 0, 0})
	}
	if wants&wantTOS != 0 {
		w.put(syscall.IPPROTO_IP, syscall.IP_TOS, []byte{m.TOS})
	}
	if wants&wantOrigDst != 0 {
		var to [syscall.SizeofSockaddrInet4]byte
		putAddress(to[:], inet.Addr{IP: m.To, Port: s.end.Local().Port})
		w.put(syscall.IPPROTO_IP, ipOrigDstAddr, to[:])
	}
}

// arrival is the interface that a datagram came in on.
func (n *network) arrival(m inet.Meta) int32 {
	if n.local(m.From.IP) || n.nic() == nil {
		return loIndex
	}
	return nicIndex
}

// wish is what the control messages of one send ask for.
type wish struct {
	inet.Hints
	segment int // UDP_SEGMENT
}

// parse reads the program's control messages. It is their one door. Unknown
// ones of IP are refused, those of other levels passed over, as
// ip_cmsg_send and udp_cmsg_send do.
func (w *wish) parse(b []byte) syscall.Errno {
	for len(b) >= cmsgHeader {
		size := uint64(get32(b)) | uint64(get32(b[4:]))<<32
		if size < cmsgHeader || size > uint64(len(b)) {
			return syscall.EINVAL
		}
		if err := w.take(get32(b[8:]), get32(b[12:]), b[cmsgHeader:size]); err != 0 {
			return err
		}
		b = b[min(align8(int(size)), len(b)):]
	}
	return 0
}

func (w *wish) take(level, kind uint32, value []byte) syscall.Errno {
	switch {
	case level == syscall.IPPROTO_UDP && kind == udpSegment:
		if len(value) != 2 {
			return syscall.EINVAL
		}
		w.segment = int(get16(value))
	case level == syscall.SOL_SOCKET && kind == syscall.SCM_RIGHTS:
		return syscall.EINVAL // Unix sockets alone carry them
	case level != syscall.IPPROTO_IP:
	case kind == syscall.IP_PKTINFO:
		if len(value) != 12 {
			return syscall.EINVAL
		}
		w.From = [4]byte(value[4:8])
	case kind == syscall.IP_TTL:
		if len(value) != 4 || get32(value) < 1 || get32(value) > 255 {
			return syscall.EINVAL
		}
		w.TTL = value[0]
	case kind == syscall.IP_TOS:
		if len(value) != 1 && len(value) != 4 || len(value) == 4 && get32(value) > 255 {
			return syscall.EINVAL
		}
		w.TOS, w.HasTOS = value[0], true
	default:
		return syscall.EINVAL
	}
	return 0
}
