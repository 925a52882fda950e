package packet

// UDP is a UDP datagram or its header (RFC 768):
//
//	 0               2               4               6               8
//	+---------------+---------------+---------------+---------------+
//	|  Source port  |   Dest. port  |    Length     |   Checksum    |
//	+---------------+---------------+---------------+---------------+
type UDP []byte

// UDP sizes in bytes.
const (
	UDPSize = 8
	MaxUDP  = 0xffff - IPv4Size - UDPSize // payload
	udpSum  = 6
)

// UDPSumOffset is what virtio_net_hdr wants to know of a UDP header.
const UDPSumOffset = udpSum

// ParseUDP returns the datagram in a packet's payload, cut to its own length;
// nil when the lengths do not hold, the checksum is wrong, or it is for port 0.
func ParseUDP(p *Packet) UDP {
	b := UDP(p.Payload)
	if len(b) < UDPSize || b.Length() < UDPSize || b.Length() > len(b) || b.DestinationPort() == 0 {
		return nil
	}
	b = b[:b.Length()]
	if p.Summed || be16(b[udpSum:]) == 0 { // 0: the sender made no checksum
		return b
	}
	if Pseudo(p.IP.Source(), p.IP.Destination(), ProtoUDP, len(b)).Add(SumOf(b)) != 0xffff {
		return nil
	}
	return b
}

// SourcePort returns the sender's port.
func (b UDP) SourcePort() uint16 { return be16(b) }

// DestinationPort returns the receiver's port.
func (b UDP) DestinationPort() uint16 { return be16(b[2:]) }

// Length is that of header and payload, in bytes.
func (b UDP) Length() int { return int(be16(b[4:])) }

// Payload is what follows the header.
func (b UDP) Payload() []byte { return b[UDPSize:] }

// Set writes a header; length is that of header and payload, sum goes into the
// checksum field as it is.
func (b UDP) Set(src, dst uint16, length int, sum uint16) {
	_ = b[UDPSize-1]
	putBE16(b, src)
	putBE16(b[2:], dst)
	putBE16(b[4:], uint16(length))
	putBE16(b[udpSum:], sum)
}
