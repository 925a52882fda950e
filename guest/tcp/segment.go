package tcp

import "github.com/dewpaas/dew/guest/packet"

// Segment is a received segment.
type Segment struct {
	Seq, Ack Seq
	Flags    packet.Flags
	Window   uint16
	Options  packet.Options
	Payload  []byte
	// Chunk is the memory in which Payload lies, or nil. A connection that
	// keeps it sets the field to nil.
	Chunk *Chunk
	// Pieces is how many segments the host put together into this one, at least 1.
	Pieces int
}

// length is what the segment takes of the sequence space.
func (s *Segment) length() int {
	n := len(s.Payload)
	if s.Flags.Has(packet.SYN) {
		n++
	}
	if s.Flags.Has(packet.FIN) {
		n++
	}
	return n
}

// Read takes a segment of the wire apart.
func (s *Segment) Read(b packet.TCP) {
	s.Seq, s.Ack = Seq(b.Seq()), Seq(b.Ack())
	s.Flags, s.Window = b.Flags(), b.Window()
	s.Payload = b.Payload()
	s.Pieces = 1
	b.Options(&s.Options)
}

// Out is a segment to send. Its payload is Length bytes of the send queue at
// Offset; Conn.Pieces tells where they lie.
type Out struct {
	Seq, Ack       Seq
	Flags          packet.Flags
	Window         uint16
	Options        packet.Options
	Offset, Length int
	MSS            int // the payload is cut into segments of so many bytes
}
