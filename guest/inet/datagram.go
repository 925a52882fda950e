package inet

import (
	"syscall"

	"github.com/dewpaas/dew/guest/packet"
	"github.com/dewpaas/dew/guest/tcp"
)

// sendUDP sends a datagram with the payload p, which is copied: it may lie on
// the caller's stack. head writes the header with a checksum field. Without
// room it is lost and nobody is told, as in udp_send_skb (net/ipv4/udp.c).
func (s *Stack) sendUDP(head func(packet.UDP, uint16), p []byte, f *packet.IPv4Fields, mtu int) {
	n := packet.UDPSize + len(p)
	pseudo := packet.Pseudo(f.Source, f.Destination, packet.ProtoUDP, n)
	if packet.IPv4Size+n > mtu {
		s.sendInPieces(f, n, mtu, func(b []byte) {
			copy(b[packet.UDPSize:], p)
			head(b, 0)
			sum := ^uint16(pseudo.Add(packet.SumOf(b)))
			if sum == 0 {
				sum = 0xffff // 0 says that there is none
			}
			head(b, sum)
		})
		return
	}
	w := writers.Get().(*writer)
	defer writers.Put(w)
	head(w.head[packet.LinkSize+packet.IPv4Size:], uint16(pseudo)) // the host completes it
	chunk, ok := s.body(w, p)
	if !ok {
		s.Counters.NoMemory.Add(1)
		return
	}
	f.Length = packet.IPv4Size + n
	f.ID = uint16(s.packetID.Add(1))
	packet.IPv4(w.head[packet.LinkSize:]).Set(f)
	const sumStart = packet.EthernetSize + packet.IPv4Size
	packet.VNet(w.head[:]).Set(sumStart, packet.UDPSumOffset, sumStart+packet.UDPSize, 0)
	w.link(s, packet.LinkSize+packet.IPv4Size+packet.UDPSize)
	s.send(w, 1, f.Destination)
	if chunk != nil {
		s.memory.Free(chunk)
	}
}

// body makes p the second piece of a frame.
func (s *Stack) body(w *writer, p []byte) (chunk *tcp.Chunk, ok bool) {
	b := w.body[:]
	if len(p) > len(b) {
		if chunk = s.memory.Buffer(len(p)); chunk == nil {
			return nil, false
		}
		b = chunk.Bytes()
	}
	copy(b, p)
	w.iov[1] = syscall.Iovec{Base: &b[0], Len: uint64(len(p))}
	return chunk, true
}

// sendInPieces sends n bytes of IP payload, which fill writes, in as many
// fragments as it takes (RFC 791 section 2.3).
func (s *Stack) sendInPieces(f *packet.IPv4Fields, n, mtu int, fill func([]byte)) {
	chunk := s.memory.Buffer(n)
	if chunk == nil {
		s.Counters.NoMemory.Add(1)
		return
	}
	defer s.memory.Free(chunk)
	b := chunk.Bytes()[:n]
	fill(b)
	w := writers.Get().(*writer)
	defer writers.Put(w)
	f.ID = uint16(s.packetID.Add(1))
	step := (mtu - packet.IPv4Size) &^ 7
	for off := 0; off < n; off += step {
		k := min(step, n-off)
		f.Offset, f.More, f.Length = off, off+k < n, packet.IPv4Size+k
		packet.VNet(w.head[:]).Clear()
		packet.IPv4(w.head[packet.LinkSize:]).Set(f)
		w.link(s, packet.LinkSize+packet.IPv4Size)
		w.iov[1] = syscall.Iovec{Base: &b[off], Len: uint64(k)}
		if !s.send(w, 1, f.Destination) {
			return
		}
	}
}

// inputUDP takes the datagram of r.packet.
func (s *Stack) inputUDP(r *receiver) {
	p := &r.packet
	b := packet.ParseUDP(p)
	if b == nil {
		s.Counters.Checksums.Add(1)
		return
	}
	from, to := Addr{p.IP.Source(), b.SourcePort()}, Addr{p.IP.Destination(), b.DestinationPort()}
	s.mu.Lock()
	u := s.receiverOf(from, to)
	s.mu.Unlock()
	if u == nil {
		s.Counters.NoPort.Add(1)
		s.unreachable(p, packet.CodePort, r.now)
		return
	}
	u.take(Meta{from, to.IP, p.IP.TTL(), p.IP.TOS()}, b.Payload())
}

// receiverOf finds who gets a datagram: the endpoint that is connected to its
// sender, else the one bound to its address, else one bound to any; of several
// that share the port, the flow decides. The stack's mutex is held.
func (s *Stack) receiverOf(from, to Addr) *UDP {
	var best *UDP
	top, same := 0, uint64(0)
	for _, x := range s.udpPorts[to.Port] {
		u := x.(*UDP)
		score := 1
		if u.IP != anyIP {
			if u.IP != to.IP {
				continue
			}
			score += 1
		}
		if u.peer != (Addr{}) {
			if u.peer != from {
				continue
			}
			score += 2
		}
		switch {
		case score > top:
			best, top, same = u, score, 1
		case score == top:
			same++
			a, b := flow{to.IP, from.IP, to.Port, from.Port}.words()
			if s.keys.choice.sum(a, b, same)%same == 0 {
				best = u
			}
		}
	}
	return best
}
