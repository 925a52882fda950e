package inet

import (
	"syscall"

	"github.com/dewpaas/dew/guest/packet"
	"github.com/dewpaas/dew/guest/tcp"
)

// inputICMP takes the ICMP message of r.packet.
func (s *Stack) inputICMP(r *receiver) {
	p := &r.packet
	m := packet.ParseICMP(p)
	if m == nil {
		s.Counters.Checksums.Add(1)
		return
	}
	switch m.Type() {
	case packet.ICMPEcho:
		s.echo(p, m)
	case packet.ICMPUnreachable, packet.ICMPTimeExceed:
		s.inputError(m, r.now)
	}
}

// echo answers a ping (RFC 1122 section 3.2.2.6).
func (s *Stack) echo(p *packet.Packet, m packet.ICMP) {
	f := packet.IPv4Fields{Source: p.IP.Destination(), Destination: p.IP.Source(), Protocol: packet.ProtoICMP,
		TTL: defaultTTL, TOS: p.IP.TOS()}
	s.sendInPieces(&f, len(m), s.mtu(f.Destination), func(b []byte) {
		copy(b, m)
		b[0] = packet.ICMPEchoReply
		packet.ICMP(b).SetSum()
	})
}

// quotedMax is how much of a packet an ICMP error quotes: all of the answer
// then fits into 576 bytes (RFC 1812 section 4.3.2.3).
const quotedMax = 576 - packet.IPv4Size - packet.ICMPSize

// unreachable tells the sender of a packet that nobody here wants it: strangers
// at a bounded rate.
func (s *Stack) unreachable(p *packet.Packet, code uint8, now int64) {
	if p.IP.FragmentOffset() != 0 || !s.isLocal(p.IP.Source()) && !s.replies.allow(now) {
		return
	}
	f := packet.IPv4Fields{Source: p.IP.Destination(), Destination: p.IP.Source(), Protocol: packet.ProtoICMP,
		TTL: defaultTTL, TOS: 0xc0}
	payload := p.Payload[:min(len(p.Payload), quotedMax-len(p.IP))]
	s.sendInPieces(&f, packet.ICMPSize+len(p.IP)+len(payload), s.mtu(f.Destination), func(b []byte) {
		m := packet.ICMP(b)
		m.Set(packet.ICMPUnreachable, code, 0)
		copy(b[packet.ICMPSize:], p.IP)
		copy(b[packet.ICMPSize+len(p.IP):], payload)
		m.SetSum()
	})
}

// inputError takes an ICMP error about a packet of ours.
func (s *Stack) inputError(m packet.ICMP, now int64) {
	var q packet.Quoted
	if !m.Quoted(&q) || !s.isLocal(q.IP.Source()) {
		return
	}
	code := m.Code()
	if m.Type() == packet.ICMPTimeExceed {
		code = packet.CodeHost
	}
	f := flow{q.IP.Source(), q.IP.Destination(), q.SourcePort, q.DestinationPort}
	switch q.IP.Protocol() {
	case packet.ProtoTCP:
		s.errorTCP(f, tcp.Seq(q.Seq), code, m, now)
	case packet.ProtoUDP:
		s.errorUDP(f, code, m, now)
	}
}

// errnoOf is what a program sees of an ICMP code (icmp_err_convert of Linux).
func errnoOf(code uint8) syscall.Errno {
	switch code {
	case packet.CodeNet, 6, 9, 11:
		return syscall.ENETUNREACH
	case packet.CodeProtocol:
		return syscall.ENOPROTOOPT
	case packet.CodePort:
		return syscall.ECONNREFUSED
	case packet.CodeFragNeeded:
		return syscall.EMSGSIZE
	}
	return syscall.EHOSTUNREACH
}

// errorTCP ends an attempt to connect; an established connection is not ended
// by anybody who can guess a sequence number (RFC 5927 section 5.2), but told
// of a smaller MTU.
func (s *Stack) errorTCP(f flow, seq tcp.Seq, code uint8, m packet.ICMP, now int64) {
	s.mu.Lock()
	t := s.conns[f]
	s.mu.Unlock()
	if t == nil {
		return
	}
	t.mu.Lock()
	now = t.time(now)
	defer t.unlock(now)
	if t.flow != f || !t.conn.InWindow(seq) {
		return
	}
	switch {
	case code == packet.CodeFragNeeded:
		if mtu := s.smaller(m, t.conn.MTU()); mtu > 0 {
			s.mu.Lock()
			s.paths.set(f.peer, mtu, now)
			s.mu.Unlock()
			t.conn.SetMTU(mtu, now)
		}
	case t.conn.State() == tcp.SynSent:
		t.conn.Fail(errnoOf(code))
	}
}

// smaller is the MTU that a message asks for, 0 when it is none to believe.
// Routers older than RFC 1191 do not tell it: the next common one is tried.
func (s *Stack) smaller(m packet.ICMP, old int) int {
	mtu := m.MTU()
	if mtu == 0 {
		for _, plateau := range [...]int{1492, 1006, minMTU} {
			if plateau < old {
				mtu = plateau
				break
			}
		}
	}
	if mtu = max(mtu, minMTU); mtu >= old {
		return 0
	}
	return mtu
}

// errorUDP tells a connected endpoint that its datagram did not arrive.
func (s *Stack) errorUDP(f flow, code uint8, m packet.ICMP, now int64) {
	if code == packet.CodeFragNeeded {
		if mtu := s.smaller(m, s.pathMTU(f.peer, now)); mtu > 0 {
			s.mu.Lock()
			s.paths.set(f.peer, mtu, now)
			s.mu.Unlock()
		}
		return
	}
	s.mu.Lock()
	u := s.receiverOf(Addr{f.peer, f.peerPort}, Addr{f.local, f.localPort})
	connected := u != nil && u.peer == Addr{f.peer, f.peerPort}
	s.mu.Unlock()
	if connected {
		u.fail(errnoOf(code))
	}
}
