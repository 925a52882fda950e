package tcp

import (
	"syscall"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/packet"
)

// Input takes a segment of the peer (RFC 9293 section 3.10.7, hardened by RFC
// 5961). It answers at once what cannot wait; Flush sends what can.
func (c *Conn) Input(s *Segment, now int64) {
	c.segsIn += uint32(s.Pieces)
	switch c.state {
	case Closed, TimeWait:
		return
	case SynSent:
		c.inputSynSent(s, now)
		return
	}
	if !c.acceptable(s, now) {
		return
	}
	if s.Flags.Has(packet.RST) {
		c.inputReset(s, now)
		return
	}
	if s.Flags.Has(packet.SYN) {
		c.inputSyn(s, now)
		return
	}
	if !s.Flags.Has(packet.ACK) {
		return
	}
	c.lastHeard = now
	c.keepTries = 0
	if c.state == SynReceived && !c.completes(s, now) {
		return
	}
	if !c.inputAck(s, now) {
		return
	}
	c.inputData(s, now)
	c.output(now)
}

// inputSynSent is section 3.10.7.3.
func (c *Conn) inputSynSent(s *Segment, now int64) {
	ack := s.Flags.Has(packet.ACK)
	if ack && (s.Ack.AtMost(c.iss) || c.nxt.Before(s.Ack)) {
		if !s.Flags.Has(packet.RST) {
			c.sendReset(s.Ack)
		}
		return
	}
	if s.Flags.Has(packet.RST) {
		if ack {
			c.fail(syscall.ECONNREFUSED)
		}
		return
	}
	if !s.Flags.Has(packet.SYN) {
		return
	}
	c.learn(s, now)
	c.lastHeard = now
	if !ack { // simultaneous open
		c.state = SynReceived
		c.edge = c.rcv
		c.sendSyn(now)
		return
	}
	c.una = s.Ack
	c.measureSyn(s, now)
	c.establish(now)
	c.acks.now = true // data on a SYN is not taken: it comes again
	c.output(now)
}

// completes takes the acknowledgement of our SYN.
func (c *Conn) completes(s *Segment, now int64) bool {
	if s.Ack.AtMost(c.una) || c.nxt.Before(s.Ack) {
		c.sendReset(s.Ack)
		return false
	}
	c.una = c.iss + 1
	c.wnd = c.scaled(s)
	c.maxWnd = c.wnd
	c.wl1, c.wl2 = s.Seq, s.Ack
	c.measureSyn(s, now)
	c.establish(now)
	return true
}

// acceptable is the first check: PAWS (RFC 7323 section 5.3) and the window.
func (c *Conn) acceptable(s *Segment, now int64) bool {
	rst := s.Flags.Has(packet.RST)
	if c.timeOK && s.Options.HasTime && !rst && int32(s.Options.Time-c.recent) < 0 && now-c.recentAt < pawsIdle {
		if s.length() > 0 { // a bare acknowledgement was overtaken: nothing to say
			c.challenge(now)
		}
		return false
	}
	window := c.edge.Minus(c.rcv)
	end := s.Seq + Seq(s.length())
	switch {
	case s.Seq == c.rcv: // nearly always
	case c.rcv.AtMost(s.Seq) && s.Seq.Before(c.edge):
	case s.length() > 0 && c.rcv.Before(end) && s.Seq.Before(c.rcv):
	case s.length() == 0 && window == 0 && s.Seq == c.edge:
	case c.state == SynReceived && s.Flags.Has(packet.SYN) && s.Seq == c.irs:
		// The peer has not got our SYN, or this is its half of a simultaneous open.
	default:
		if !rst {
			c.stray(s, now)
		}
		return false
	}
	if c.timeOK && s.Options.HasTime && s.Seq.AtMost(c.acks.sent) && int32(s.Options.Time-c.recent) >= 0 {
		c.recent, c.recentAt = s.Options.Time, now // RFC 7323 section 4.3
	}
	return true
}

// pawsIdle is how long a timestamp is remembered (RFC 7323 section 5.5).
const pawsIdle = 24 * 24 * 3600 * second

// stray answers a segment outside the window. One that repeats data tells the
// sender that it came twice (RFC 2883); keep-alives and probes are answered,
// all of them at a bounded rate so that two such hosts do not talk for ever.
func (c *Conn) stray(s *Segment, now int64) {
	if c.state == SynReceived {
		return
	}
	if len(s.Payload) > 0 {
		if c.sackOK && s.Seq.Before(c.rcv) {
			c.order.repeated(s.Seq, s.Seq+Seq(len(s.Payload)))
		}
		c.acks.now = true
		return
	}
	c.challenge(now)
}

// challenge asks the peer to prove that it knows the connection (RFC 5961). It
// is rate-limited by connection and not for all together, which an attacker
// off the path could measure (CVE-2016-5696).
func (c *Conn) challenge(now int64) {
	if now-c.challengeAt < challengeEvery && c.challengeAt != 0 {
		return
	}
	c.challengeAt = now
	c.sendAck(now)
}

const challengeEvery = 500 * ms // net.ipv4.tcp_invalid_ratelimit

// inputReset takes a RST: only the exact next number is believed (RFC 5961 section 3).
func (c *Conn) inputReset(s *Segment, now int64) {
	switch {
	case s.Seq != c.rcv:
		c.challenge(now)
	case c.state == SynReceived && !c.active:
		c.finish() // back to LISTEN: the program never saw it
	case c.state == SynReceived:
		c.fail(syscall.ECONNREFUSED)
	case c.state == CloseWait:
		c.fail(syscall.EPIPE)
	default:
		c.fail(syscall.ECONNRESET)
	}
}

// inputSyn takes a SYN on a connection that had one (RFC 5961 section 4).
func (c *Conn) inputSyn(s *Segment, now int64) {
	switch {
	case c.state != SynReceived:
		c.challenge(now)
	case s.Seq != c.irs:
	case c.active && s.Flags.Has(packet.ACK) && c.una.Before(s.Ack) && s.Ack.AtMost(c.nxt):
		// The other half of a simultaneous open (RFC 9293 figure 8).
		c.una = s.Ack
		c.establish(now)
		c.acks.now = true
		c.output(now)
	default:
		c.sendSyn(now) // ours was lost
	}
}

// scaled is the window that a segment offers.
func (c *Conn) scaled(s *Segment) int {
	if c.scaleOK {
		return int(s.Window) << c.sendScale
	}
	return int(s.Window)
}

// inputData takes payload and FIN.
func (c *Conn) inputData(s *Segment, now int64) {
	if len(s.Payload) == 0 && !s.Flags.Has(packet.FIN) {
		return
	}
	if !c.state.receives() {
		return // after the peer's FIN: nothing can follow (section 3.10.7.4)
	}
	if c.orphan && len(s.Payload) > 0 && c.rcv.Before(s.Seq+Seq(len(s.Payload))) {
		// Nobody will ever read it: say so (RFC 2525 section 2.17).
		c.sendReset(c.nxt)
		c.finish()
		return
	}
	end := s.Seq + Seq(len(s.Payload))
	switch {
	case c.edge.Before(end): // beyond the window: cut off, and the FIN with it
		s.Payload = s.Payload[:max(len(s.Payload)-end.Minus(c.edge), 0)]
		c.acks.now = true
	case s.Flags.Has(packet.FIN) && !c.order.fin:
		c.order.fin, c.order.finSeq = true, end
	}
	c.take(s, now)
	if c.order.fin && c.order.finSeq == c.rcv {
		c.peerFin(now)
	}
}

// peerFin takes the end of the peer's stream, all of which is here.
func (c *Conn) peerFin(now int64) {
	c.finSeen = true
	c.rcv++
	c.acks.now = true
	c.Wakes |= fd.Readable | fd.PeerShut
	switch c.state {
	case Established:
		c.state = CloseWait
	case FinWait1: // ours is not acknowledged, or it would be FinWait2
		c.state = Closing
	case FinWait2:
		c.sendAck(now) // at once: the owner may keep nothing but the numbers
		c.waitTime()
	}
}

// waitTime ends a connection that both sides have closed. Whoever owns it
// keeps the numbers for the time of TIME-WAIT.
func (c *Conn) waitTime() {
	c.state = TimeWait
	c.stopRetransmit()
	c.keepAt = 0
	c.Wakes |= fd.Readable | fd.Writable | fd.HungUp
}
