package tcp

import "github.com/dewpaas/dew/guest/packet"

// recovery is the repair of losses: RACK and tail loss probes (RFC 8985) over
// SACK (RFC 2018), proportional rate reduction (RFC 6937), and undoing what
// was done for nothing (RFC 3522). A peer without SACK gets NewReno (RFC 6582).
type recovery struct {
	phase   phase
	recover Seq // the phase ends when this is acknowledged
	scan    int // no record before it, counted from the first live one, is lost

	// RACK: the most recently sent of the segments that arrived.
	rackAt    int64
	rackEnd   Seq
	rackRTT   int64
	reordered bool
	reoScale  int64 // of the reordering window, in quarters of the minimal RTT
	reoKeep   int   // recoveries until reoScale is forgotten
	highSack  Seq   // highest end the peer has named

	dups int // duplicate acknowledgements of a peer without SACK

	// Tail loss probe under way, if probing.
	probing  bool
	probeEnd Seq
	probeNew bool // it carried new data

	// Proportional rate reduction.
	prrDelivered, prrOut, prrFlight int

	// What to go back to when the retransmissions were not needed.
	undoCwnd, undoThresh int
	undoTime             uint32 // our timestamp of the first retransmission, 0: none
	undoLeft             int    // retransmissions that no duplicate SACK has explained
	undoUna              Seq
}

type phase uint8

const (
	opened    phase = iota
	repairing       // fast recovery
	timedOut        // after a retransmission time-out
)

const (
	dupThresh  = 3
	reoMax     = 20 // of reoScale
	reoPersist = 16 // RFC 8985 section 6.2 step 4
)

// arrival is what one acknowledgement has told.
type arrival struct {
	delivered int   // bytes that arrived and were not known to have
	rtt       int64 // of the latest that was sent once, 0: none
	resentAt  int64 // when the latest that was sent again was, 0: none
	dsack     bool
}

// delivered notes that record e has arrived.
func (c *Conn) delivered(e *record, a *arrival, now int64) {
	a.delivered += e.end.Minus(e.seq)
	d := now - e.at
	if e.flags&resent != 0 {
		a.resentAt = max(a.resentAt, e.at)
		// It may be the first transmission that arrived (section 6.2 step 2).
		if d < c.minRTT.value() {
			return
		}
	} else if a.rtt == 0 || d < a.rtt {
		a.rtt = max(d, 1)
	}
	if e.at > c.rackAt || e.at == c.rackAt && c.rackEnd.Before(e.end) {
		c.rackAt, c.rackEnd, c.rackRTT = e.at, e.end, d
	}
	if e.flags&resent == 0 && e.end.Before(c.highSack) {
		c.reordered = true // it was overtaken and not lost (step 3)
	}
}

// pass takes what a cumulative acknowledgement covers off the records.
func (c *Conn) pass(ack Seq, a *arrival, now int64) {
	for i := range c.sent.live() {
		e := &c.sent.live()[i]
		if ack.AtMost(e.seq) {
			break
		}
		part := *e
		if ack.Before(e.end) {
			part.end = ack
		}
		if e.flags&sacked == 0 {
			c.delivered(&part, a, now)
		}
	}
	c.sent.pop(ack)
	c.scan = 0
}

// selective marks what SACK blocks name.
func (c *Conn) selective(o *packet.Options, ack Seq, a *arrival, now int64) {
	highest := c.highSack // reordering is measured against what was known before
	for i := range o.NumBlocks {
		start, end := Seq(o.Blocks[i].Start), Seq(o.Blocks[i].End)
		if i == 0 && c.duplicate(start, end, ack, o) {
			a.dsack = true
			continue
		}
		if !start.Before(end) || start.Before(c.una) || c.nxt.Before(end) {
			continue // of another time, or made up
		}
		c.markSacked(start, end, a, now)
		highest = later(highest, end)
	}
	c.highSack = highest
}

// duplicate tells whether the first block says that something came twice (RFC
// 2883): it lies below the acknowledgement or within the second block.
func (c *Conn) duplicate(start, end, ack Seq, o *packet.Options) bool {
	within := o.NumBlocks > 1 && Seq(o.Blocks[1].Start).AtMost(start) && end.AtMost(Seq(o.Blocks[1].End))
	if !start.Before(end) || !end.AtMost(ack) && !within {
		return false
	}
	if c.undoUna.AtMost(start) {
		c.undoLeft--
	}
	return true
}

func (c *Conn) markSacked(start, end Seq, a *arrival, now int64) {
	for i := 0; i < len(c.sent.live()); i++ {
		e := &c.sent.live()[i]
		if end.AtMost(e.seq) {
			return
		}
		if e.end.AtMost(start) || e.flags&sacked != 0 {
			continue
		}
		if e.seq.Before(start) {
			if !c.sent.split(c.memory, i, start) {
				return
			}
			continue // the rest comes next
		}
		if end.Before(e.end) && !c.sent.split(c.memory, i, end) {
			return
		}
		e = &c.sent.live()[i]
		c.delivered(e, a, now)
		c.sent.mark(e, e.flags&^lost|sacked)
		c.scan = 0
	}
}

// reorderWindow is how much longer than the latest round trip a segment may
// take (RFC 8985 section 6.2 step 4).
func (c *Conn) reorderWindow() int64 {
	if !c.reordered && (c.phase != opened || c.sent.sacked >= dupThresh*c.mss) {
		return 0
	}
	return min(c.minRTT.value()/4*max(c.reoScale, 1), c.srtt)
}

// detect marks what RACK takes for lost and returns how long to wait for the
// next look, 0 for never.
func (c *Conn) detect(now int64) (wait int64) {
	if c.rackAt == 0 {
		return 0
	}
	window := c.reorderWindow()
	live := c.sent.live()
	for i := range live {
		e := &live[i]
		if e.flags&(sacked|lost) != 0 || !sentBefore(e, c.rackAt, c.rackEnd) {
			continue
		}
		if left := e.at + c.rackRTT + window - now; left > 0 {
			wait = max(wait, left)
			continue
		}
		c.sent.mark(e, e.flags|lost)
		c.scan = 0
	}
	return wait
}

func sentBefore(e *record, at int64, end Seq) bool {
	return e.at < at || e.at == at && e.end.Before(end)
}

// repair decides what an acknowledgement means for recovery and the window.
func (c *Conn) repair(a *arrival, advanced int, now int64) {
	if a.dsack {
		c.reorderingSeen()
	}
	if !c.sackOK {
		c.newReno(advanced)
	}
	wait := int64(0)
	if c.sackOK && (c.sent.sacked > 0 || c.phase != opened) {
		wait = c.detect(now)
	}
	if c.phase != opened && c.recover.AtMost(c.una) {
		c.leave()
	}
	if c.phase == opened && c.sent.lost > 0 {
		c.enter(repairing)
	}
	switch c.phase {
	case repairing:
		c.reduceRate(a.delivered, advanced > 0)
	default:
		c.acked(a.delivered, c.mss, c.srtt, now)
	}
	if wait > 0 {
		c.setRetransmit(now+wait, retransmitReorder)
	}
}

// enter begins a recovery.
func (c *Conn) enter(p phase) {
	if c.phase == opened || p == timedOut && c.recover.AtMost(c.una) {
		c.undoCwnd, c.undoThresh = c.cwnd, c.ssthresh
		c.undoTime, c.undoLeft, c.undoUna = 0, 0, c.una
		for i := range c.sent.live() {
			c.sent.live()[i].flags &^= counted
		}
		c.reduce(c.nxt.Minus(c.una), c.mss)
	}
	c.phase, c.recover = p, c.nxt
	c.prrDelivered, c.prrOut, c.prrFlight = 0, 0, max(c.nxt.Minus(c.una), 1)
	c.probing = false
}

// leave ends it.
func (c *Conn) leave() {
	if c.phase == repairing {
		c.cwnd = c.ssthresh
	}
	c.phase, c.dups = opened, 0
	c.undoTime = 0
	if c.reoKeep > 0 {
		if c.reoKeep--; c.reoKeep == 0 {
			c.reoScale = 1
		}
	}
}

// reduceRate is PRR with its slow start reduction bound (RFC 6937 section 3).
func (c *Conn) reduceRate(delivered int, advanced bool) {
	if delivered <= 0 && !advanced {
		return
	}
	c.prrDelivered += delivered
	pipe, room := c.pipe(), 0
	if pipe > c.ssthresh {
		room = int((int64(c.prrDelivered)*int64(c.ssthresh)+int64(c.prrFlight)-1)/int64(c.prrFlight)) - c.prrOut
	} else {
		limit := max(c.prrDelivered-c.prrOut, delivered)
		if advanced {
			limit += c.mss
		}
		room = min(c.ssthresh-pipe, limit)
	}
	if c.prrOut == 0 {
		room = max(room, c.mss) // the first retransmission leaves at once
	}
	c.cwnd = pipe + max(room, 0)
}

// pipe is how much is taken to be in the network. Each duplicate of a peer
// without SACK says that one segment has left it.
func (c *Conn) pipe() int { return max(c.sent.pipe-c.dups*c.mss, 0) }

// reorderingSeen widens the reordering window: a retransmission was not needed.
func (c *Conn) reorderingSeen() {
	c.reoScale = min(c.reoScale+1, reoMax)
	c.reoKeep = reoPersist
}

// newReno counts duplicate acknowledgements and repairs one segment a round trip.
func (c *Conn) newReno(advanced int) {
	switch {
	case advanced > 0 && c.phase == repairing && c.una.Before(c.recover):
		c.dups = max(c.dups-max(advanced/c.mss-1, 0), 0)
		c.loseFirst()
	case advanced > 0:
		c.dups = 0
	case c.dups >= dupThresh && c.phase == opened:
		c.loseFirst()
	}
}

// loseFirst marks the first segment lost.
func (c *Conn) loseFirst() {
	if c.sent.empty() {
		return
	}
	e := &c.sent.live()[0]
	if e.end.Minus(e.seq) > c.mss && c.sent.split(c.memory, 0, e.seq+Seq(c.mss)) {
		e = &c.sent.live()[0]
	}
	if e.flags&sacked == 0 {
		c.sent.mark(e, e.flags|lost)
		c.scan = 0
	}
}

// loseAll is what a time-out means (RFC 6675 section 5.1).
func (c *Conn) loseAll() {
	live := c.sent.live()
	for i := range live {
		if live[i].flags&(sacked|lost) == 0 {
			c.sent.mark(&live[i], live[i].flags|lost)
		}
	}
	c.scan = 0
}

// undo takes a recovery back that was begun for nothing: the acknowledgement
// answers a segment older than the first retransmission (RFC 3522), or
// duplicate SACKs explain all retransmissions (RFC 3708).
func (c *Conn) undo(s *Segment) {
	if c.phase == opened || c.undoTime == 0 {
		return
	}
	if !(c.early(s) && c.undoUna.Before(c.una)) && c.undoLeft > 0 {
		return
	}
	c.cwnd = max(c.cwnd, c.undoCwnd)
	c.ssthresh = max(c.ssthresh, c.undoThresh)
	live := c.sent.live()
	for i := range live {
		if live[i].flags&lost != 0 {
			c.sent.mark(&live[i], live[i].flags&^lost)
		}
	}
	c.phase, c.undoTime, c.dups = opened, 0, 0
	// The back-off stays until something that was sent once is measured: if the
	// path has become slow, it is what keeps us from doing this again (Karn).
}

// early tells whether a segment answers what was sent before the first
// retransmission of this recovery.
func (c *Conn) early(s *Segment) bool {
	return c.undoTime != 0 && c.timeOK && s.Options.HasTime && s.Options.Echo != 0 && int32(s.Options.Echo-c.undoTime) < 0
}

// probed looks whether an acknowledgement settles a tail loss probe (RFC 8985
// section 7.4). One that ends where the probe ended may still be followed by a
// duplicate SACK: the probe was not needed then.
func (c *Conn) probed(a *arrival, duplicate bool) {
	if !c.probing || c.una.Before(c.probeEnd) {
		return
	}
	switch {
	case c.probeNew || a.dsack || c.phase != opened || duplicate:
	case c.una == c.probeEnd:
		return
	default: // the probe has repaired a loss: the window pays for it
		c.reduce(c.cwnd, c.mss)
		c.cwnd = c.ssthresh
	}
	c.probing = false
}
