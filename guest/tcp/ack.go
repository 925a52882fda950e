package tcp

import (
	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/packet"
)

// inputAck takes the acknowledgement of a segment. It returns false when the
// segment is not to be looked at further.
func (c *Conn) inputAck(s *Segment, now int64) bool {
	ack := s.Ack
	switch {
	case c.nxt.Before(ack): // of what was never sent
		c.challenge(now)
		return false
	case ack.Before(c.una) && ack.Before(c.una-Seq(c.maxWnd)): // RFC 5961 section 5
		c.challenge(now)
		return false
	case ack.Before(c.una):
		if c.sackOK && s.Options.NumBlocks > 0 && !c.sent.empty() {
			var a arrival
			c.selective(&s.Options, ack, &a, now)
			c.repair(&a, 0, now)
		}
		return true
	}
	advanced := ack.Minus(c.una)
	changed := c.updateWindow(s)
	if advanced == 0 && s.Options.NumBlocks == 0 {
		c.countDuplicate(s, changed, now)
		return true
	}
	c.acknowledge(s, advanced, now)
	return true
}

// updateWindow takes the peer's window, unless the segment is older than the
// one that told it last. It tells whether the window has changed.
func (c *Conn) updateWindow(s *Segment) bool {
	if !c.wl1.Before(s.Seq) && (c.wl1 != s.Seq || s.Ack.Before(c.wl2)) {
		return false
	}
	old := c.wnd
	c.wnd = c.scaled(s)
	c.maxWnd = max(c.maxWnd, c.wnd)
	c.wl1, c.wl2 = s.Seq, s.Ack
	if c.wnd > 0 && c.timerKind == retransmitProbe {
		c.stopRetransmit()
		c.probes = 0
	}
	return c.wnd != old
}

// countDuplicate looks at an acknowledgement that says nothing new (RFC 5681
// section 2).
func (c *Conn) countDuplicate(s *Segment, window bool, now int64) {
	if c.timerKind == retransmitProbe {
		c.probes = 0 // the peer is alive; its window is still closed
		return
	}
	if window || len(s.Payload) > 0 || s.Flags.Has(packet.FIN) {
		return
	}
	var a arrival
	c.probed(&a, true)
	if c.sackOK || c.sent.empty() {
		return
	}
	c.dups++
	if c.phase == repairing {
		a.delivered = c.mss // something has left the network
	}
	c.repair(&a, 0, now)
}

// acknowledge takes an acknowledgement that brings news.
func (c *Conn) acknowledge(s *Segment, advanced int, now int64) {
	var a arrival
	if advanced > 0 {
		c.pass(s.Ack, &a, now)
		c.advance(s.Ack, advanced)
	}
	if s.Options.NumBlocks > 0 && c.sackOK {
		c.selective(&s.Options, s.Ack, &a, now)
	}
	c.measure(s, &a, now)
	c.undo(s)
	if c.state == TimeWait || c.state == Closed {
		return
	}
	c.probed(&a, false)
	if advanced > 0 || c.timerKind == retransmitTail {
		c.stopRetransmit()
	}
	c.repair(&a, advanced, now)
	if advanced > 0 {
		c.retries = 0
	}
	if c.sent.empty() {
		c.sent.trim(c.memory)
	}
}

// advance moves SND.UNA.
func (c *Conn) advance(ack Seq, n int) {
	if c.finSent && ack == c.nxt {
		n-- // our FIN takes a number and is not in the queue
	}
	c.una = ack
	c.bytesAcked += uint64(n)
	c.send.skip(c.memory, n)
	if c.wantsRoom && c.writable() {
		c.wantsRoom = false
		c.Wakes |= fd.Writable
	}
	if !c.finSent || ack != c.nxt {
		return
	}
	switch c.state {
	case FinWait1:
		c.state = FinWait2
		if c.orphan {
			c.keepAt = c.lastHeard + c.FinTimeout
		}
	case Closing:
		c.waitTime()
	case LastAck:
		c.finish()
	}
}

// measure takes the round-trip time. What was sent once is exact. What was sent
// again is measured where it is known which transmission is answered (Karn):
// the peer has sent back the timestamp of the last one, or says that the last
// one came twice, or has sent back that of the first one and says no such thing:
// then the path has become slow, which is believed by and by.
func (c *Conn) measure(s *Segment, a *arrival, now int64) {
	d := a.rtt
	switch {
	case d > 0 || a.resentAt == 0:
	case c.timeOK && s.Options.HasTime && int32(s.Options.Echo-c.stamp(a.resentAt)) >= 0, a.dsack:
		d = now - a.resentAt
	case c.early(s):
		d = min(c.echoed(s, now), 4*c.base())
	}
	if d > 0 {
		c.rtt.sample(d, now)
		c.round(d, s.Ack, c.nxt)
	}
}

// echoed is how long ago we sent what the segment answers, 0 if it does not tell.
func (c *Conn) echoed(s *Segment, now int64) int64 {
	if !c.timeOK || !s.Options.HasTime || s.Options.Echo == 0 {
		return 0
	}
	t := int64(int32(c.stamp(now)-s.Options.Echo)) * ms
	if t < 0 || t >= maxRTO {
		return 0
	}
	return max(t, ms)
}

// measureSyn takes the round-trip time of the handshake.
func (c *Conn) measureSyn(s *Segment, now int64) {
	d := c.echoed(s, now)
	if c.synTries == 0 && c.synAt > 0 {
		d = max(now-c.synAt, 1)
	}
	if d > 0 {
		c.rtt.sample(d, now)
	}
}

// stamp is our timestamp clock: milliseconds from a start of its own.
func (c *Conn) stamp(now int64) uint32 { return uint32(now/ms) + c.timeOffset }
