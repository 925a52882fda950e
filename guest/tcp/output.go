package tcp

import "github.com/dewpaas/dew/guest/packet"

const (
	// maxSegment is the most payload of one call to Env: the largest IP packet
	// less the largest headers.
	maxSegment = 0xffff - packet.IPv4Size - packet.MaxTCPSize
	// MaxPieces is in how many pieces the payload of one call may lie.
	MaxPieces = 16
)

// output sends whatever may be sent now: what was lost, new data, FIN. It sets
// the timers for what is in flight.
func (c *Conn) output(now int64) {
	if !c.state.sends() {
		return
	}
	for c.sent.lost > 0 && c.sendLost(now) {
	}
	for c.sendNew(now) {
	}
	c.arm(now)
}

// sendLost sends one piece of what is marked lost.
func (c *Conn) sendLost(now int64) bool {
	live := c.sent.live()
	for c.scan < len(live) && live[c.scan].flags&lost == 0 {
		c.scan++
	}
	if c.scan == len(live) {
		return false
	}
	e := &live[c.scan]
	room := c.cwnd - c.pipe()
	if c.pipe() == 0 {
		room = max(room, c.mss)
	}
	room = min(room, max(c.wnd, c.mss)-e.seq.Minus(c.una))
	if room < min(c.mss, e.end.Minus(e.seq)) {
		return false
	}
	n := c.resend(c.scan, room, now)
	c.prrOut += n
	return n > 0
}

// resend sends the front of record i again, at most limit bytes, and returns
// how many.
func (c *Conn) resend(i, limit int, now int64) int {
	e := &c.sent.live()[i]
	data := e.end.Minus(e.seq)
	fin := c.finSent && e.end == c.nxt
	if fin {
		data--
	}
	n := min(data, limit, maxSegment)
	n = c.send.span(e.seq.Minus(c.una), n, MaxPieces)
	if n > c.mss && n < data {
		n -= n % c.mss
	}
	fin = fin && n == data
	if n < data && !c.sent.split(c.memory, i, e.seq+Seq(n)) {
		n = min(n, c.mss) // repeated with the next piece, for want of a place to note it
	}
	e = &c.sent.live()[i]
	flags := packet.ACK
	if fin {
		flags |= packet.FIN
	}
	if !c.transmit(e.seq, e.seq.Minus(c.una), n, flags, now) {
		return 0
	}
	if c.undoTime == 0 {
		c.undoTime = c.stamp(now)
	}
	c.undoLeft++
	e.at = now
	c.sent.mark(e, e.flags&^lost|resent)
	c.totalRetrans++
	c.bytesRetrans += uint64(n)
	return max(n, 1)
}

// unsent is how many bytes of the queue were never sent.
func (c *Conn) unsent() int {
	if c.finSent {
		return 0
	}
	return c.send.size - c.nxt.Minus(c.una)
}

// sendNew sends one piece of new data, and the FIN with the last.
func (c *Conn) sendNew(now int64) bool {
	waiting := c.unsent()
	fin := c.finQueued && !c.finSent
	if waiting == 0 && !fin {
		return false
	}
	flight := c.nxt.Minus(c.una)
	window := c.wnd - flight
	room := c.cwnd - c.pipe()
	if c.sent.empty() && c.idleFor(now) {
		c.idle(c.mss)
		room = c.cwnd
	}
	if waiting == 0 {
		if window < 0 && flight > 0 {
			return false
		}
		return c.sendPiece(0, true, now)
	}
	n := c.allowed(waiting, window, room, fin)
	c.sending(c.pipe()+n, n < waiting && room < min(window, waiting), c.una, c.nxt)
	return n > 0 && c.sendPiece(n, fin && n == waiting, now)
}

// allowed is how much of what waits may leave: whole segments while there is
// more, the rest where Nagle's algorithm and the silly window rules let it (RFC
// 9293 sections 3.7.4 and 3.8.6.2.1).
func (c *Conn) allowed(waiting, window, room int, fin bool) int {
	n := min(waiting, window, room, maxSegment)
	if n <= 0 || len(c.sent.live()) >= sendRecords {
		return 0
	}
	n = c.send.span(c.nxt.Minus(c.una), n, MaxPieces)
	if n < waiting {
		whole := n - n%c.mss
		switch {
		case whole == 0 && window < waiting && window <= room && n >= c.maxWnd/2:
			return n // the peer has a small buffer
		case whole == 0:
			return 0
		case n == room && c.later(whole):
			return 0
		}
		return whole
	}
	rest := n % c.mss
	if rest == 0 || fin || c.urge || !c.holds() {
		return n
	}
	return n - rest
}

// later tells whether to wait for more room: one large piece is cheaper than
// two, and acknowledgements under way will make room for it.
func (c *Conn) later(n int) bool {
	return !c.sent.empty() && c.phase == opened && n < min(c.cwnd/3, maxSegment/2)
}

// holds tells whether a segment that is not full must wait: for the program
// to say more, or, without NoDelay, until no other such segment is in flight
// (Minshall's form of Nagle's algorithm, as Linux has it).
func (c *Conn) holds() bool {
	return c.Cork || c.more || !c.NoDelay && c.una.Before(c.smallEnd)
}

// idleFor tells whether nothing was sent for longer than the RTO.
func (c *Conn) idleFor(now int64) bool { return c.lastSent > 0 && now-c.lastSent > c.rto }

// sendPiece sends n bytes of new data at SND.NXT.
func (c *Conn) sendPiece(n int, fin bool, now int64) bool {
	if !c.sent.makeRoom(c.memory) {
		return false
	}
	flags := packet.ACK
	if n == c.unsent() && !c.more {
		flags |= packet.PSH
	}
	end := c.nxt + Seq(n)
	if fin {
		flags |= packet.FIN
		end++
	}
	if !c.transmit(c.nxt, c.nxt.Minus(c.una), n, flags, now) {
		return false
	}
	c.sent.add(c.nxt, end, now)
	if c.nxt = end; n%c.mss != 0 {
		c.smallEnd = end
	}
	c.bytesSent += uint64(n)
	c.lastSent = now
	if c.phase == repairing {
		c.prrOut += n
	}
	if fin {
		c.finSent = true
	}
	return true
}

// transmit fills in what every segment has and gives it to Env. Where the card
// has no room, a timer tries again.
func (c *Conn) transmit(seq Seq, off, n int, flags packet.Flags, now int64) bool {
	o := &c.out
	o.Seq, o.Ack, o.Flags, o.Window = seq, c.rcv, flags, c.offer()
	o.Offset, o.Length, o.MSS = off, n, c.mss
	c.options(now)
	if !c.env.Transmit(o) {
		c.retryAt = now + retryEvery
		return false
	}
	c.segsOut += uint32(max((n+c.mss-1)/c.mss, 1))
	c.acknowledged(n > 0)
	return true
}

// options fills in the options of a segment that is not a SYN.
func (c *Conn) options(now int64) {
	p := &c.out.Options
	p.HasTime = c.timeOK
	if c.timeOK {
		p.Time, p.Echo = c.stamp(now), c.recent
	}
	p.NumBlocks, p.MSS, p.HasScale, p.SACKPermitted = 0, 0, false, false
	if c.out.Length == 0 && c.sackOK && (len(c.order.runs) > 0 || c.order.twice.Start != c.order.twice.End) {
		limit := packet.MaxBlocks
		if c.timeOK {
			limit-- // RFC 2018 section 3
		}
		c.order.blocks(p, limit)
	}
}

// acknowledged notes that all received data is acknowledged now.
func (c *Conn) acknowledged(answer bool) {
	if answer && c.acks.at > 0 {
		c.acks.pingpong = true
	}
	c.acks.now, c.acks.at, c.acks.sent = false, 0, c.rcv
}

// sendAck sends a bare acknowledgement.
func (c *Conn) sendAck(now int64) { c.transmit(c.nxt, 0, 0, packet.ACK, now) }

// Flush sends the acknowledgement that is due: called once after a batch of
// segments, so that a burst gets one and an answer carries it if it can.
func (c *Conn) Flush(now int64) {
	if c.acks.now && c.state.synchronized() {
		c.sendAck(now)
	}
}

// Pending tells whether Flush has something to do.
func (c *Conn) Pending() bool { return c.acks.now }

// sendSyn sends our SYN, with an ACK if the peer's has come.
func (c *Conn) sendSyn(now int64) {
	o := &c.out
	*o = Out{Seq: c.iss, Flags: packet.SYN, MSS: c.mss, Window: uint16(min(c.ReceiveBuffer, 0xffff))}
	passive := c.state == SynReceived
	o.Options = packet.Options{MSS: uint16(c.offerMSS()), HasTime: !passive || c.timeOK, SACKPermitted: !passive || c.sackOK,
		HasScale: !passive || c.scaleOK, Scale: Scale, Time: c.stamp(now)}
	if passive {
		o.Flags |= packet.ACK
		o.Ack, o.Options.Echo = c.rcv, c.recent
		c.edge = later(c.edge, c.rcv+Seq(o.Window))
		c.acknowledged(false)
	}
	if c.segsOut++; !c.env.Transmit(o) {
		c.retryAt = now + retryEvery
	}
}

// sendReset sends a RST with the number that the peer expects.
func (c *Conn) sendReset(seq Seq) {
	c.out = Out{Seq: seq, Flags: packet.RST, MSS: c.mss}
	if c.state.synchronized() {
		c.out.Flags, c.out.Ack = packet.RST|packet.ACK, c.rcv
	}
	c.segsOut++
	c.env.Transmit(&c.out)
}

// writable tells whether a program that was told to wait may write again: when
// a third of the buffer is free, as on Linux, so that it writes large pieces.
func (c *Conn) writable() bool {
	if c.NotSentLow > 0 && c.unsent() >= c.NotSentLow {
		return false
	}
	return c.finQueued || 3*c.send.size <= 2*c.sendLimit()
}

// sendLimit is how much the send queue may hold: twice the congestion window,
// so that there is always something to send when acknowledgements come, but on
// a short path not more than keeps the path full: what waits longer is cold in
// the processor's caches and memory for nothing.
func (c *Conn) sendLimit() int {
	switch {
	case c.FixedSend:
		return c.SendBuffer
	case c.memory.Tight():
		return minBuffer
	}
	enough := shortPath + int(min(c.srtt/ms, 64))*perMillisecond
	return max(c.SendBuffer, min(2*c.cwnd, enough, MaxBuffer))
}

// shortPath and perMillisecond let a connection send 2 Gbit/s, up to MaxBuffer
// a round trip.
const (
	shortPath      = 512 << 10
	perMillisecond = 256 << 10
)

// Write takes as much of p as there is room for and sends what may be sent.
// more says that the program will write more at once (MSG_MORE).
//
// A large p goes in steps of eight full pieces: what was just copied is still
// in the processor's caches when it is sent, and a peer on the same machine is
// not woken for each piece, as it would be if it could keep up with us.
func (c *Conn) Write(p []byte, more bool, now int64) int {
	done, step := 0, 8*(maxSegment-maxSegment%c.mss)
	for done < len(p) {
		room := c.sendLimit() - c.send.size
		if c.NotSentLow > 0 {
			room = min(room, c.NotSentLow-c.unsent())
		}
		n := min(room, step, len(p)-done)
		if n <= 0 {
			break
		}
		k := c.send.push(c.memory, p[done:done+n])
		done += k
		c.more = more || done < len(p)
		c.output(now)
		if k < n {
			break
		}
	}
	c.more = more
	c.wantsRoom = done < len(p)
	return done
}
