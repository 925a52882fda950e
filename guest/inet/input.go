package inet

import (
	"github.com/dewpaas/dew/guest/packet"
	"github.com/dewpaas/dew/guest/tcp"
)

// receiver is what one goroutine works on frames with.
type receiver struct {
	now     int64
	packet  packet.Packet
	segment tcp.Segment
	touched []*TCP // connections that may have something to acknowledge
}

// maxBatch is how many frames are worked on before acknowledgements are sent
// and other goroutines get their turn.
const maxBatch = 64

// Deliver hands in one frame behind the header of package abi, as the pump
// does. The frame is not kept.
func (s *Stack) Deliver(frame []byte) {
	s.receiving.Lock()
	r := &s.receiver
	r.now = s.clock.Now()
	s.input(r, frame, nil, false)
	s.flush(r)
	s.receiving.Unlock()
	s.drain()
}

// input takes one frame; chunk is the memory it lies in, if that may be kept.
// It returns false when the chunk was kept.
func (s *Stack) input(r *receiver, frame []byte, chunk *tcp.Chunk, loop bool) bool {
	p := &r.packet
	s.Counters.FramesIn.Add(1)
	if !packet.Open(frame, p) || !s.addressed(p, loop) {
		s.Counters.Malformed.Add(1)
		return true
	}
	if p.IP.IsFragment() {
		whole := s.fragments.add(s, p, r.now)
		if whole == nil {
			return true
		}
		defer s.memory.Free(whole)
		chunk = nil
	}
	switch p.IP.Protocol() {
	case packet.ProtoTCP:
		return s.inputTCP(r, chunk)
	case packet.ProtoUDP:
		s.inputUDP(r)
	case packet.ProtoICMP:
		s.inputICMP(r)
	default:
		s.unreachable(p, packet.CodeProtocol, r.now)
	}
	return true
}

// addressed tells whether a packet is for us and from somebody. What comes in
// by the link must not name the loopback or ourselves as its source (RFC 1122
// section 3.2.1.3).
func (s *Stack) addressed(p *packet.Packet, loop bool) bool {
	src, dst := p.IP.Source(), p.IP.Destination()
	if loop {
		return s.isLocal(src) && s.isLocal(dst)
	}
	return s.hasNIC() && p.Ethernet.Destination() == s.nic.MAC && dst == s.nic.Addr &&
		src[0] != 0 && src[0] != 127 && src[0] < 224 && src != s.nic.Addr
}

// flush sends the acknowledgements of a batch.
func (s *Stack) flush(r *receiver) {
	for i, t := range r.touched {
		r.touched[i] = nil
		if !t.mu.TryLock() {
			t.backlog.leaveFlush()
			t.help()
			continue
		}
		now := t.time(r.now)
		t.touched = false
		t.conn.Flush(now)
		t.unlock(now)
	}
	r.touched = r.touched[:0]
}

// inputTCP takes the segment of r.packet. It returns false when a connection
// has kept the chunk.
func (s *Stack) inputTCP(r *receiver, chunk *tcp.Chunk) bool {
	p, g := &r.packet, &r.segment
	b := packet.ParseTCP(p)
	if b == nil {
		s.Counters.Checksums.Add(1)
		return true
	}
	g.Read(b)
	g.Chunk = chunk
	if p.GSOSize > 0 {
		g.Pieces = max((len(g.Payload)+p.GSOSize-1)/p.GSOSize, 1)
	}
	f := flow{p.IP.Destination(), p.IP.Source(), b.DestinationPort(), b.SourcePort()}
	s.mu.Lock()
	t := s.conns[f]
	s.mu.Unlock()
	if t != nil && t.input(r, f) {
		return chunk == nil || g.Chunk != nil
	}
	s.inputStranger(r, f)
	return true
}

// input gives a segment to the connection, and tells whether it is still that
// of the flow.
func (t *TCP) input(r *receiver, f flow) bool {
	if !t.mu.TryLock() {
		if t.backlog.leave(t.stack.memory, &r.segment, f) {
			t.help()
			return true
		}
		t.mu.Lock()
	}
	now := t.catchUp(t.time(r.now))
	if !t.is(f) {
		t.unlock(now)
		return false
	}
	t.take(&r.segment, now)
	if t.conn.Pending() && !t.touched {
		t.touched = true
		r.touched = append(r.touched, t)
	}
	t.unlock(now)
	return true
}

// is tells whether the endpoint is the connection f. t.mu is held.
func (t *TCP) is(f flow) bool { return t.flow == f && t.conn.State() != tcp.Closed }

// take gives the connection a segment. t.mu is held.
func (t *TCP) take(g *tcp.Segment, now int64) {
	if t.parent != nil && t.conn.State() == tcp.SynReceived && t.parent.full() {
		return // the handshake's last segment is as if lost, as on Linux: it comes again
	}
	t.conn.Input(g, now)
}

// inputStranger takes a segment of no connection.
func (s *Stack) inputStranger(r *receiver, f flow) {
	g := &r.segment
	s.mu.Lock()
	w := s.findWait(f, r.now)
	var l *listener
	if w == nil || w.reborn(g) {
		l = s.listening(f)
		if w != nil && l != nil {
			s.removeWait(w)
			w = nil
		}
	}
	if w != nil {
		s.waitInput(w, g, r.now) // unlocks
		return
	}
	s.mu.Unlock()
	if l == nil || !l.input(r, f) {
		s.Counters.NoPort.Add(1)
		s.refuse(g, f)
	}
}

// refuse answers a segment of no connection (RFC 9293 section 3.10.7.1).
func (s *Stack) refuse(g *tcp.Segment, f flow) {
	if g.Flags.Has(packet.RST) {
		return
	}
	out := packet.TCPFields{Flags: packet.RST}
	if g.Flags.Has(packet.ACK) {
		out.Seq = uint32(g.Ack)
	} else {
		n := uint32(len(g.Payload))
		if g.Flags.Has(packet.SYN) {
			n++
		}
		if g.Flags.Has(packet.FIN) {
			n++
		}
		out.Flags, out.Ack = packet.RST|packet.ACK, uint32(g.Seq)+n
	}
	s.Counters.ResetsOut.Add(1)
	s.bare(f, &out, &packet.Options{})
}

// bare sends a segment without a connection and without payload.
func (s *Stack) bare(f flow, fields *packet.TCPFields, o *packet.Options) {
	w := writers.Get().(*writer)
	defer writers.Put(w)
	fields.SourcePort, fields.DestinationPort = f.localPort, f.peerPort
	seg := packet.TCP(w.head[packet.LinkSize+packet.IPv4Size:])
	seg.Set(fields)
	n := seg.SetOptions(o)
	t := TCP{stack: s, flow: f, ttl: defaultTTL}
	t.finish(w, seg, n, 0, 0)
	s.send(w, 0, f.peer)
}
