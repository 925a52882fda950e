package inet

import (
	"sync"
	"syscall"
	"unsafe"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/packet"
	"github.com/dewpaas/dew/guest/tcp"
)

// UDP is a UDP endpoint.
type UDP struct {
	stack    *Stack
	notifier fd.Notifier

	binding      // guarded by the stack's mutex, as is peer
	peer    Addr // the only one it talks to, zero: anybody

	mu        sync.Mutex // guards all below; taken before the stack's
	queue     []datagram // the oldest first
	first     int        // queue[:first] was taken
	held      int        // bytes the queue counts
	err       syscall.Errno
	limit     int // of held
	sendLimit int
	ttl, tos  uint8
	discover  uint8
	multiTTL  uint8
	multiLoop bool
	broadcast bool
	claimed   bool
	charged   bool
	closed    bool
	shut      [2]bool // SHUT_RD, SHUT_WR
}

type datagram struct {
	Meta
	chunk *tcp.Chunk
}

const (
	// udpBuffer is net.core.rmem_default.
	udpBuffer = 208 << 10
	udpCost   = int(unsafe.Sizeof(UDP{})) + 256
)

func newUDP(s *Stack) *UDP {
	return &UDP{stack: s, limit: udpBuffer, sendLimit: udpBuffer, ttl: defaultTTL, discover: 1, multiTTL: 1, multiLoop: true}
}

// Bind gives the endpoint a local address; port 0 takes a free one.
func (u *UDP) Bind(a Addr) syscall.Errno {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.claimed || u.closed:
		return syscall.EINVAL
	case !u.stack.canBind(a.IP):
		return syscall.EADDRNOTAVAIL
	}
	return u.bind(a)
}

func (u *UDP) bind(a Addr) syscall.Errno {
	s := u.stack
	if !u.charged && !s.memory.Take(udpCost) {
		return syscall.ENOBUFS
	}
	u.charged = true
	s.mu.Lock()
	defer s.mu.Unlock()
	u.Addr = a
	if err := s.claim(s.udpPorts, &u.binding, true); err != 0 {
		u.Addr = Addr{}
		return err
	}
	s.udpPorts.add(u)
	u.claimed = true
	return 0
}

// Connect sets the only peer, and binds an unbound endpoint.
func (u *UDP) Connect(a Addr) syscall.Errno {
	u.mu.Lock()
	defer u.mu.Unlock()
	if a.IP == anyIP {
		a.IP = loopbackIP
	}
	src, err := u.stack.source(a.IP)
	if err != 0 {
		return err
	}
	if !u.claimed {
		if err := u.bind(Addr{}); err != 0 {
			return err
		}
	}
	u.stack.mu.Lock()
	if u.IP == anyIP {
		u.IP = src
	}
	u.peer = a
	u.stack.mu.Unlock()
	return 0
}

// Disconnect forgets the peer (connect(2) with AF_UNSPEC).
func (u *UDP) Disconnect() syscall.Errno {
	u.stack.mu.Lock()
	u.peer = Addr{}
	u.stack.mu.Unlock()
	return 0
}

// Send sends a datagram to the peer: EDESTADDRREQ without one. EMSGSIZE beyond
// 65507 bytes; larger than the MTU is sent in fragments unless MTUDiscover
// forbids it. A pending error, such as ECONNREFUSED for an ICMP answer, is
// returned in place of sending.
func (u *UDP) Send(p []byte, flags int) (int, syscall.Errno) {
	return u.SendHints(p, Addr{}, Hints{}, flags)
}

// SendTo is Send to another address.
func (u *UDP) SendTo(p []byte, to Addr, flags int) (int, syscall.Errno) {
	return u.send(p, to, Hints{}, flags)
}

func (u *UDP) send(p []byte, to Addr, h Hints, flags int) (int, syscall.Errno) {
	src, ttl, tos, discover, err := u.prepare(&to, len(p), flags)
	if err == 0 && h.From != anyIP {
		src.IP, err = u.leave(h.From, to)
	}
	if err != 0 {
		return 0, err
	}
	if h.TTL != 0 {
		ttl = h.TTL
	}
	if h.HasTOS {
		tos = h.TOS
	}
	s := u.stack
	now := s.clock.Now()
	mtu := s.pathMTU(to.IP, now)
	if discover == pmtuDo && packet.IPv4Size+packet.UDPSize+len(p) > mtu {
		return 0, syscall.EMSGSIZE
	}
	head := func(b packet.UDP, sum uint16) { b.Set(src.Port, to.Port, packet.UDPSize+len(p), sum) }
	fields := packet.IPv4Fields{Source: src.IP, Destination: to.IP, Protocol: packet.ProtoUDP, TTL: ttl, TOS: tos}
	s.sendUDP(head, p, &fields, mtu)
	s.drain()
	return len(p), 0
}

const pmtuDo = 2 // IP_PMTUDISC_DO

// prepare checks a send and finds where it leaves from.
func (u *UDP) prepare(to *Addr, n, flags int) (src Addr, ttl, tos, discover uint8, err syscall.Errno) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.closed:
		return src, 0, 0, 0, syscall.EBADF
	case u.err != 0:
		err, u.err = u.err, 0
		return src, 0, 0, 0, err
	case u.shut[syscall.SHUT_WR]:
		return src, 0, 0, 0, syscall.EPIPE
	case flags&syscall.MSG_OOB != 0:
		return src, 0, 0, 0, syscall.EOPNOTSUPP
	case n > packet.MaxUDP:
		return src, 0, 0, 0, syscall.EMSGSIZE
	}
	if !u.claimed { // before anything else is looked at, as inet_send_prepare of Linux does
		if err := u.bind(Addr{}); err != 0 {
			return src, 0, 0, 0, err
		}
	}
	switch {
	case *to == (Addr{}):
		return src, 0, 0, 0, syscall.EDESTADDRREQ
	case to.Port == 0:
		return src, 0, 0, 0, syscall.EINVAL
	case to.IP == [4]byte{255, 255, 255, 255} && !u.broadcast:
		return src, 0, 0, 0, syscall.EACCES
	}
	if to.IP == anyIP {
		to.IP = loopbackIP
	}
	local, err := u.stack.source(to.IP)
	if err != 0 {
		return src, 0, 0, 0, err
	}
	u.stack.mu.Lock()
	src = u.Addr
	u.stack.mu.Unlock()
	if src.IP == anyIP {
		src.IP = local
	}
	if src.IP[0] == 127 && !u.stack.isLocal(to.IP) {
		return src, 0, 0, 0, syscall.EINVAL
	}
	return src, u.ttl, u.tos, u.discover, 0
}

// leave checks the source address that a datagram is to have.
func (u *UDP) leave(from [4]byte, to Addr) ([4]byte, syscall.Errno) {
	if !u.stack.isLocal(from) || from[0] == 127 && !u.stack.isLocal(to.IP) {
		return from, syscall.EINVAL
	}
	return from, 0
}

// Receive takes the next datagram, or EAGAIN. n is what was copied, full the
// datagram's length; flags are MSG_ flags, of which MSG_PEEK leaves it.
func (u *UDP) Receive(p []byte, flags int) (n, full int, from Addr, err syscall.Errno) {
	n, full, m, err := u.ReceiveMeta(p, flags)
	return n, full, m.From, err
}

// Meta is what came with a datagram besides its bytes.
type Meta struct {
	From Addr
	To   [4]byte // what it was sent to: tells which of the guest's addresses
	TTL  uint8
	TOS  uint8 // with the ECN bits as they came
}

// ReceiveMeta is Receive that tells all that came (IP_PKTINFO, IP_RECVTTL,
// IP_RECVTOS).
func (u *UDP) ReceiveMeta(p []byte, flags int) (n, full int, m Meta, err syscall.Errno) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case flags&syscall.MSG_OOB != 0:
		return 0, 0, m, syscall.EOPNOTSUPP
	case u.err != 0:
		err, u.err = u.err, 0
		return 0, 0, m, err
	case u.first == len(u.queue) && (u.shut[syscall.SHUT_RD] || u.closed):
		return 0, 0, m, 0
	case u.first == len(u.queue):
		return 0, 0, m, syscall.EAGAIN
	}
	d := u.queue[u.first]
	b := d.chunk.Filled()
	n, full = copy(p, b), len(b)
	if flags&syscall.MSG_PEEK == 0 {
		u.pop()
	}
	return n, full, d.Meta, 0
}

// pop takes the oldest datagram.
func (u *UDP) pop() {
	c := u.queue[u.first].chunk
	u.queue[u.first] = datagram{}
	if u.first++; u.first == len(u.queue) {
		u.queue, u.first = u.queue[:0], 0
	}
	u.held -= c.Cost()
	u.stack.memory.Free(c)
}

// take queues a datagram, if there is room.
func (u *UDP) take(m Meta, p []byte) {
	s := u.stack
	u.mu.Lock()
	if u.closed || u.shut[syscall.SHUT_RD] {
		u.mu.Unlock()
		return
	}
	c := s.memory.Buffer(len(p))
	if c == nil || u.held+c.Cost() > u.limit {
		if c != nil {
			s.memory.Free(c)
		}
		u.mu.Unlock()
		s.Counters.NoMemory.Add(1)
		return
	}
	c.Fill(copy(c.Bytes(), p))
	u.held += c.Cost()
	u.queue = append(u.compact(), datagram{m, c})
	u.mu.Unlock()
	u.notifier.Notify(fd.Readable)
}

// compact makes room at the end of the queue without growing it.
func (u *UDP) compact() []datagram {
	if len(u.queue) == cap(u.queue) && u.first > len(u.queue)/2 {
		n := copy(u.queue, u.queue[u.first:])
		clear(u.queue[n:])
		u.queue, u.first = u.queue[:n], 0
	}
	return u.queue
}

// fail leaves an error for the program.
func (u *UDP) fail(err syscall.Errno) {
	u.mu.Lock()
	u.err = err
	u.mu.Unlock()
	u.notifier.Notify(fd.Readable | fd.Writable | fd.Failed)
}

// Hints are what one datagram differs in from its endpoint's options. The zero
// value is no difference.
type Hints struct {
	From   [4]byte // source address, one of the guest's; zero: the endpoint's
	TTL    uint8   // 0: the endpoint's
	TOS    uint8   // with the ECN bits; counts if HasTOS
	HasTOS bool
}

// SendHints is SendTo, or Send when to is the zero Addr, with hints. EINVAL for
// a source that is not the guest's.
func (u *UDP) SendHints(p []byte, to Addr, h Hints, flags int) (int, syscall.Errno) {
	if to == (Addr{}) {
		u.stack.mu.Lock()
		to = u.peer
		u.stack.mu.Unlock()
	}
	return u.send(p, to, h, flags)
}

// Shutdown is shutdown(2); ENOTCONN when not connected.
func (u *UDP) Shutdown(how int) syscall.Errno {
	_, err := u.Peer()
	u.mu.Lock()
	u.shut[syscall.SHUT_RD] = u.shut[syscall.SHUT_RD] || how != syscall.SHUT_WR
	u.shut[syscall.SHUT_WR] = u.shut[syscall.SHUT_WR] || how != syscall.SHUT_RD
	u.mu.Unlock()
	u.notifier.Notify(fd.Readable | fd.Writable | fd.PeerShut)
	return err
}

// Closing implements fd.Shutter.
func (u *UDP) Closing() {
	s := u.stack
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		return
	}
	u.closed = true
	for u.first < len(u.queue) {
		u.pop()
	}
	if u.claimed {
		s.mu.Lock()
		s.udpPorts.remove(u)
		s.mu.Unlock()
	}
	if u.charged {
		s.memory.Give(udpCost)
	}
	u.mu.Unlock()
	u.notifier.Notify(fd.Readable | fd.Writable | fd.HungUp)
}

// Close releases the endpoint; it includes Closing.
func (u *UDP) Close() { u.Closing() }

// Local is the local address, zero when unbound.
func (u *UDP) Local() Addr {
	u.stack.mu.Lock()
	defer u.stack.mu.Unlock()
	return u.Addr
}

// Peer is the connected address. ENOTCONN without one.
func (u *UDP) Peer() (Addr, syscall.Errno) {
	u.stack.mu.Lock()
	defer u.stack.mu.Unlock()
	if u.peer == (Addr{}) {
		return Addr{}, syscall.ENOTCONN
	}
	return u.peer, 0
}

// Ready implements fd.Pollable.
func (u *UDP) Ready() fd.Events {
	u.mu.Lock()
	defer u.mu.Unlock()
	ev := fd.Writable
	if u.first < len(u.queue) || u.shut[syscall.SHUT_RD] || u.closed {
		ev |= fd.Readable
	}
	if u.shut[syscall.SHUT_RD] {
		ev |= fd.PeerShut
	}
	if u.closed || u.shut == [2]bool{true, true} {
		ev |= fd.HungUp
	}
	if u.err != 0 {
		ev |= fd.Failed
	}
	return ev
}

// Notifier implements fd.Pollable.
func (u *UDP) Notifier() *fd.Notifier { return &u.notifier }

// TakeError is SO_ERROR: the pending error, which is forgotten.
func (u *UDP) TakeError() syscall.Errno {
	u.mu.Lock()
	defer u.mu.Unlock()
	err := u.err
	u.err = 0
	return err
}

// Unread is the length of the next datagram (FIONREAD).
func (u *UDP) Unread() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.first == len(u.queue) {
		return 0
	}
	return len(u.queue[u.first].chunk.Filled())
}
