package packet

// ICMP is an ICMP message (RFC 792):
//
//	 0               1               2               4               8
//	+---------------+---------------+---------------+---------------+------
//	|     Type      |     Code      |   Checksum    | depends: MTU  | data
//	+---------------+---------------+---------------+---------------+------
type ICMP []byte

// ICMPSize is the length of the header, in bytes.
const ICMPSize = 8

// Types and codes of ICMP.
const (
	ICMPEchoReply   = 0
	ICMPUnreachable = 3
	ICMPEcho        = 8
	ICMPTimeExceed  = 11

	CodeNet        = 0
	CodeHost       = 1
	CodeProtocol   = 2
	CodePort       = 3
	CodeFragNeeded = 4
)

// ParseICMP returns the message in a packet's payload, nil when it is short or
// its checksum is wrong.
func ParseICMP(p *Packet) ICMP {
	b := ICMP(p.Payload)
	if len(b) < ICMPSize || SumOf(b) != 0xffff {
		return nil
	}
	return b
}

// Type returns the type.
func (b ICMP) Type() uint8 { return b[0] }

// Code returns the code, whose meaning depends on the type.
func (b ICMP) Code() uint8 { return b[1] }

// MTU is the next hop's, of CodeFragNeeded (RFC 1191 section 4); 0 from old routers.
func (b ICMP) MTU() int { return int(be16(b[6:])) }

// Payload is what follows the header.
func (b ICMP) Payload() []byte { return b[ICMPSize:] }

// SetSum writes the checksum over what stands in b.
func (b ICMP) SetSum() {
	putBE16(b[2:], 0)
	putBE16(b[2:], ^uint16(SumOf(b)))
}

// Set writes the first eight bytes; SetSum must follow.
func (b ICMP) Set(typ, code uint8, rest uint32) {
	_ = b[ICMPSize-1]
	b[0], b[1] = typ, code
	putBE32(b[4:], rest)
}

// Quoted is the packet that an ICMP error tells of: its header and the first
// eight bytes behind it are there, the rest may be cut off.
type Quoted struct {
	IP                          IPv4
	SourcePort, DestinationPort uint16
	Seq                         uint32 // of a TCP segment
}

// Quoted reads the packet in an ICMP error. Its checksum and total length are
// not checked: routers change the one and cut the other.
func (b ICMP) Quoted(q *Quoted) bool {
	ip := IPv4(b.Payload())
	if len(ip) < IPv4Size || ip[0]>>4 != 4 {
		return false
	}
	n := ip.HeaderLength()
	if n < IPv4Size || len(ip) < n+8 || ip.FragmentOffset() != 0 {
		return false
	}
	t := ip[n:]
	*q = Quoted{ip[:n], be16(t), be16(t[2:]), be32(t[4:])}
	return true
}
