package tcp

import (
	"syscall"

	"github.com/dewpaas/dew/guest/fd"
)

// CanWrite tells what stops the program from writing: 0, EAGAIN, or an error.
func (c *Conn) CanWrite() syscall.Errno {
	switch {
	case c.err != 0:
		return c.TakeError()
	case c.finQueued, c.state == Closed, c.state == TimeWait:
		return syscall.EPIPE
	case c.state == SynSent, c.state == SynReceived:
		return syscall.EAGAIN
	}
	return 0
}

// Read copies received bytes into p, or leaves them with peek, or throws them
// away with p nil and n their number. It returns 0 and no error at the end.
func (c *Conn) Read(p []byte, peek bool, now int64) (int, syscall.Errno) {
	switch {
	case c.receive.size > 0 && len(p) > 0:
	case len(p) == 0 && (c.receive.size > 0 || c.ended()):
		return 0, 0
	case c.finSeen: // before an error: the end was there first (SOCK_DONE of Linux)
		return 0, 0
	case c.err != 0:
		return 0, c.TakeError()
	case c.ended():
		return 0, 0
	default:
		c.answerNothing(now)
		return 0, syscall.EAGAIN
	}
	if peek {
		return c.receive.peek(p), 0
	}
	n := c.receive.read(c.memory, p)
	c.hasRead(n, now)
	return n, 0
}

// Discard throws up to n received bytes away.
func (c *Conn) Discard(n int, now int64) (int, syscall.Errno) {
	if n = min(n, c.receive.size); n == 0 {
		return c.Read(make([]byte, 1), true, now)
	}
	c.receive.skip(c.memory, n)
	c.hasRead(n, now)
	return n, 0
}

// hasRead tells the peer of the room that the program has made, where the
// window that it knows is small (tcp_cleanup_rbuf of Linux).
func (c *Conn) hasRead(n int, now int64) {
	c.bytesTaken += uint64(n)
	c.tune(n, now)
	if !c.state.receives() {
		return
	}
	offered, window := c.edge.Minus(c.rcv), c.window()
	if window >= 2*offered && 2*offered <= c.ReceiveBuffer && window > offered {
		c.sendAck(now)
	}
}

// answerNothing is called when the program asks for more and there is none:
// where it does not answer what it gets, the acknowledgement need not wait.
func (c *Conn) answerNothing(now int64) {
	if c.acks.at > 0 && !c.acks.pingpong {
		c.sendAck(now)
	}
}

// ended tells whether nothing more will be received.
func (c *Conn) ended() bool {
	return c.finSeen || c.shutRead || c.state == Closed || c.state == TimeWait
}

// Dry tells whether Read has nothing to give, and nothing else to say.
func (c *Conn) Dry() bool { return c.receive.size == 0 && c.err == 0 && !c.ended() }

// TakeError returns why the connection ended and forgets it.
func (c *Conn) TakeError() syscall.Errno {
	err := c.err
	c.err = 0
	return err
}

// SetError leaves an error for the program, of an ICMP message.
func (c *Conn) SetError(err syscall.Errno) { c.err = err }

// Ready is what tcp_poll of Linux tells.
func (c *Conn) Ready() fd.Events {
	var ev fd.Events
	if c.receive.size > 0 || c.ended() {
		ev |= fd.Readable
	}
	if c.finSeen || c.shutRead || c.state == Closed {
		ev |= fd.PeerShut
	}
	if c.err != 0 {
		ev |= fd.Failed
	}
	if c.state == Closed || c.finQueued && (c.finSeen || c.shutRead) {
		ev |= fd.HungUp
	}
	switch {
	case c.state == SynSent || c.state == SynReceived:
		return ev
	case c.finQueued || c.state == Closed || c.writable():
		ev |= fd.Writable
	default:
		c.wantsRoom = true
	}
	return ev
}

// CloseWrite ends our direction: FIN follows what is queued.
func (c *Conn) CloseWrite(now int64) {
	if c.finQueued {
		return
	}
	c.finQueued = true
	switch c.state {
	case Established:
		c.state = FinWait1
	case CloseWait:
		c.state = LastAck
	case SynSent, SynReceived:
		return
	}
	c.urge = true // the end is not waited for
	c.output(now)
	c.urge = false
	c.Wakes |= fd.Writable
}

// CloseRead makes the program see the end of what it receives (shutdown(2)).
func (c *Conn) CloseRead() {
	c.shutRead = true
	c.Wakes |= fd.Readable | fd.PeerShut
}

// Close is the program's last word. What is queued is still sent, but a program
// that did not read all that came resets the connection (RFC 2525 section
// 2.17), and so does one that asks to with abort.
func (c *Conn) Close(abort bool, now int64) {
	c.orphan = true
	switch {
	case c.state == Closed || c.state == TimeWait:
	case c.state == SynSent:
		c.finish()
	case abort || c.receive.size > 0 || c.state == SynReceived:
		c.Abort()
	default:
		c.CloseWrite(now)
		if c.state == FinWait2 {
			c.keepAt = now + c.FinTimeout
		} else if c.state.synchronized() {
			c.keepAt = 0
		}
	}
	c.receive.clear(c.memory)
	c.order.clear(c.memory)
}

// Abort resets the connection.
func (c *Conn) Abort() {
	if c.state != Closed && c.state != TimeWait && c.state != SynSent {
		c.sendReset(c.nxt)
	}
	c.finish()
}

// Fail ends the connection with an error and without a word to the peer.
func (c *Conn) Fail(err syscall.Errno) { c.fail(err) }

// Unread is how many bytes can be read.
func (c *Conn) Unread() int { return c.receive.size }

// Unacked is how many bytes are in the send queue.
func (c *Conn) Unacked() int { return c.send.size }

// Pieces tells where the payload of a segment that is being sent lies.
func (c *Conn) Pieces(o *Out, iov []syscall.Iovec) int {
	n, _ := c.send.pieces(o.Offset, o.Length, iov)
	return n
}

// Uncork sends what waited for NoDelay, Cork or more to come.
func (c *Conn) Uncork(now int64) {
	if c.state.sends() {
		c.more = false
		c.output(now)
	}
}

// SetKeepAlive starts or stops the keep-alive timer after a change of settings.
func (c *Conn) SetKeepAlive(now int64) {
	switch {
	case c.orphan || !c.state.synchronized():
	case c.KeepAlive:
		c.keepAt = now + c.KeepIdle
	default:
		c.keepAt = 0
	}
}

// QuickAck acknowledges at once for a while, or goes back to waiting for answers.
func (c *Conn) QuickAck(on bool, now int64) {
	c.acks.pingpong = !on
	c.acks.quick = 0
	if on {
		c.acks.quick = 16
		if c.acks.at > 0 && c.state.synchronized() {
			c.sendAck(now)
		}
	}
}

// SetMTU takes a smaller path MTU. What is in flight was dropped on the way
// and is sent again in smaller segments, which is not congestion.
func (c *Conn) SetMTU(mtu int, now int64) {
	if mtu >= c.mtu || mtu < headers+minMSS {
		return
	}
	c.mtu = mtu
	c.setMSS()
	if !c.state.sends() || c.sent.empty() {
		return
	}
	c.loseAll()
	c.output(now)
}

// InWindow tells whether seq is of something in flight: what an ICMP message
// quotes must be (RFC 5927 section 4).
func (c *Conn) InWindow(seq Seq) bool { return c.una.AtMost(seq) && seq.Before(c.nxt) }

// PingPong tells whether acknowledgements wait for the program's answers.
func (c *Conn) PingPong() bool { return c.acks.pingpong }

// NextExpected is the number of the next byte that the peer has to send.
func (c *Conn) NextExpected() Seq { return c.rcv }
