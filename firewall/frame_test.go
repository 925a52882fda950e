package firewall

import (
	"encoding/binary"
	"net/netip"
)

// The frames that tests send. Checksums are right, unless the test breaks them.

func sum(n uint32, b []byte) uint16 {
	for ; len(b) > 1; b = b[2:] {
		n += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		n += uint32(b[0]) << 8
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}

// ip4 is an IP packet (RFC 791).
func ip4(src, dst netip.Addr, protocol uint8, payload []byte) []byte {
	p := make([]byte, 20, 20+len(payload))
	p[0], p[8], p[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(p[2:], uint16(20+len(payload)))
	copy(p[12:], src.AsSlice())
	copy(p[16:], dst.AsSlice())
	return seal(append(p, payload...))
}

// seal makes the header checksum right.
func seal(p []byte) []byte {
	header := int(p[0]&15) * 4
	if header < 20 || header > len(p) {
		header = 20
	}
	p[10], p[11] = 0, 0
	binary.BigEndian.PutUint16(p[10:], ^sum(0, p[:header]))
	return p
}

// TCP flags.
const (
	fin = 1
	syn = 2
	rst = 4
	ack = 16
)

func tcpSegment(src, dst netip.Addr, from, to uint16, flags uint8, seq, acked uint32, data []byte) []byte {
	s := make([]byte, 20, 20+len(data))
	binary.BigEndian.PutUint16(s, from)
	binary.BigEndian.PutUint16(s[2:], to)
	binary.BigEndian.PutUint32(s[4:], seq)
	binary.BigEndian.PutUint32(s[8:], acked)
	s[12], s[13] = 0x50, flags
	binary.BigEndian.PutUint16(s[14:], 0xffff)
	s = append(s, data...)
	binary.BigEndian.PutUint16(s[16:], ^sum(pseudo(src, dst, protoTCP, len(s)), s))
	return ip4(src, dst, protoTCP, s)
}

func udpDatagram(src, dst netip.Addr, from, to uint16, data []byte) []byte {
	s := make([]byte, 8, 8+len(data))
	binary.BigEndian.PutUint16(s, from)
	binary.BigEndian.PutUint16(s[2:], to)
	binary.BigEndian.PutUint16(s[4:], uint16(8+len(data)))
	s = append(s, data...)
	binary.BigEndian.PutUint16(s[6:], ^sum(pseudo(src, dst, protoUDP, len(s)), s))
	return ip4(src, dst, protoUDP, s)
}

func icmpMessage(src, dst netip.Addr, kind, code uint8, rest ...byte) []byte {
	s := append([]byte{kind, code, 0, 0}, append(rest, make([]byte, max(0, 12-len(rest)))...)...)
	binary.BigEndian.PutUint16(s[2:], ^sum(0, s))
	return ip4(src, dst, protoICMP, s)
}

func pseudo(src, dst netip.Addr, protocol uint8, n int) uint32 {
	s, d := src.As4(), dst.As4()
	return uint32(sum(0, append(s[:], d[:]...))) + uint32(protocol) + uint32(n)
}

func ether(dst, src [6]byte, kind uint16, packet []byte) []byte {
	f := append(append([]byte(nil), dst[:]...), src[:]...)
	return append(binary.BigEndian.AppendUint16(f, kind), packet...)
}

// arp is an ARP packet (RFC 826).
func arp(op uint16, senderMAC [6]byte, sender netip.Addr, targetMAC [6]byte, target netip.Addr) []byte {
	p := []byte{0, 1, 8, 0, 6, 4}
	p = binary.BigEndian.AppendUint16(p, op)
	p = append(append(p, senderMAC[:]...), sender.AsSlice()...)
	return append(append(p, targetMAC[:]...), target.AsSlice()...)
}

// answerTo is the first packet that answers another one.
func answerTo(ip []byte) []byte {
	src, dst := netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
	rest := ip[int(ip[0]&15)*4:]
	from, to := binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
	switch ip[9] {
	case protoTCP:
		return tcpSegment(dst, src, to, from, syn|ack, 500, binary.BigEndian.Uint32(rest[4:])+1, nil)
	case protoUDP:
		return udpDatagram(dst, src, to, from, []byte("!"))
	}
	kind := map[byte]byte{8: 0, 13: 14}[rest[0]]
	return icmpMessage(dst, src, kind, rest[1], rest[4:8]...)
}
