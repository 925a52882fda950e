package breach

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"

	"github.com/dewpaas/dew/abi"
)

// Frames as attackers make them: nothing is checked, all can be wrong.

// Protocol and EtherType numbers (IANA).
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
	etherTest = 0x88b5 // for local experiments

	protoICMP   = 1
	protoIGMP   = 2
	protoIPIP   = 4
	protoTCP    = 6
	protoUDP    = 17
	protoGRE    = 47
	protoICMPv6 = 58

	flagSYN = 2
	flagACK = 16
)

type mac [6]byte

func broadcast() mac { return mac{255, 255, 255, 255, 255, 255} }

// ether is a frame.
func ether(to, from mac, kind uint16, payload []byte) []byte {
	b := append(append([]byte{}, to[:]...), from[:]...)
	return append(binary.BigEndian.AppendUint16(b, kind), payload...)
}

// checksum of RFC 1071.
func checksum(parts ...[]byte) uint16 {
	sum := uint32(0)
	for _, b := range parts {
		for i := 0; i < len(b); i += 2 {
			if i+1 < len(b) {
				sum += uint32(b[i])<<8 | uint32(b[i+1])
			} else {
				sum += uint32(b[i]) << 8
			}
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// packet is IPv4. change, where it is not nil, spoils the header before it gets
// its checksum.
type packet struct {
	from, to netip.Addr
	protocol byte
	payload  []byte
	options  []byte // a multiple of 4 bytes
	fragment uint16 // flags and offset
	change   func(header []byte)
}

func (p packet) bytes() []byte {
	n := 20 + len(p.options)
	b := make([]byte, n, n+len(p.payload))
	b[0], b[8], b[9] = 0x40|byte(n/4), 64, p.protocol
	binary.BigEndian.PutUint16(b[2:], uint16(n+len(p.payload)))
	binary.BigEndian.PutUint16(b[4:], 0x1dea)
	binary.BigEndian.PutUint16(b[6:], p.fragment)
	copy(b[12:], p.from.AsSlice())
	copy(b[16:], p.to.AsSlice())
	copy(b[20:], p.options)
	if p.change != nil {
		p.change(b)
	}
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return append(b, p.payload...)
}

// pseudo is what transport checksums include of IPv4.
func pseudo(from, to netip.Addr, protocol byte, n int) []byte {
	b := append(from.AsSlice(), to.AsSlice()...)
	return append(b, 0, protocol, byte(n>>8), byte(n))
}

func udp(from, to netip.AddrPort, payload []byte) packet {
	b := binary.BigEndian.AppendUint16(nil, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	b = append(append(b, 0, 0), payload...)
	binary.BigEndian.PutUint16(b[6:], checksum(pseudo(from.Addr(), to.Addr(), protoUDP, len(b)), b))
	return packet{from: from.Addr(), to: to.Addr(), protocol: protoUDP, payload: b}
}

// tcp is a segment without options.
func tcp(from, to netip.AddrPort, flags byte, payload []byte) packet {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, from.Port())
	binary.BigEndian.PutUint16(b[2:], to.Port())
	binary.BigEndian.PutUint32(b[4:], 0x1000)
	b[12], b[13], b[14] = 5<<4, flags, 0x20
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[16:], checksum(pseudo(from.Addr(), to.Addr(), protoTCP, len(b)), b))
	return packet{from: from.Addr(), to: to.Addr(), protocol: protoTCP, payload: b}
}

func icmp(from, to netip.Addr, kind byte, payload []byte) packet {
	b := append([]byte{kind, 0, 0, 0, 0, 1, 0, 1}, payload...)
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return packet{from: from, to: to, protocol: protoICMP, payload: b}
}

// arp for IPv4 over Ethernet, with a text behind it, where there is padding.
func arp(op byte, senderMAC mac, sender netip.Addr, targetMAC mac, target netip.Addr, text string) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, op}
	b = append(append(b, senderMAC[:]...), sender.AsSlice()...)
	b = append(append(b, targetMAC[:]...), target.AsSlice()...)
	return append(b, text...)
}

// ip6 is an IPv6 packet from one link-local address to another address.
func ip6(to netip.Addr, next byte, payload []byte) []byte {
	from := netip.MustParseAddr("fe80::66")
	b := []byte{0x60, 0, 0, 0, byte(len(payload) >> 8), byte(len(payload)), next, 255}
	b = append(append(b, from.AsSlice()...), to.AsSlice()...)
	if next == protoICMPv6 {
		head := append(append([]byte{}, b[8:40]...), 0, 0, byte(len(payload)>>8), byte(len(payload)), 0, 0, 0, next)
		binary.BigEndian.PutUint16(payload[2:], checksum(head, payload))
	}
	return append(b, payload...)
}

// virtio is the header in front of a frame: VIRTIO 1.2 section 5.1.6.
type virtio struct {
	flags, gso                       byte
	length, size, start, offset, num uint16
}

func (v virtio) bytes() []byte {
	b := []byte{v.flags, v.gso}
	for _, n := range []uint16{v.length, v.size, v.start, v.offset, v.num} {
		b = binary.LittleEndian.AppendUint16(b, n)
	}
	return b[:abi.VNetHeaderSize]
}

// wired is a frame as the attacker writes it, for the step "send".
func wired(v virtio, frame []byte) string { return hex.EncodeToString(append(v.bytes(), frame...)) }
