package tcp

import (
	"slices"
	"unsafe"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/packet"
)

// disorder is what came too early: runs of bytes beyond rcv, in order and
// apart from each other.
type disorder struct {
	runs   []run
	run    queue // a template: its reserve is never used
	stamp  uint32
	fin    bool // the peer's FIN has come, and where
	finSeq Seq
	// twice is what came twice, for a duplicate SACK; empty: nothing.
	twice packet.Block
}

type run struct {
	start, end Seq
	data       queue
	touched    uint32 // when it last grew: the latest is told first (RFC 2018 section 4)
}

// maxRuns bounds the gaps in what a peer has sent. What would make one more is
// dropped; it comes again.
const maxRuns = 128

// clear throws the runs away: the peer sends them again (RFC 2018 section 8).
func (d *disorder) clear(m *Memory) {
	for i := range d.runs {
		d.runs[i].data.clear(m)
	}
	d.runs = nil
}

// repeated notes data that was here already.
func (d *disorder) repeated(start, end Seq) {
	d.twice = packet.Block{Start: uint32(start), End: uint32(end)}
}

// add keeps p, which begins at seq, as far as memory allows.
func (d *disorder) add(m *Memory, seq Seq, p []byte) {
	d.stamp++
	i := 0
	for len(p) > 0 {
		for i < len(d.runs) && d.runs[i].end.Before(seq) {
			i++
		}
		end := seq + Seq(len(p))
		switch {
		case i == len(d.runs) || end.Before(d.runs[i].start):
			d.insert(m, i, seq, p)
			return
		case seq.Before(d.runs[i].start):
			n := d.runs[i].start.Minus(seq)
			if !d.insert(m, i, seq, p[:n]) {
				return
			}
			seq, p = seq+Seq(n), p[n:]
			d.join(i)
		default:
			n := min(d.runs[i].end.Minus(seq), len(p))
			if n > 0 {
				d.repeated(seq, seq+Seq(n))
			}
			seq, p = seq+Seq(n), p[n:]
			if d.runs[i].touched = d.stamp; len(p) > 0 && !d.extend(m, i, &seq, &p) {
				return
			}
		}
	}
}

// insert makes a new run, and tells whether all of p is in it.
func (d *disorder) insert(m *Memory, i int, seq Seq, p []byte) bool {
	if len(d.runs) >= maxRuns {
		return false
	}
	r := run{start: seq, data: d.run, touched: d.stamp}
	n := r.data.push(m, p)
	if n == 0 {
		return false
	}
	r.end = seq + Seq(n)
	d.runs = slices.Insert(d.runs, i, r)
	return n == len(p)
}

// extend appends to run i what fits before the next run.
func (d *disorder) extend(m *Memory, i int, seq *Seq, p *[]byte) bool {
	n := len(*p)
	if i+1 < len(d.runs) {
		n = min(n, d.runs[i+1].start.Minus(*seq))
	}
	k := d.runs[i].data.push(m, (*p)[:n])
	d.runs[i].end += Seq(k)
	*seq, *p = *seq+Seq(k), (*p)[k:]
	if k < n {
		return false
	}
	d.join(i)
	return true
}

// join makes one run of i and the next, if they touch.
func (d *disorder) join(i int) {
	if i+1 >= len(d.runs) || d.runs[i].end != d.runs[i+1].start {
		return
	}
	next := &d.runs[i+1]
	d.runs[i].data.splice(&next.data)
	d.runs[i].end = next.end
	d.runs[i].touched = max(d.runs[i].touched, next.touched)
	d.runs = slices.Delete(d.runs, i+1, i+2)
}

// blocks writes the SACK blocks, the latest first, behind a duplicate one.
func (d *disorder) blocks(o *packet.Options, limit int) {
	if d.twice.Start != d.twice.End {
		o.Blocks[0], o.NumBlocks = d.twice, 1
		d.twice = packet.Block{}
	}
	last := uint32(1<<32 - 1)
	for o.NumBlocks < limit {
		best := -1
		for i := range d.runs {
			if t := d.runs[i].touched; t < last && (best < 0 || t > d.runs[best].touched) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		r := &d.runs[best]
		o.Blocks[o.NumBlocks] = packet.Block{Start: uint32(r.start), End: uint32(r.end)}
		o.NumBlocks++
		last = r.touched
	}
}

// take takes the payload of a segment within the window.
func (c *Conn) take(s *Segment, now int64) {
	p := s.Payload
	if skip := c.rcv.Minus(s.Seq); skip > 0 { // the front is here already
		if c.sackOK {
			c.order.repeated(s.Seq, s.Seq+Seq(min(skip, len(p))))
		}
		p = p[min(skip, len(p)):]
		c.acks.now = true
	} else if skip < 0 {
		c.takeEarly(s, p, now)
		return
	}
	if len(p) == 0 {
		return
	}
	empty := c.receive.size == 0
	if !c.keep(s, p) {
		c.acks.now = true // there is no memory: the peer will send it again
		return
	}
	c.segments(s, now)
	if len(c.order.runs) > 0 {
		c.fill()
	}
	if empty {
		c.Wakes |= fd.Readable
	}
}

// takeEarly takes a segment that leaves a gap.
func (c *Conn) takeEarly(s *Segment, p []byte, now int64) {
	if len(p) > 0 {
		c.order.add(c.memory, s.Seq, p)
		c.rcvMSS = max(c.rcvMSS, len(p)/s.Pieces)
	}
	if c.acks.now = true; !c.sackOK {
		c.sendAck(now) // the sender counts them (RFC 5681 section 3.2)
	}
}

// keep appends p to what the program can read, as far as memory allows: the
// chunk itself where it is well filled, a copy otherwise.
func (c *Conn) keep(s *Segment, p []byte) bool {
	if s.Chunk != nil && len(p) >= LargeChunk/2 && c.memory.Adopt(s.Chunk) {
		k := s.Chunk
		s.Chunk = nil
		k.r = int(uintptr(unsafe.Pointer(&p[0])) - uintptr(unsafe.Pointer(&k.buf[0])))
		k.w = k.r + len(p)
		c.receive.pushChunk(k)
		c.rcv += Seq(len(p))
		return true
	}
	n := c.receive.push(c.memory, p)
	if n < len(p) && len(c.order.runs) > 0 {
		c.order.clear(c.memory)
		n += c.receive.push(c.memory, p[n:])
	}
	c.rcv += Seq(n)
	return n > 0
}

// fill takes over the runs that are not early any more.
func (c *Conn) fill() {
	d := &c.order
	for len(d.runs) > 0 && d.runs[0].start.AtMost(c.rcv) {
		r := &d.runs[0]
		if n := c.rcv.Minus(r.start); n > 0 {
			r.data.skip(c.memory, min(n, r.data.size))
		}
		c.rcv = later(c.rcv, r.end)
		c.receive.splice(&r.data)
		d.runs = slices.Delete(d.runs, 0, 1)
	}
	if len(d.runs) == 0 {
		d.runs = nil
	}
	c.acks.now = true // RFC 5681 section 4.2
}

// acking is when to acknowledge.
type acking struct {
	now      bool
	at       int64 // delayed acknowledgement, 0: none due
	sent     Seq   // the last number acknowledged
	quick    int   // segments to acknowledge at once (TCP_QUICKACK)
	pingpong bool  // the program answers what it gets, and the answer carries the acknowledgement
}

const delayedAck = 40 * ms // TCP_DELACK_MIN of Linux

// segments decides when to acknowledge data that came in order: every second
// full segment (RFC 5681 section 4.2), otherwise with the answer or, if none
// comes, after a delay. A burst is acknowledged once, at its end: Flush.
func (c *Conn) segments(s *Segment, now int64) {
	c.rcvMSS = max(c.rcvMSS, len(s.Payload)/s.Pieces)
	if c.acks.quick > 0 {
		c.acks.quick--
		c.acks.now = true
	}
	if c.rcv.Minus(c.acks.sent) > c.rcvMSS {
		c.acks.now = true
		return
	}
	if c.acks.at == 0 {
		c.acks.at = now + delayedAck
	}
}

// tuning grows the receive buffer with what the program reads in a round trip.
type tuning struct {
	since  int64
	copied int
}

// tune is called when the program has read n bytes.
func (c *Conn) tune(n int, now int64) {
	t := &c.tuning
	t.copied += n
	if now-t.since < max(c.srtt, ms) {
		return
	}
	if want := min(2*t.copied, MaxBuffer); want > c.ReceiveBuffer && !c.FixedReceive && !c.memory.Tight() {
		c.ReceiveBuffer = want
	}
	t.since, t.copied = now, 0
}

// window computes what to offer: never less than was offered, and more only if
// it is worth telling (RFC 9293 section 3.8.6.2.2).
func (c *Conn) window() int {
	room := c.ReceiveBuffer - c.receive.size
	if c.WindowClamp > 0 {
		room = min(room, c.WindowClamp)
	}
	if c.memory.Tight() {
		room = min(room, minBuffer-c.receive.size)
	}
	offered := c.edge.Minus(c.rcv)
	if room-offered < min(c.ReceiveBuffer/2, c.mss) {
		return offered
	}
	return room
}

// offer writes the window into a segment and remembers its edge.
func (c *Conn) offer() uint16 {
	n := c.window()
	shift := 0
	if c.scaleOK {
		shift = Scale
	}
	w := min((n+1<<shift-1)>>shift, 0xffff)
	c.edge = later(c.edge, c.rcv+Seq(w<<shift))
	return uint16(w)
}
