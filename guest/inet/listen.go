package inet

import (
	"sync"
	"syscall"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/packet"
	"github.com/dewpaas/dew/guest/tcp"
)

// listener is what a listening endpoint has beyond others.
type listener struct {
	stack    *Stack
	notifier *fd.Notifier

	mu       sync.Mutex // guards all below
	settings tcp.Settings
	inherits inherited
	ready    []*TCP // connections nobody accepted yet, the oldest first
	growing  int    // connections whose handshake is not complete
	backlog  int
	cookieAt int64 // when a SYN cookie was sent last, 0: never
	closed   bool
}

// inherited is what accepted connections get of the endpoint beyond settings.
type inherited struct {
	ttl, tos uint8
	linger   int
	deferFor int64 // TCP_DEFER_ACCEPT, ns
}

const (
	// MaxBacklog is net.core.somaxconn, as /proc/sys says it.
	MaxBacklog = 4096
	// maxGrowing is how many handshakes a listener keeps state for; beyond it
	// cookies are sent (net.ipv4.tcp_max_syn_backlog, on a small machine).
	maxGrowing = 256
)

// Listen accepts connections from now on, or changes the backlog; an unbound
// endpoint gets a free port.
func (t *TCP) Listen(backlog int) syscall.Errno {
	t.mu.Lock()
	defer t.letGo()
	if t.used || t.closed {
		return syscall.EINVAL
	}
	if backlog < 0 || backlog > MaxBacklog {
		backlog = MaxBacklog
	}
	if t.listener != nil {
		t.listener.mu.Lock()
		t.listener.backlog = backlog
		t.listener.mu.Unlock()
		return 0
	}
	if !t.claimed {
		if err := t.bind(Addr{}); err != 0 {
			return err
		}
	}
	if !t.charge() {
		return syscall.ENOBUFS
	}
	l := &listener{stack: t.stack, notifier: &t.notifier, backlog: backlog, settings: t.settings, inherits: t.inherited()}
	return t.startListening(l)
}

func (t *TCP) startListening(l *listener) syscall.Errno {
	s := t.stack
	s.mu.Lock()
	defer s.mu.Unlock()
	t.listening = true
	if !s.tcpPorts.free(&t.binding, false) {
		t.listening = false
		return syscall.EADDRINUSE
	}
	t.listener = l
	return 0
}

func (t *TCP) inherited() inherited {
	return inherited{t.ttl, t.tos, t.linger, int64(t.deferFor) * second}
}

// pass makes a listener's settings those of the connections to come. t.mu is held.
func (t *TCP) pass() {
	if l := t.listener; l != nil {
		l.mu.Lock()
		l.settings = t.settings
		l.inherits = t.inherited()
		l.mu.Unlock()
	}
}

// stopListening returns the connections that nobody will accept any more.
func (t *TCP) stopListening() []*TCP {
	l := t.listener
	t.stack.mu.Lock()
	t.listener, t.listening = nil, false
	t.stack.mu.Unlock()
	if t.charged {
		t.charged = false
		t.stack.memory.Give(connCost)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.ready
	l.ready, l.closed = nil, true
	return left
}

// abort resets connections that have no owner. No endpoint's lock is held.
func abort(list []*TCP) {
	for _, t := range list {
		now := t.lock()
		t.closed = true
		t.conn.Close(true, now)
		t.unlock(now)
	}
}

// listening finds the listener for a flow, the one with the exact address
// first; of several that share it with SO_REUSEPORT, the flow decides. The
// stack's mutex is held.
func (s *Stack) listening(f flow) *listener {
	var found [2][]*TCP
	var room [2][4]*TCP
	found[0], found[1] = room[0][:0], room[1][:0]
	for _, u := range s.tcpPorts[f.localPort] {
		t := u.(*TCP)
		switch {
		case !t.listening:
		case t.IP == f.local:
			found[0] = append(found[0], t)
		case t.IP == anyIP:
			found[1] = append(found[1], t)
		}
	}
	for _, list := range found {
		if n := uint64(len(list)); n > 0 {
			a, b := f.words()
			return list[s.keys.choice.sum(a, b, 1)%n].listener
		}
	}
	return nil
}

// full tells whether no more connections are taken until some are accepted.
func (l *listener) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ready) > l.backlog
}

func (l *listener) isReady() fd.Events {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ready) > 0 {
		return fd.Readable
	}
	return 0
}

func (l *listener) accept() (*TCP, syscall.Errno) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, syscall.EINVAL
	case len(l.ready) == 0:
		return nil, syscall.EAGAIN
	}
	t := l.ready[0]
	l.ready[0] = nil
	if l.ready = l.ready[1:]; len(l.ready) == 0 {
		l.ready = nil
	}
	return t, 0
}

// input takes a segment for the listener (RFC 9293 section 3.10.7.2). It
// returns false where a RST must answer.
func (l *listener) input(r *receiver, f flow) bool {
	switch g := &r.segment; {
	case g.Flags.Has(packet.RST):
		return true
	case g.Flags&(packet.ACK|packet.SYN) == packet.ACK:
		return l.resume(r, f)
	case g.Flags.Has(packet.ACK):
		return false
	case g.Flags.Has(packet.SYN) && !g.Flags.Has(packet.FIN):
		return l.syn(r, f)
	}
	return true
}

// syn begins a connection, or, where too many have begun, sends a cookie.
func (l *listener) syn(r *receiver, f flow) bool {
	s := l.stack
	l.mu.Lock()
	switch {
	case l.closed:
		l.mu.Unlock()
		return false
	case len(l.ready) > l.backlog:
		l.mu.Unlock()
		s.Counters.SynDropped.Add(1)
		return true
	case l.growing >= min(max(l.backlog, 8), maxGrowing):
		l.cookieAt = r.now
		l.mu.Unlock()
		s.sendCookie(&r.segment, f, r.now)
		return true
	}
	t := l.child()
	l.mu.Unlock()
	if t == nil || !t.born(f, r.now) {
		return true
	}
	t.conn.Accept(&r.segment, r.now)
	t.unlock(r.now)
	return true
}

// child makes the endpoint of a connection to come, nil when there is no
// memory. l.mu is held.
func (l *listener) child() *TCP {
	t := &TCP{stack: l.stack, settings: l.settings, parent: l, ttl: l.inherits.ttl, tos: l.inherits.tos, linger: l.inherits.linger}
	if !t.charge() {
		l.stack.Counters.NoMemory.Add(1)
		return nil
	}
	l.growing++
	return t
}

// born makes t the connection f and returns with t.mu held, unless there is
// one of that name already.
func (t *TCP) born(f flow, now int64) bool {
	s := t.stack
	mtu := s.pathMTU(f.peer, now)
	t.mu.Lock()
	s.mu.Lock()
	taken := s.conns[f] != nil
	if !taken {
		t.become(f, mtu, now)
	}
	s.mu.Unlock()
	if taken {
		t.closed = true
		t.unlock(now) // as if it had failed
	}
	return !taken
}

// grow hands a connection whose handshake is complete to its listener, and
// forgets one that has failed. t.mu is held, and t.parent is there.
func (t *TCP) grow(now int64) {
	l := t.parent
	switch t.conn.State() {
	case tcp.SynReceived:
		return
	case tcp.Closed:
		t.closed = true
	default:
		if t.waitsForData(l, now) {
			return
		}
	}
	t.parent, t.deferTo = nil, 0
	l.mu.Lock()
	l.growing--
	gone := l.closed
	if !gone && !t.closed {
		l.ready = append(l.ready, t)
	}
	l.mu.Unlock()
	switch {
	case t.closed:
	case gone:
		t.closed = true
		t.conn.Close(true, now)
	default:
		l.notifier.Notify(fd.Readable)
	}
}

// waitsForData is TCP_DEFER_ACCEPT.
func (t *TCP) waitsForData(l *listener, now int64) bool {
	l.mu.Lock()
	wait := l.inherits.deferFor
	l.mu.Unlock()
	if wait == 0 || t.conn.State() != tcp.Established || t.conn.Unread() > 0 {
		return false
	}
	if t.deferTo == 0 {
		t.deferTo = now + wait
	}
	return now < t.deferTo
}
