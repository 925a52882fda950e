package capture

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Line is a frame in words, about as tcpdump has them.
func (f Frame) Line() string {
	arrow := "to guest  "
	if f.FromGuest {
		arrow = "from guest"
	}
	return fmt.Sprintf("%s %s %s", f.Time.Format("15:04:05.000000"), arrow, describe(f.Bytes, f.Size))
}

func describe(b []byte, size int) string {
	if len(b) < 14 {
		return fmt.Sprintf("%d bytes, too short for Ethernet", size)
	}
	body := b[14:]
	switch kind := binary.BigEndian.Uint16(b[12:]); kind {
	case 0x0800:
		return describeIP(body)
	case 0x0806:
		return describeARP(body)
	default:
		return fmt.Sprintf("%v > %v type %#04x, %d bytes", net.HardwareAddr(b[6:12]), net.HardwareAddr(b[:6]), kind, size)
	}
}

func describeARP(b []byte) string {
	if len(b) < 28 {
		return "ARP cut short"
	}
	sender, target := netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
	if op := binary.BigEndian.Uint16(b[6:]); op != 1 {
		return fmt.Sprintf("ARP answer (%d): %v is at %v", op, sender, net.HardwareAddr(b[8:14]))
	}
	return fmt.Sprintf("ARP who has %v, tell %v", target, sender)
}

func describeIP(b []byte) string {
	if len(b) < 20 || b[0]>>4 != 4 || int(b[0]&15)*4 < 20 || int(b[0]&15)*4 > len(b) {
		return fmt.Sprintf("IP with a broken header, %d bytes", len(b))
	}
	src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	rest, size := b[int(b[0]&15)*4:], int(binary.BigEndian.Uint16(b[2:]))-int(b[0]&15)*4
	if offset := binary.BigEndian.Uint16(b[6:]) & 0x1fff; offset != 0 {
		return fmt.Sprintf("IP %v > %v fragment at %d", src, dst, int(offset)*8)
	}
	switch protocol := b[9]; {
	case protocol == 6 && len(rest) >= 20:
		return describeTCP(src, dst, rest, size)
	case protocol == 17 && len(rest) >= 8:
		return fmt.Sprintf("UDP %v > %v, %d bytes", netip.AddrPortFrom(src, binary.BigEndian.Uint16(rest)), netip.AddrPortFrom(dst, binary.BigEndian.Uint16(rest[2:])), size-8)
	case protocol == 1 && len(rest) >= 4:
		return fmt.Sprintf("ICMP %v > %v type %d code %d", src, dst, rest[0], rest[1])
	default:
		return fmt.Sprintf("IP %v > %v protocol %d, %d bytes", src, dst, protocol, size)
	}
}

func describeTCP(src, dst netip.Addr, b []byte, size int) string {
	var flags strings.Builder
	for i, c := range "FSRPAUEC" { // RFC 9293 section 3.1, from the lowest bit
		if b[13]>>i&1 != 0 {
			flags.WriteRune(c)
		}
	}
	return fmt.Sprintf("TCP %v > %v [%s] seq %d ack %d win %d, %d bytes", netip.AddrPortFrom(src, binary.BigEndian.Uint16(b)), netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:])),
		flags.String(), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint16(b[14:]), size-int(b[12]>>4)*4)
}
