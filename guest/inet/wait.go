package inet

import (
	"unsafe"

	"github.com/dewpaas/dew/guest/packet"
	"github.com/dewpaas/dew/guest/tcp"
)

// wait is what is kept of a connection in TIME-WAIT (RFC 9293 section 3.3.2):
// enough to answer a repeated FIN, and to know a new connection from old
// segments (RFC 6191).
type wait struct {
	flow   flow
	rcv    tcp.Seq // what we expect
	nxt    tcp.Seq // what we would send
	recent uint32  // the peer's last timestamp
	offset uint32  // of ours
	timeOK bool
	until  int64
	prev   *wait
	next   *wait // in the order of until, which is that of entering
}

// waits are the connections in TIME-WAIT, bounded in number: the oldest goes
// when there are too many. The stack's mutex guards them.
type waits struct {
	byFlow      map[flow]*wait
	first, last *wait
	limit       int
}

const (
	waitTime = 60 * 1e9 // TCP_TIMEWAIT_LEN of Linux
	waitCost = int(unsafe.Sizeof(wait{})) + 64
	maxWaits = 16384
)

// init gives TIME-WAIT a thirty-second of the memory bound.
func (ws *waits) init(memory int) {
	ws.byFlow = map[flow]*wait{}
	ws.limit = min(memory/32/waitCost, maxWaits)
}

func (ws *waits) find(f flow) *wait { return ws.byFlow[f] }

// add keeps what is left of a connection.
func (s *Stack) addWait(t *TCP, now int64) {
	ws := &s.waits
	s.expireWaits(now)
	if len(ws.byFlow) >= ws.limit {
		s.removeWait(ws.first)
	}
	if !s.memory.Take(waitCost) {
		return
	}
	w := &wait{flow: t.flow, until: now + waitTime}
	w.rcv, w.nxt, w.recent, w.offset, w.timeOK = t.conn.Remains()
	ws.byFlow[w.flow] = w
	ws.append(w)
}

// expireWaits forgets those whose time is over and returns when the next is.
func (s *Stack) expireWaits(now int64) int64 {
	for w := s.waits.first; w != nil; w = s.waits.first {
		if w.until > now {
			return w.until
		}
		s.removeWait(w)
	}
	return 0
}

func (s *Stack) findWait(f flow, now int64) *wait {
	w := s.waits.find(f)
	if w != nil && w.until <= now {
		s.removeWait(w)
		return nil
	}
	return w
}

func (s *Stack) removeWait(w *wait) {
	s.waits.remove(w)
	s.memory.Give(waitCost)
}

func (ws *waits) append(w *wait) {
	w.prev, w.next = ws.last, nil
	if ws.last == nil {
		ws.first = w
	} else {
		ws.last.next = w
	}
	ws.last = w
}

func (ws *waits) unlink(w *wait) {
	if w.prev == nil {
		ws.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		ws.last = w.prev
	} else {
		w.next.prev = w.prev
	}
}

func (ws *waits) remove(w *wait) {
	ws.unlink(w)
	delete(ws.byFlow, w.flow)
}

// reborn tells whether a segment begins a new connection: a SYN that is newer
// than all there was, by its timestamp or its number (RFC 6191 section 2).
func (w *wait) reborn(g *tcp.Segment) bool {
	if g.Flags&(packet.SYN|packet.ACK|packet.RST) != packet.SYN {
		return false
	}
	return w.rcv.Before(g.Seq) || w.timeOK && g.Options.HasTime && int32(g.Options.Time-w.recent) > 0
}

// waitInput answers a segment to a connection in TIME-WAIT. The stack's mutex
// is held and given back.
func (s *Stack) waitInput(w *wait, g *tcp.Segment, now int64) {
	answer := *w
	old := w.timeOK && g.Options.HasTime && int32(g.Options.Time-w.recent) < 0
	switch {
	case g.Flags.Has(packet.RST): // believed by nobody here: RFC 1337
		s.mu.Unlock()
		return
	case g.Flags.Has(packet.FIN) && !old: // our acknowledgement was lost
		w.until = now + waitTime
		s.waits.unlink(w)
		s.waits.append(w)
	case !g.Flags.Has(packet.SYN) && len(g.Payload) == 0 && !old && g.Seq == w.rcv:
		s.mu.Unlock() // the last acknowledgement of the handshake at the end
		return
	}
	s.mu.Unlock()
	o := packet.Options{HasTime: w.timeOK, Time: uint32(now/1e6) + answer.offset, Echo: answer.recent}
	s.bare(answer.flow, &packet.TCPFields{Seq: uint32(answer.nxt), Ack: uint32(answer.rcv), Flags: packet.ACK}, &o)
}
