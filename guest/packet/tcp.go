package packet

// TCP is a TCP segment or its header (RFC 9293 section 3.1):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-------------------------------+-------------------------------+
//	|          Source port          |       Destination port        |
//	+-------------------------------+-------------------------------+
//	|                        Sequence number                        |
//	+---------------------------------------------------------------+
//	|                    Acknowledgment number                      |
//	+-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
//	|  Data |       |C|E|U|A|P|R|S|F|                               |
//	| offset|       |W|C|R|C|S|S|Y|I|            Window             |
//	|       |       |R|E|G|K|H|T|N|N|                               |
//	+-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
//	|           Checksum            |         Urgent pointer        |
//	+-------------------------------+-------------------------------+
//	|                            Options                            |
//	+---------------------------------------------------------------+
type TCP []byte

// TCP sizes in bytes.
const (
	TCPSize    = 20
	MaxTCPSize = 60
	tcpSum     = 16
)

// Flags are the control bits of TCP.
type Flags uint8

const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
)

// Has tells whether any of the bits is set.
func (f Flags) Has(bits Flags) bool { return f&bits != 0 }

// ParseTCP returns the segment in a packet's payload, nil when its lengths do
// not hold, its checksum is wrong, or it has a port 0.
func ParseTCP(p *Packet) TCP {
	b := TCP(p.Payload)
	if len(b) < TCPSize || b.HeaderLength() < TCPSize || b.HeaderLength() > len(b) {
		return nil
	}
	if b.SourcePort() == 0 || b.DestinationPort() == 0 {
		return nil
	}
	if !p.Summed && Pseudo(p.IP.Source(), p.IP.Destination(), ProtoTCP, len(b)).Add(SumOf(b)) != 0xffff {
		return nil
	}
	return b
}

// SourcePort returns the sender's port.
func (b TCP) SourcePort() uint16 { return be16(b) }

// DestinationPort returns the receiver's port.
func (b TCP) DestinationPort() uint16 { return be16(b[2:]) }

// Seq is the number of the first byte of the payload, or of the SYN.
func (b TCP) Seq() uint32 { return be32(b[4:]) }

// Ack is the next number that the sender expects.
func (b TCP) Ack() uint32 { return be32(b[8:]) }

// HeaderLength is in bytes, options included.
func (b TCP) HeaderLength() int { return int(b[12]>>4) * 4 }

// Flags returns the control bits.
func (b TCP) Flags() Flags { return Flags(b[13]) }

// Window is as it stands, not scaled.
func (b TCP) Window() uint16 { return be16(b[14:]) }

// Payload is what follows the options.
func (b TCP) Payload() []byte { return b[b.HeaderLength():] }

// TCPFields are what Set writes.
type TCPFields struct {
	SourcePort, DestinationPort uint16
	Seq, Ack                    uint32
	Flags                       Flags
	Window                      uint16
}

// Set writes a header without options and with no checksum yet.
func (b TCP) Set(f *TCPFields) {
	_ = b[TCPSize-1]
	putBE16(b, f.SourcePort)
	putBE16(b[2:], f.DestinationPort)
	putBE32(b[4:], f.Seq)
	putBE32(b[8:], f.Ack)
	b[12], b[13] = TCPSize/4<<4, byte(f.Flags)
	putBE16(b[14:], f.Window)
	putBE32(b[16:], 0)
}

// SetOptions writes options behind the header and returns its new length, a
// multiple of 4.
func (b TCP) SetOptions(o *Options) int {
	n := TCPSize + o.put(b[TCPSize:MaxTCPSize])
	b[12] = byte(n/4) << 4
	return n
}

// SetSum writes the checksum field: a whole checksum, or the sum of the pseudo
// header where the host will complete it.
func (b TCP) SetSum(v uint16) { putBE16(b[tcpSum:], v) }

// TCPSumOffset is what virtio_net_hdr wants to know of a TCP header.
const TCPSumOffset = tcpSum
