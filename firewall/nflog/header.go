package nflog

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Header is who wrote to whom. Ports are those of TCP and UDP, Type and Code
// those of ICMP.
type Header struct {
	Src, Dst         netip.Addr
	Protocol         uint8
	SrcPort, DstPort uint16
	Type, Code       uint8
}

var errShort = errors.New("not an IPv4 packet with a whole header")

// The protocols whose beginning is read (IANA protocol numbers).
const (
	protoICMP    = 1
	protoTCP     = 6
	protoUDP     = 17
	protoSCTP    = 132
	protoUDPLite = 136
)

// Parse reads the headers at the beginning of a packet.
//
//	 0                   1                   2                   3
//	+-------+-------+---------------+-------------------------------+
//	|Version|  IHL  |Type of Service|          Total Length         |  RFC 791
//	+-------+-------+---------------+-------------------------------+
//	|         Identification        |Flags|      Fragment Offset    |
//	+---------------+---------------+-------------------------------+
//	|  Time to Live |    Protocol   |         Header Checksum       |
//	+---------------+---------------+-------------------------------+
//	|                       Source Address                          |
//	|                    Destination Address                        |
func Parse(b []byte) (h Header, err error) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return Header{}, errShort
	}
	size := int(b[0]&15) * 4
	if size < 20 || size > len(b) {
		return Header{}, errShort
	}
	h.Src, h.Dst, h.Protocol = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[9]
	if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		return h, nil // not the first fragment: no ports
	}
	rest := b[size:]
	switch h.Protocol {
	case protoTCP, protoUDP, protoSCTP, protoUDPLite:
		if len(rest) < 4 {
			return Header{}, errShort
		}
		h.SrcPort, h.DstPort = binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
	case protoICMP:
		if len(rest) < 2 {
			return Header{}, errShort
		}
		h.Type, h.Code = rest[0], rest[1]
	}
	return h, nil
}
