package packet

// What stands in front of the IPv4 packet, in bytes.
const (
	VNetSize     = 12 // abi.VNetHeaderSize
	EthernetSize = 14
	LinkSize     = VNetSize + EthernetSize
)

// VNet is struct virtio_net_hdr, little endian (VIRTIO 1.2 section 5.1.6):
//
//	 0      1          2         4         6            8              10
//	+------+----------+---------+---------+------------+--------------+-------------+
//	|flags | GSO type | hdr len | GSO size| csum start | csum offset  | num buffers |
//	+------+----------+---------+---------+------------+--------------+-------------+
type VNet []byte

// Flags and GSO types of VNet.
const (
	NeedsSum  = 1 // the checksum field holds the pseudo header's sum only
	DataValid = 2 // the checksum was verified
	GSONone   = 0
	GSOTCPv4  = 1
)

// Flags returns the flags.
func (h VNet) Flags() uint8 { return h[0] }

// GSOType tells how the frame is to be cut.
func (h VNet) GSOType() uint8 { return h[1] }

// HeaderLength is where the payload of each cut begins, counted from Ethernet.
func (h VNet) HeaderLength() int { return int(le16(h[2:])) }

// GSOSize is the payload of each cut, in bytes.
func (h VNet) GSOSize() int { return int(le16(h[4:])) }

// SumStart is where summing begins, counted from Ethernet.
func (h VNet) SumStart() int { return int(le16(h[6:])) }

// SumOffset is where the sum goes, counted from SumStart.
func (h VNet) SumOffset() int { return int(le16(h[8:])) }

// Set writes the whole header. With gsoSize 0 the frame is not cut.
func (h VNet) Set(sumStart, sumOffset, headerLength, gsoSize int) {
	_ = h[VNetSize-1]
	h[0], h[1] = NeedsSum, GSONone
	if gsoSize > 0 {
		h[1] = GSOTCPv4
	}
	putLE16(h[2:], uint16(headerLength))
	putLE16(h[4:], uint16(gsoSize))
	putLE16(h[6:], uint16(sumStart))
	putLE16(h[8:], uint16(sumOffset))
	putLE16(h[10:], 0)
}

// Clear makes the header say that the frame is complete as it is.
func (h VNet) Clear() { clear(h[:VNetSize]) }

// Ethernet is an Ethernet II header:
//
//	 0               6               12      14
//	+---------------+---------------+-------+
//	|  destination  |    source     | type  |
//	+---------------+---------------+-------+
type Ethernet []byte

// TypeIPv4 is the ether type of IPv4.
const TypeIPv4 = 0x0800

// Destination returns the receiver's MAC.
func (e Ethernet) Destination() [6]byte { return [6]byte(e) }

// Source returns the sender's MAC.
func (e Ethernet) Source() [6]byte { return [6]byte(e[6:]) }

// Type returns the ether type.
func (e Ethernet) Type() uint16 { return be16(e[12:]) }

// Set writes the whole header of an IPv4 frame.
func (e Ethernet) Set(dst, src [6]byte) {
	copy(e, dst[:])
	copy(e[6:], src[:])
	putBE16(e[12:], TypeIPv4)
}

// Packet is a received IPv4 packet whose header has been checked. Its slices
// are of the frame.
type Packet struct {
	Ethernet Ethernet
	IP       IPv4   // header, options included
	Payload  []byte // behind it, without the link's padding
	Summed   bool   // the transport checksum needs no check
	GSOSize  int    // payload of each segment that the host put together; 0: one segment
}

// Open checks a frame behind its virtio_net_hdr and takes it apart. It returns
// false for what a host drops unseen.
func Open(frame []byte, p *Packet) bool {
	if len(frame) < LinkSize+IPv4Size {
		return false
	}
	vnet := VNet(frame[:VNetSize])
	p.Ethernet = Ethernet(frame[VNetSize:LinkSize])
	ip := IPv4(frame[LinkSize:])
	if p.Ethernet.Type() != TypeIPv4 || !ip.IsValid() {
		return false
	}
	n := ip.HeaderLength()
	p.IP, p.Payload = ip[:n], ip[n:ip.TotalLength()]
	p.GSOSize = 0
	if vnet.GSOType() != GSONone {
		p.GSOSize = vnet.GSOSize()
	}
	p.Summed = vnet.Flags()&DataValid != 0 ||
		vnet.Flags()&NeedsSum != 0 && vnet.SumStart() == EthernetSize+n && vnet.SumOffset() == sumField(ip.Protocol())
	return true
}

// sumField is where a protocol's checksum stands in its header, -1 for those
// that the host never leaves unfinished.
func sumField(proto uint8) int {
	switch proto {
	case ProtoTCP:
		return tcpSum
	case ProtoUDP:
		return udpSum
	}
	return -1
}
