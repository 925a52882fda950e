package packet

// IPv4 is an IPv4 packet or its header (RFC 791 section 3.1):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-------+-------+---------------+-------------------------------+
//	|Version|  IHL  |Type of service|         Total length          |
//	+-------+-------+---------------+-----+-------------------------+
//	|        Identification         |Flags|     Fragment offset     |
//	+---------------+---------------+-----+-------------------------+
//	| Time to live  |   Protocol    |        Header checksum        |
//	+---------------+---------------+-------------------------------+
//	|                        Source address                         |
//	+---------------------------------------------------------------+
//	|                     Destination address                       |
//	+-------------------------------------------------+-------------+
//	|                    Options                      |   Padding   |
//	+-------------------------------------------------+-------------+
type IPv4 []byte

// IPv4Size is the length of a header without options, in bytes.
const IPv4Size = 20

// Protocols.
const (
	ProtoICMP = 1
	ProtoTCP  = 6
	ProtoUDP  = 17
)

const (
	dontFragment  = 1 << 14
	moreFragments = 1 << 13
	offsetMask    = 1<<13 - 1
)

// IsValid tells whether the header and the lengths hold and nothing in it is
// refused. No other method may be called before, except on what Set wrote.
func (b IPv4) IsValid() bool {
	if len(b) < IPv4Size || b[0]>>4 != 4 {
		return false
	}
	n := b.HeaderLength()
	if n < IPv4Size || b.TotalLength() < n || b.TotalLength() > len(b) {
		return false
	}
	if b.FragmentOffset() > 0 && b.FragmentOffset()+b.TotalLength()-n > 0xffff {
		return false // the reassembled length would not fit: RFC 791's "ping of death"
	}
	return SumOf(b[:n]) == 0xffff && !b[IPv4Size:n].sourceRoute()
}

// sourceRoute tells whether the options hold a source route, which RFC 7126
// sections 4.3 and 4.4 say to drop, or run over their end.
func (b IPv4) sourceRoute() bool {
	const end, nop, loose, strict = 0, 1, 131, 137
	for len(b) > 0 && b[0] != end {
		n := 1
		if b[0] != nop {
			if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) || b[0] == loose || b[0] == strict {
				return true
			}
			n = int(b[1])
		}
		b = b[n:]
	}
	return false
}

// HeaderLength is in bytes, options included.
func (b IPv4) HeaderLength() int { return int(b[0]&15) * 4 }

// TOS is the type of service: DSCP and ECN.
func (b IPv4) TOS() uint8 { return b[1] }

// TotalLength is that of header and payload, in bytes.
func (b IPv4) TotalLength() int { return int(be16(b[2:])) }

// ID tells the fragments of a packet from those of another.
func (b IPv4) ID() uint16 { return be16(b[4:]) }

// DontFragment is the DF bit.
func (b IPv4) DontFragment() bool { return be16(b[6:])&dontFragment != 0 }

// MoreFragments is the MF bit.
func (b IPv4) MoreFragments() bool { return be16(b[6:])&moreFragments != 0 }

// FragmentOffset is in bytes.
func (b IPv4) FragmentOffset() int { return int(be16(b[6:])&offsetMask) * 8 }

// IsFragment tells whether it is not a whole packet.
func (b IPv4) IsFragment() bool { return be16(b[6:])&(moreFragments|offsetMask) != 0 }

// TTL is the time to live.
func (b IPv4) TTL() uint8 { return b[8] }

// Protocol is that of the payload.
func (b IPv4) Protocol() uint8 { return b[9] }

// Source returns the sender's address.
func (b IPv4) Source() [4]byte { return [4]byte(b[12:]) }

// Destination returns the receiver's address.
func (b IPv4) Destination() [4]byte { return [4]byte(b[16:]) }

// IPv4Fields are what Set writes. The offset is in bytes, a multiple of 8.
type IPv4Fields struct {
	Source, Destination [4]byte
	Protocol, TTL, TOS  uint8
	ID                  uint16
	Length              int // of header and payload
	Offset              int
	More                bool
	DontFragment        bool
}

// Set writes a header without options, checksum included.
func (b IPv4) Set(f *IPv4Fields) {
	_ = b[IPv4Size-1]
	b[0], b[1] = 0x45, f.TOS
	putBE16(b[2:], uint16(f.Length))
	putBE16(b[4:], f.ID)
	flags := uint16(f.Offset / 8)
	if f.More {
		flags |= moreFragments
	}
	if f.DontFragment {
		flags |= dontFragment
	}
	putBE16(b[6:], flags)
	b[8], b[9] = f.TTL, f.Protocol
	putBE16(b[10:], 0)
	copy(b[12:], f.Source[:])
	copy(b[16:], f.Destination[:])
	putBE16(b[10:], ^uint16(SumOf(b[:IPv4Size])))
}
