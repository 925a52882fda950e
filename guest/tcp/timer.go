package tcp

import (
	"math/bits"
	"syscall"

	"github.com/dewpaas/dew/guest/packet"
)

// timers are a connection's deadlines, 0 for none. Only the earliest concerns
// its owner, and one that has moved later costs nothing: it is looked at when
// the old time comes.
type timers struct {
	timerAt   int64
	timerKind retransmit
	keepAt    int64 // keep-alive, or the end of FIN-WAIT-2
	retryAt   int64 // the card had no room

	retries   int // time-outs in a row
	synTries  int
	synAt     int64
	probes    int // of a closed window, unanswered
	keepTries int
	firstAt   int64 // of the time-outs in a row, for the user time-out

	lastSent    int64
	lastHeard   int64
	challengeAt int64
}

// retransmit is what the retransmission timer stands for.
type retransmit uint8

const (
	retransmitNone    retransmit = iota
	retransmitSyn                // our SYN has no answer
	retransmitTimeout            // RFC 6298
	retransmitTail               // tail loss probe, RFC 8985 section 7
	retransmitReorder            // RACK looks again, RFC 8985 section 6.2
	retransmitProbe              // the window is closed, RFC 9293 section 3.8.6.1
)

const (
	retryEvery  = ms
	maxRetries  = 15 // net.ipv4.tcp_retries2
	maxOrphan   = 8  // tcp_orphan_retries(2)
	maxSynAcks  = 5
	maxTailWait = 200 * ms // RFC 8985 WCDelAckT
	minTailWait = 2 * ms   // TCP_TIMEOUT_MIN of Linux
)

func (c *Conn) setRetransmit(at int64, kind retransmit) { c.timerAt, c.timerKind = at, kind }

func (c *Conn) stopRetransmit() { c.timerAt, c.timerKind = 0, retransmitNone }

// Deadline is when Expire must be called, 0 for never.
func (c *Conn) Deadline() int64 {
	at := int64(0)
	for _, t := range [...]int64{c.timerAt, c.acks.at, c.keepAt, c.retryAt} {
		if t != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	return at
}

// arm sets the timer for what is in flight, or for what cannot leave.
func (c *Conn) arm(now int64) {
	if c.sent.empty() {
		switch {
		case c.unsent() == 0 && (!c.finQueued || c.finSent):
			if c.timerKind != retransmitNone {
				c.stopRetransmit()
			}
		case c.timerKind != retransmitProbe:
			c.setRetransmit(now+c.rto, retransmitProbe)
		}
		return
	}
	switch c.timerKind {
	case retransmitTimeout, retransmitReorder:
		return
	case retransmitTail:
		if c.phase == opened {
			return
		}
	}
	if c.phase == opened && c.sackOK && !c.probing && c.srtt > 0 && c.sent.sacked == 0 {
		if wait := c.tailWait(); wait < c.rto {
			c.setRetransmit(now+wait, retransmitTail)
			return
		}
	}
	c.setRetransmit(now+c.rto, retransmitTimeout)
}

// tailWait is the probe time-out of RFC 8985 section 7.2.
func (c *Conn) tailWait() int64 {
	wait := 2*c.srtt + minTailWait
	if c.nxt.Minus(c.una) <= c.mss {
		wait += maxTailWait
	}
	return wait
}

// Expire does what is due.
func (c *Conn) Expire(now int64) {
	due := func(at int64) bool { return at != 0 && at <= now }
	if due(c.retryAt) {
		c.retry(now)
	}
	if due(c.acks.at) {
		// The program did not answer in time: next time it is not waited for.
		c.acks.at, c.acks.pingpong = 0, false
		if c.state.synchronized() {
			c.sendAck(now)
		}
	}
	if due(c.timerAt) {
		c.expireRetransmit(now)
	}
	if due(c.keepAt) {
		c.expireKeep(now)
	}
}

// retry sends what the card had no room for.
func (c *Conn) retry(now int64) {
	c.retryAt = 0
	if c.state == SynSent || c.state == SynReceived {
		c.sendSyn(now)
		return
	}
	c.output(now)
	c.Flush(now)
}

func (c *Conn) expireRetransmit(now int64) {
	kind := c.timerKind
	c.stopRetransmit()
	switch kind {
	case retransmitSyn:
		c.expireSyn(now)
	case retransmitTimeout:
		c.timeout(now)
	case retransmitTail:
		c.probeTail(now)
	case retransmitReorder:
		c.expireReorder(now)
	case retransmitProbe:
		c.probeWindow(now)
	}
}

// expireSyn sends our SYN again.
func (c *Conn) expireSyn(now int64) {
	limit := c.SynCount
	if c.state == SynReceived && !c.active {
		limit = maxSynAcks
	}
	if c.synTries >= limit {
		if c.state == SynReceived && !c.active {
			c.finish()
			return
		}
		c.fail(syscall.ETIMEDOUT)
		return
	}
	c.synTries++
	c.backOff()
	c.sendSyn(now)
	c.setRetransmit(now+c.rto, retransmitSyn)
}

// timeout is RFC 6298 section 5.4 to 5.7.
func (c *Conn) timeout(now int64) {
	if c.sent.empty() {
		return
	}
	if c.retries == 0 {
		c.firstAt = now - c.rto
	}
	if c.exhausted(c.retries, c.firstAt, now) {
		c.fail(syscall.ETIMEDOUT)
		return
	}
	c.retries++
	if c.sent.live()[0].flags&sacked != 0 { // the peer threw away what it had said it has
		for i := range c.sent.live() {
			e := &c.sent.live()[i]
			c.sent.mark(e, e.flags&^sacked)
		}
	}
	c.enter(timedOut)
	c.loseAll()
	c.cwnd = c.mss
	c.backOff()
	c.output(now)
	c.setRetransmit(now+c.rto, retransmitTimeout)
}

// exhausted tells whether to give up after so many tries.
func (c *Conn) exhausted(tries int, since, now int64) bool {
	if c.UserTimeout > 0 {
		return now-since >= c.UserTimeout
	}
	if c.orphan {
		return tries >= maxOrphan
	}
	return tries >= maxRetries
}

// probeTail is RFC 8985 section 7.3: new data if there is some, else the last
// segment again, so that the peer tells what it has.
func (c *Conn) probeTail(now int64) {
	if c.sent.empty() || c.phase != opened {
		c.arm(now)
		return
	}
	c.probing, c.probeEnd, c.probeNew = true, c.nxt, false
	if n := min(c.unsent(), c.mss, c.wnd-c.nxt.Minus(c.una)); n > 0 && len(c.sent.live()) < sendRecords {
		if c.sendPiece(n, false, now) {
			c.probeNew, c.probeEnd = true, c.nxt
		}
	} else {
		c.resendTail(now)
	}
	c.setRetransmit(now+c.rto, retransmitTimeout)
}

// resendTail sends the last segment again.
func (c *Conn) resendTail(now int64) {
	i := len(c.sent.live()) - 1
	e := &c.sent.live()[i]
	if n := e.end.Minus(e.seq); n > c.mss && c.sent.split(c.memory, i, e.end-Seq(c.mss)) {
		i++
	}
	if c.sent.live()[i].flags&sacked == 0 {
		c.resend(i, c.mss, now)
	}
}

// expireReorder looks again for what is lost.
func (c *Conn) expireReorder(now int64) {
	wait := c.detect(now)
	if c.phase == opened && c.sent.lost > 0 {
		c.enter(repairing)
		c.cwnd = c.sent.pipe + c.mss
	}
	c.output(now)
	if wait > 0 {
		c.setRetransmit(now+wait, retransmitReorder)
	}
}

// probeWindow asks whether the window has opened, or sends what Nagle's
// algorithm, a cork or a silly window holds back for too long.
func (c *Conn) probeWindow(now int64) {
	if c.wnd > c.nxt.Minus(c.una) {
		c.urge = true
		c.sendForced(now)
		c.urge = false
		c.arm(now)
		return
	}
	if c.probes == 0 {
		c.firstAt = now
	}
	if c.exhausted(c.probes, c.firstAt, now) {
		c.fail(syscall.ETIMEDOUT)
		return
	}
	c.probes++
	c.out = Out{}
	c.transmit(c.una-1, 0, 0, packet.ACK, now)
	shift := min(c.probes, bits.Len64(uint64(maxRTO/c.rto)))
	c.setRetransmit(now+min(c.rto<<shift, maxRTO), retransmitProbe)
}

// sendForced sends what there is, as much as the window lets through.
func (c *Conn) sendForced(now int64) {
	n := min(c.unsent(), c.wnd-c.nxt.Minus(c.una), c.mss)
	if n > 0 {
		n = c.send.span(c.nxt.Minus(c.una), n, MaxPieces)
		c.sendPiece(n, false, now)
	}
	c.output(now)
}

// expireKeep asks a silent peer whether it lives, or ends FIN-WAIT-2.
func (c *Conn) expireKeep(now int64) {
	c.keepAt = 0
	if c.orphan && c.state == FinWait2 {
		if left := c.lastHeard + c.FinTimeout - now; left > 0 {
			c.keepAt = now + left
			return
		}
		c.finish()
		return
	}
	if !c.KeepAlive || !c.state.synchronized() || c.state == TimeWait {
		return
	}
	idle := now - c.lastHeard
	switch {
	case idle < c.KeepIdle:
		c.keepAt = c.lastHeard + c.KeepIdle
		return
	case !c.sent.empty() || c.unsent() > 0: // the retransmission timer finds out
		c.keepAt = now + c.KeepIdle
		return
	case c.UserTimeout > 0 && idle >= c.UserTimeout && c.keepTries > 0, c.UserTimeout == 0 && c.keepTries >= c.KeepCount:
		c.sendReset(c.nxt)
		c.fail(syscall.ETIMEDOUT)
		return
	}
	c.keepTries++
	c.transmit(c.una-1, 0, 0, packet.ACK, now)
	c.keepAt = now + c.KeepInterval
}
