package inet

import (
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/tcp"
)

// TCP is a TCP endpoint: unbound, bound, listening, or a connection.
type TCP struct {
	stack    *Stack
	notifier fd.Notifier

	binding // guarded by the stack's mutex; the IP is zero while any address does

	backlog backlog
	// dry tells that there was nothing to receive when t.mu was given back last:
	// who asks need not wait for the call that holds it now. What it changes is
	// notified after it.
	dry atomic.Bool

	mu       sync.Mutex // guards all below
	settings tcp.Settings
	conn     tcp.Conn
	flow     flow      // zero: not connected
	listener *listener // written under the stack's mutex as well
	parent   *listener // who will hand it out, nil when the program has it
	ttl, tos uint8
	noPMTU   uint8 // IP_MTU_DISCOVER as set
	claimed  bool  // it is in the stack's ports
	used     bool  // connect was called: SO_ERROR and readiness are the connection's
	charged  bool  // the memory bound counts it
	known    bool  // it is in the stack's connections
	touched  bool  // it is in a receiver's list
	closed   bool
	linger   int   // seconds, -1 off
	deferFor int   // TCP_DEFER_ACCEPT, seconds
	deferTo  int64 // it is handed out at this time even without data
	armed    int64 // the earliest time that timers know, 0: none
	latest   int64 // the time of what the connection did last

	heapAt    int64 // guarded by timers.mu, as is heapIndex
	heapIndex int   // 0: not there
}

// connCost is what the memory bound counts for a connection without data.
const connCost = int(unsafe.Sizeof(TCP{})) + tcp.Reserve + 512

// Bind gives the endpoint a local address; port 0 takes a free one. EINVAL when
// it has one, EADDRINUSE, EADDRNOTAVAIL.
func (t *TCP) Bind(a Addr) syscall.Errno {
	t.mu.Lock()
	defer t.letGo()
	switch {
	case t.claimed || t.used || t.closed:
		return syscall.EINVAL
	case !t.stack.canBind(a.IP):
		return syscall.EADDRNOTAVAIL
	}
	return t.bind(a)
}

func (t *TCP) bind(a Addr) syscall.Errno {
	s := t.stack
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Addr = a
	if err := s.claim(s.tcpPorts, &t.binding, false); err != 0 {
		t.Addr = Addr{}
		return err
	}
	s.tcpPorts.add(t)
	t.claimed = true
	return 0
}

// Connect begins to connect: EINPROGRESS, EALREADY while it does, EISCONN when
// it is, ENETUNREACH, EADDRNOTAVAIL without a free port. The endpoint becomes
// Writable when it is decided and TakeError tells how.
func (t *TCP) Connect(a Addr) syscall.Errno {
	now := t.lock()
	defer t.unlock(now)
	switch st := t.conn.State(); {
	case t.closed:
		return syscall.EBADF
	case t.listener != nil:
		return syscall.EISCONN
	case st == tcp.SynSent || st == tcp.SynReceived:
		return syscall.EALREADY
	case t.used && st != tcp.Closed:
		return syscall.EISCONN
	}
	if a.IP == anyIP {
		a.IP = loopbackIP // as on Linux: this host
	}
	if err := t.reach(a, now); err != 0 {
		return err
	}
	t.conn.Open(now)
	return syscall.EINPROGRESS
}

// reach names the connection to a and makes it known to the stack.
func (t *TCP) reach(a Addr, now int64) syscall.Errno {
	s := t.stack
	local, err := s.source(a.IP)
	if err != 0 {
		return err
	}
	if a.Port == 0 {
		return syscall.ECONNREFUSED
	}
	if !t.charge() {
		return syscall.ENOBUFS
	}
	mtu := s.pathMTU(a.IP, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := flow{local: local, peer: a.IP, localPort: t.Port, peerPort: a.Port}
	if t.IP != anyIP {
		f.local = t.IP
		if t.IP[0] == 127 && !s.isLocal(a.IP) {
			return syscall.EINVAL // from the loopback to the world there is no way
		}
	}
	if f.localPort == 0 && !s.ephemeral(&f) || s.conns[f] != nil {
		return syscall.EADDRNOTAVAIL
	}
	t.become(f, mtu, now)
	return 0
}

// become makes the endpoint the connection f. Both locks are held.
func (t *TCP) become(f flow, mtu int, now int64) {
	s := t.stack
	t.conn.Drop() // what an earlier connection has left unread
	t.flow, t.used, t.known = f, true, true
	s.conns[f] = t
	t.conn.Init(&tcp.Config{Env: t, Memory: s.memory, MTU: mtu, Settings: &t.settings,
		ISS: tcp.Seq(s.keys.sequence(f, now)), Offset: s.keys.stampOffset(f)})
}

// charge counts the endpoint in the memory bound.
func (t *TCP) charge() bool {
	if !t.charged && t.stack.memory.Take(connCost) {
		t.charged = true
	}
	return t.charged
}

// lock takes t.mu and tells the time of what is done under it.
func (t *TCP) lock() int64 {
	t.mu.Lock()
	return t.time(t.stack.clock.Now())
}

// time is now, or what it was when t.mu was held last, if that is later: who
// read the clock before another held the connection would send a timestamp
// older than the last, and peers drop what carries it (RFC 7323 section 5.3).
func (t *TCP) time(now int64) int64 {
	t.latest = max(t.latest, now)
	return t.latest
}

// unlock gives t.mu back after anything that may have changed the connection:
// the stack's tables and timers follow, and who waits is told.
func (t *TCP) unlock(now int64) {
	t.part(now)
	t.help()
}

// part is unlock without a look back.
func (t *TCP) part(now int64) {
	wakes := t.settle(t.catchUp(now))
	if dry := t.used && t.conn.Dry(); dry != t.dry.Load() {
		t.dry.Store(dry)
	}
	t.mu.Unlock()
	if wakes != 0 {
		t.notifier.Notify(wakes)
	}
	t.stack.drain()
}

// settle brings the stack's tables and timers in line with the connection and
// returns what to tell those who wait. t.mu is held.
func (t *TCP) settle(now int64) fd.Events {
	if t.parent != nil {
		t.grow(now)
	}
	switch t.conn.State() {
	case tcp.Closed, tcp.TimeWait:
		t.forget(now)
	default:
		t.schedule()
	}
	wakes := t.conn.Wakes
	t.conn.Wakes = 0
	return wakes
}

// schedule tells the timers when to look at the connection next.
func (t *TCP) schedule() {
	at := t.conn.Deadline()
	if t.deferTo != 0 && (at == 0 || t.deferTo < at) {
		at = t.deferTo
	}
	if at != 0 && (t.armed == 0 || at < t.armed) {
		t.armed = at
		t.stack.timers.set(t, at, t.stack.clock)
	}
}

// forget takes an ended connection out of the stack. What it received may
// still be read.
func (t *TCP) forget(now int64) {
	s := t.stack
	if t.known {
		t.known = false
		s.mu.Lock()
		if s.conns[t.flow] == t {
			delete(s.conns, t.flow)
		}
		if t.conn.State() == tcp.TimeWait {
			s.addWait(t, now)
		}
		s.mu.Unlock()
		if t.conn.State() == tcp.TimeWait {
			s.timers.setWaits(now+waitTime, s.clock)
		}
		if t.armed != 0 {
			t.armed = 0
			s.timers.remove(t)
		}
	}
	if t.closed && t.charged && t.conn.Unread() == 0 {
		t.charged = false
		t.conn.Drop()
		s.memory.Give(connCost)
	}
}

// expire runs the connection's timers.
func (t *TCP) expire(now int64) {
	t.mu.Lock()
	now = t.time(now)
	t.armed = 0
	t.conn.Expire(now)
	t.unlock(now)
}

// Accept returns the next connection, or EAGAIN. EINVAL when not listening.
func (t *TCP) Accept() (*TCP, syscall.Errno) {
	t.mu.Lock()
	l := t.listener
	t.letGo()
	if l == nil {
		return nil, syscall.EINVAL
	}
	return l.accept()
}

// Send takes as much of p as there is room for, EAGAIN when there is none.
// EPIPE when not connected or shut, or the connection's pending error (which is
// taken). flags are MSG_ flags: MSG_MORE is known, MSG_OOB is refused with
// EOPNOTSUPP.
func (t *TCP) Send(p []byte, flags int) (int, syscall.Errno) {
	const more = 0x8000 // MSG_MORE
	if flags&syscall.MSG_OOB != 0 {
		return 0, syscall.EOPNOTSUPP
	}
	now := t.lock()
	if !t.used {
		t.letGo()
		return 0, syscall.EPIPE
	}
	err := t.conn.CanWrite()
	if err != 0 || len(p) == 0 {
		t.letGo()
		return 0, err
	}
	n := t.conn.Write(p, flags&more != 0, now)
	for n < len(p) && t.backlog.waiting.Load() { // acknowledgements make room
		now = t.catchUp(now)
		if t.conn.State() == tcp.Closed {
			break
		}
		n += t.conn.Write(p[n:], flags&more != 0, now)
	}
	t.unlock(now)
	if n == 0 {
		return 0, syscall.EAGAIN
	}
	return n, 0
}

// Receive returns bytes that came in order, 0 at their end, EAGAIN. ENOTCONN,
// or the connection's pending error (which is taken). flags are MSG_ flags:
// MSG_PEEK leaves the bytes, MSG_TRUNC throws them away uncopied.
func (t *TCP) Receive(p []byte, flags int) (int, syscall.Errno) {
	if flags&syscall.MSG_OOB != 0 {
		return 0, syscall.EINVAL // there is no urgent data (tcp(7))
	}
	if !t.mu.TryLock() {
		if t.dry.Load() {
			return 0, syscall.EAGAIN
		}
		t.mu.Lock()
	}
	now := t.time(t.stack.clock.Now())
	defer t.unlock(now)
	if !t.used || t.listener != nil {
		return 0, syscall.ENOTCONN
	}
	if flags&syscall.MSG_TRUNC != 0 && flags&syscall.MSG_PEEK == 0 {
		return t.conn.Discard(len(p), now)
	}
	return t.conn.Read(p, flags&syscall.MSG_PEEK != 0, now)
}

// Shutdown is shutdown(2): how is SHUT_RD, SHUT_WR or SHUT_RDWR. On a
// listener, SHUT_RD stops listening.
func (t *TCP) Shutdown(how int) syscall.Errno {
	var left []*TCP
	defer func() { abort(left) }()
	now := t.lock()
	defer t.unlock(now)
	if t.listener != nil {
		if how != syscall.SHUT_WR {
			left = t.stopListening()
		}
		return 0
	}
	switch st := t.conn.State(); {
	case !t.used || st == tcp.Closed || st == tcp.TimeWait:
		return syscall.ENOTCONN
	case st == tcp.SynSent:
		t.conn.Fail(0)
		return 0
	}
	if how != syscall.SHUT_WR {
		t.conn.CloseRead()
	}
	if how != syscall.SHUT_RD {
		t.conn.CloseWrite(now)
	}
	return 0
}

// Disconnect is connect(2) with AF_UNSPEC: the connection is reset and the
// endpoint can be used anew.
func (t *TCP) Disconnect() syscall.Errno {
	var left []*TCP
	defer func() { abort(left) }()
	now := t.lock()
	defer t.unlock(now)
	if t.listener != nil {
		left = t.stopListening()
	}
	if t.used {
		t.conn.Abort()
		t.conn.Drop()
		t.forget(now)
		t.conn.TakeError()
		t.used, t.flow = false, flow{}
	}
	return 0
}

// Closing implements fd.Shutter: calls under way are woken. The connection
// goes on to send what it has been given, unless Linger is 0 or received bytes
// were not read: then it is reset.
func (t *TCP) Closing() {
	var left []*TCP
	defer func() { abort(left) }()
	now := t.lock()
	defer t.unlock(now)
	if t.closed {
		return
	}
	t.closed = true
	t.conn.Wakes |= fd.HungUp
	if t.listener != nil {
		left = t.stopListening()
	}
	if t.used {
		t.conn.Close(t.linger == 0, now)
	}
	t.release()
}

// release gives the local address back.
func (t *TCP) release() {
	if !t.claimed {
		return
	}
	t.claimed = false
	t.stack.mu.Lock()
	t.stack.tcpPorts.remove(t)
	t.stack.mu.Unlock()
}

// Close releases the endpoint; it includes Closing.
func (t *TCP) Close() { t.Closing() }

// Local is the local address, zero when unbound.
func (t *TCP) Local() Addr {
	t.mu.Lock()
	defer t.letGo()
	if t.used {
		return Addr{t.flow.local, t.flow.localPort}
	}
	t.stack.mu.Lock()
	defer t.stack.mu.Unlock()
	return t.Addr
}

// Peer is the remote address. ENOTCONN without one.
func (t *TCP) Peer() (Addr, syscall.Errno) {
	t.mu.Lock()
	defer t.letGo()
	if st := t.conn.State(); !t.used || st == tcp.Closed || st == tcp.SynSent || st == tcp.TimeWait {
		return Addr{}, syscall.ENOTCONN
	}
	return Addr{t.flow.peer, t.flow.peerPort}, 0
}

// Ready implements fd.Pollable as tcp_poll of Linux does.
func (t *TCP) Ready() fd.Events {
	t.mu.Lock()
	defer t.letGo()
	switch {
	case t.listener != nil:
		return t.listener.isReady()
	case !t.used:
		return fd.Writable | fd.HungUp
	}
	return t.conn.Ready()
}

// Notifier implements fd.Pollable.
func (t *TCP) Notifier() *fd.Notifier { return &t.notifier }

// TakeError is SO_ERROR: the pending error, which is forgotten.
func (t *TCP) TakeError() syscall.Errno {
	t.mu.Lock()
	defer t.letGo()
	return t.conn.TakeError()
}

// Unread is how many bytes can be received now (SIOCINQ).
func (t *TCP) Unread() int {
	t.mu.Lock()
	defer t.letGo()
	return t.conn.Unread()
}

// Unacked is how many bytes sent were not acknowledged yet (SIOCOUTQ).
func (t *TCP) Unacked() int {
	t.mu.Lock()
	defer t.letGo()
	return t.conn.Unacked()
}

// Listening is SO_ACCEPTCONN.
func (t *TCP) Listening() bool {
	t.mu.Lock()
	defer t.letGo()
	return t.listener != nil
}

// Info is struct tcp_info.
type Info = tcp.Info

// Info tells how the connection is doing (TCP_INFO).
func (t *TCP) Info() Info {
	t.mu.Lock()
	defer t.letGo()
	i := t.conn.Info(t.stack.clock.Now())
	if t.listener != nil {
		i.State = uint8(tcp.Listen)
	}
	return i
}
