package ipc

import (
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"github.com/dewpaas/dew/guest/fd"
)

const (
	// unixBuffer is how many bytes wait in one direction (net.core.wmem_default).
	unixBuffer = 208 << 10
	// maxQueue is net.unix.max_dgram_qlen and the most that Listen allows.
	maxQueue = 512
)

// Names is the file system's part in the naming of Unix sockets. A key stands
// for a file, whatever path leads to it.
type Names interface {
	Bind(path string) (key any, err syscall.Errno)
	Find(path string) (key any, err syscall.Errno)
}

// Unix is a Unix socket. All of them share one lock: a guest's sockets to
// itself are few, and pairs would need an order.
type Unix struct {
	net      *UnixNet
	typ      int
	notifier fd.Notifier

	// guarded by net.mu
	key       any    // under which it is bound
	name      []byte // sockaddr_un, as bound
	peer      *Unix  // connected to; of a stream the other end, until that is closed
	peerName  []byte
	connected bool
	listening bool
	backlog   int
	waiting   []*Unix // connections nobody accepted yet
	stream    buffer
	messages  []unixMessage
	size      int // bytes in messages
	closed    bool
	eof       bool    // the other end will send no more
	shut      [2]bool // SHUT_RD, SHUT_WR
}

type unixMessage struct {
	from []byte
	body []byte
}

// UnixNet is the Unix sockets that can meet.
type UnixNet struct {
	names Names
	mu    sync.Mutex
	bound map[any]*Unix // by file, or by abstract name as a string
	auto  uint32
}

var _ fd.Socket = (*Unix)(nil)

// NewUnixNet makes a world of Unix sockets.
func NewUnixNet(names Names) *UnixNet { return &UnixNet{names: names} }

// Open makes a socket.
func (u *UnixNet) Open(typ, proto int) (fd.Socket, syscall.Errno) {
	s, err := u.open(typ, proto)
	if err != 0 {
		return nil, err
	}
	return s, 0
}

func (u *UnixNet) open(typ, proto int) (*Unix, syscall.Errno) {
	if proto != 0 && proto != syscall.AF_UNIX {
		return nil, syscall.EPROTONOSUPPORT
	}
	switch typ {
	case syscall.SOCK_STREAM, syscall.SOCK_DGRAM, syscall.SOCK_SEQPACKET:
		return &Unix{net: u, typ: typ}, 0
	}
	return nil, syscall.ESOCKTNOSUPPORT
}

// Pair is socketpair(2).
func (u *UnixNet) Pair(typ, proto int) (a, b fd.Socket, err syscall.Errno) {
	x, err := u.open(typ, proto)
	if err != 0 {
		return nil, nil, err
	}
	y, _ := u.open(typ, proto)
	u.mu.Lock()
	x.join(y)
	y.join(x)
	u.mu.Unlock()
	return x, y, 0
}

func (s *Unix) join(peer *Unix) {
	s.peer, s.peerName, s.connected = peer, peer.name, true
}

// unixPath takes a sockaddr_un apart: abstract names begin with a zero byte.
func unixPath(addr []byte) (path string, abstract bool, err syscall.Errno) {
	if len(addr) < 2 || len(addr) > 110 || addr[0] != syscall.AF_UNIX || addr[1] != 0 {
		return "", false, syscall.EINVAL
	}
	p := addr[2:]
	if len(p) > 0 && p[0] == 0 {
		return string(p), true, 0
	}
	if i := slices.Index(p, 0); i >= 0 {
		p = p[:i]
	}
	return string(p), false, 0
}

// Bind implements fd.Socket.
func (s *Unix) Bind(addr []byte) syscall.Errno {
	path, abstract, err := unixPath(addr)
	if err != 0 {
		return err
	}
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if s.name != nil {
		return syscall.EINVAL
	}
	var key any = path
	switch {
	case path == "":
		key, addr = s.net.autobind()
	case !abstract:
		if key, err = s.net.names.Bind(path); err != 0 {
			return err
		}
	case s.net.bound[key] != nil:
		return syscall.EADDRINUSE
	}
	if s.net.bound == nil {
		s.net.bound = map[any]*Unix{}
	}
	s.net.bound[key] = s
	s.key, s.name = key, slices.Clone(addr)
	return 0
}

// autobind finds a free abstract name of five hexadecimal digits (unix(7)).
func (u *UnixNet) autobind() (any, []byte) {
	for {
		u.auto++
		p := []byte{0}
		for shift := 16; shift >= 0; shift -= 4 {
			p = append(p, "0123456789abcdef"[u.auto>>shift&15])
		}
		if u.bound[string(p)] == nil {
			return string(p), append([]byte{syscall.AF_UNIX, 0}, p...)
		}
	}
}

// find returns the socket bound to an address. u.mu is held.
func (u *UnixNet) find(addr []byte) (*Unix, syscall.Errno) {
	path, abstract, err := unixPath(addr)
	if err != 0 {
		return nil, err
	}
	if path == "" {
		return nil, syscall.EINVAL
	}
	var key any = path
	if !abstract {
		if key, err = u.names.Find(path); err != 0 {
			return nil, err
		}
	}
	if s := u.bound[key]; s != nil {
		return s, 0
	}
	return nil, syscall.ECONNREFUSED
}

// Connect implements fd.Socket.
func (s *Unix) Connect(addr []byte) syscall.Errno {
	u := s.net
	u.mu.Lock()
	defer u.mu.Unlock()
	if s.typ == syscall.SOCK_DGRAM && len(addr) >= 2 && addr[0] == syscall.AF_UNSPEC {
		s.peer, s.peerName, s.connected = nil, nil, false
		return 0
	}
	to, err := u.find(addr)
	switch {
	case err != 0:
		return err
	case to.typ != s.typ:
		return syscall.EPROTOTYPE
	case s.typ == syscall.SOCK_DGRAM:
		s.join(to)
		return 0
	case s.connected:
		return syscall.EISCONN
	case !to.listening:
		return syscall.ECONNREFUSED
	case len(to.waiting) >= to.backlog:
		return syscall.EAGAIN
	}
	server := &Unix{net: u, typ: s.typ, name: to.name}
	server.join(s)
	s.join(server)
	to.waiting = append(to.waiting, server)
	to.notifier.Notify(fd.Readable)
	s.notifier.Notify(fd.Writable)
	return 0
}

// Listen implements fd.Socket.
func (s *Unix) Listen(backlog int) syscall.Errno {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	switch {
	case s.typ == syscall.SOCK_DGRAM:
		return syscall.EOPNOTSUPP
	case s.connected || s.name == nil:
		return syscall.EINVAL
	}
	s.listening, s.backlog = true, max(1, min(backlog+1, maxQueue))
	if backlog < 0 {
		s.backlog = maxQueue
	}
	return 0
}

// Accept implements fd.Socket.
func (s *Unix) Accept() (fd.Socket, syscall.Errno) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	switch {
	case !s.listening || s.closed:
		return nil, syscall.EINVAL
	case len(s.waiting) == 0:
		return nil, syscall.EAGAIN
	}
	c := s.waiting[0]
	s.waiting = slices.Delete(s.waiting, 0, 1)
	return c, 0
}

// Send implements fd.Socket.
func (s *Unix) Send(p, addr []byte, flags int) (int, syscall.Errno) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if flags&syscall.MSG_OOB != 0 {
		return 0, syscall.EOPNOTSUPP
	}
	to := s.peer
	switch {
	case s.typ == syscall.SOCK_DGRAM && addr != nil:
		var err syscall.Errno
		if to, err = s.net.find(addr); err != 0 {
			return 0, err
		}
		if to.typ != s.typ {
			return 0, syscall.EPROTOTYPE
		}
	case !s.connected:
		return 0, syscall.ENOTCONN
	case addr != nil && s.typ == syscall.SOCK_STREAM:
		return 0, syscall.EISCONN
	}
	if s.shut[syscall.SHUT_WR] {
		return 0, syscall.EPIPE
	}
	if to == nil || to.closed || to.shut[syscall.SHUT_RD] {
		if s.typ == syscall.SOCK_DGRAM {
			return 0, syscall.ECONNREFUSED
		}
		return 0, syscall.EPIPE
	}
	return to.take(s, p)
}

// take puts what from sends in line. net.mu is held.
func (s *Unix) take(from *Unix, p []byte) (int, syscall.Errno) {
	if s.typ == syscall.SOCK_STREAM {
		n := s.stream.write(p, unixBuffer)
		if n == 0 && len(p) > 0 {
			return 0, syscall.EAGAIN
		}
		s.notifier.Notify(fd.Readable)
		return n, 0
	}
	if len(p) > unixBuffer {
		return 0, syscall.EMSGSIZE
	}
	if s.size+len(p) > unixBuffer || len(s.messages) >= maxQueue {
		return 0, syscall.EAGAIN
	}
	s.messages = append(s.messages, unixMessage{from.name, slices.Clone(p)})
	s.size += len(p)
	s.notifier.Notify(fd.Readable)
	return len(p), 0
}

// Receive implements fd.Socket.
func (s *Unix) Receive(p, addr []byte, flags int) (n, addrLen, got int, err syscall.Errno) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	peek := flags&syscall.MSG_PEEK != 0
	switch {
	case s.typ != syscall.SOCK_DGRAM && !s.connected:
		return 0, 0, 0, syscall.EINVAL
	case s.typ == syscall.SOCK_STREAM && s.stream.n > 0:
		n = s.stream.peek(p)
		if !peek {
			s.stream.skip(n)
			s.room()
		}
		return n, 0, 0, 0
	case s.typ == syscall.SOCK_STREAM && len(p) == 0:
		return 0, 0, 0, 0
	case s.typ != syscall.SOCK_STREAM && len(s.messages) > 0:
		return s.receiveMessage(p, addr, flags, peek)
	case s.eof || s.shut[syscall.SHUT_RD]:
		return 0, 0, 0, 0
	}
	return 0, 0, 0, syscall.EAGAIN
}

func (s *Unix) receiveMessage(p, addr []byte, flags int, peek bool) (n, addrLen, got int, err syscall.Errno) {
	m := s.messages[0]
	n = copy(p, m.body)
	if n < len(m.body) {
		got |= syscall.MSG_TRUNC
		if flags&syscall.MSG_TRUNC != 0 {
			n = len(m.body)
		}
	}
	copy(addr, m.from)
	if !peek {
		s.messages = slices.Delete(s.messages, 0, 1)
		s.size -= len(m.body)
		s.room()
	}
	return n, len(m.from), got, 0
}

// room tells those who may send to s that there is room again: the peer, or,
// of a bound datagram socket, whoever is connected to it.
func (s *Unix) room() {
	if s.peer != nil && s.typ != syscall.SOCK_DGRAM {
		s.peer.notifier.Notify(fd.Writable)
		return
	}
	if s.peer != nil {
		s.peer.notifier.Notify(fd.Writable)
	}
	for _, o := range s.net.bound {
		if o.peer == s {
			o.notifier.Notify(fd.Writable)
		}
	}
}

// Shutdown implements fd.Socket.
func (s *Unix) Shutdown(how int) syscall.Errno {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if !s.connected {
		return syscall.ENOTCONN
	}
	rd, wr := how != syscall.SHUT_WR, how != syscall.SHUT_RD
	s.shut[syscall.SHUT_RD] = s.shut[syscall.SHUT_RD] || rd
	s.shut[syscall.SHUT_WR] = s.shut[syscall.SHUT_WR] || wr
	if p := s.peer; p != nil && s.typ != syscall.SOCK_DGRAM {
		p.eof = p.eof || wr
		p.notifier.Notify(fd.Readable | fd.Writable | fd.PeerShut)
	}
	s.notifier.Notify(fd.Readable | fd.Writable | fd.PeerShut)
	return 0
}

// Name implements fd.Socket.
func (s *Unix) Name(addr []byte) (int, syscall.Errno) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	return putName(addr, s.name), 0
}

// PeerName implements fd.Socket.
func (s *Unix) PeerName(addr []byte) (int, syscall.Errno) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if !s.connected {
		return 0, syscall.ENOTCONN
	}
	return putName(addr, s.peerName), 0
}

// putName writes a name; the address of an unbound socket is its family alone.
func putName(addr, name []byte) int {
	if name == nil {
		name = []byte{syscall.AF_UNIX, 0}
	}
	copy(addr, name)
	return len(name)
}

// SetOption implements fd.Socket: buffers have one size, and what else there
// is for Unix sockets concerns other processes.
func (s *Unix) SetOption(level, name int, value []byte) syscall.Errno {
	if level != syscall.SOL_SOCKET {
		return syscall.EOPNOTSUPP
	}
	switch name {
	case syscall.SO_SNDBUF, syscall.SO_RCVBUF, syscall.SO_REUSEADDR, syscall.SO_BROADCAST, syscall.SO_KEEPALIVE:
		return 0
	}
	return syscall.ENOPROTOOPT
}

// Option implements fd.Socket.
func (s *Unix) Option(level, name int, value []byte) (int, syscall.Errno) {
	const peerCred, protocol, domain = 17, 38, 39
	if level != syscall.SOL_SOCKET {
		return 0, syscall.EOPNOTSUPP
	}
	s.net.mu.Lock()
	listening := s.listening
	s.net.mu.Unlock()
	switch name {
	case syscall.SO_TYPE:
		return putInt(value, s.typ), 0
	case domain:
		return putInt(value, syscall.AF_UNIX), 0
	case syscall.SO_ERROR, protocol:
		return putInt(value, 0), 0
	case syscall.SO_ACCEPTCONN:
		if listening {
			return putInt(value, 1), 0
		}
		return putInt(value, 0), 0
	case syscall.SO_SNDBUF, syscall.SO_RCVBUF:
		return putInt(value, unixBuffer), 0
	case peerCred:
		cred := [3]int32{1, 0, 0} // the only process, and root
		return copy(value, (*[12]byte)(unsafe.Pointer(&cred))[:]), 0
	}
	return 0, syscall.ENOPROTOOPT
}

func putInt(value []byte, n int) int {
	v := int32(n)
	return copy(value, (*[4]byte)(unsafe.Pointer(&v))[:])
}

// Read implements fd.File.
func (s *Unix) Read(p []byte, off int64) (int, syscall.Errno) {
	if off != fd.AtPosition {
		return 0, syscall.ESPIPE
	}
	n, _, _, err := s.Receive(p, nil, 0)
	return n, err
}

// Write implements fd.File.
func (s *Unix) Write(p []byte, off int64) (int, syscall.Errno) {
	if off != fd.AtPosition {
		return 0, syscall.ESPIPE
	}
	return s.Send(p, nil, 0)
}

// Unread returns how many bytes wait.
func (s *Unix) Unread() int {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if s.typ != syscall.SOCK_STREAM && len(s.messages) > 0 {
		return len(s.messages[0].body)
	}
	return s.stream.n
}

// Ready implements fd.Pollable.
func (s *Unix) Ready() fd.Events {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	var ev fd.Events
	if s.stream.n > 0 || len(s.messages) > 0 || len(s.waiting) > 0 || s.eof || s.shut[syscall.SHUT_RD] {
		ev |= fd.Readable
	}
	if s.eof {
		ev |= fd.PeerShut
	}
	switch to := s.peer; {
	case s.closed:
		ev |= fd.HungUp
	case s.typ != syscall.SOCK_DGRAM && !s.connected && !s.listening:
		ev |= fd.HungUp | fd.Writable
	case s.connected && s.typ != syscall.SOCK_DGRAM && to == nil:
		ev |= fd.HungUp | fd.Writable
	case s.listening:
	case to == nil || to.size < unixBuffer/2 && len(to.messages) < maxQueue/2 && to.stream.n <= unixBuffer/2:
		ev |= fd.Writable
	}
	return ev
}

// Notifier implements fd.Pollable.
func (s *Unix) Notifier() *fd.Notifier { return &s.notifier }

// Closing implements fd.Shutter.
func (s *Unix) Closing() {
	u := s.net
	u.mu.Lock()
	defer u.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.key != nil {
		delete(u.bound, s.key)
	}
	for _, c := range s.waiting {
		c.leave()
	}
	s.waiting = nil
	s.leave()
	s.notifier.Notify(fd.HungUp)
}

// leave parts a connection: the peer reads to the end of what was sent.
func (s *Unix) leave() {
	s.closed = true
	p := s.peer
	if p == nil || s.typ == syscall.SOCK_DGRAM {
		return
	}
	p.peer, p.eof = nil, true
	p.notifier.Notify(fd.Readable | fd.HungUp)
}

// Close implements fd.File.
func (s *Unix) Close() { s.Closing() }

// Stat implements fd.File.
func (s *Unix) Stat(st *syscall.Stat_t) syscall.Errno {
	*st = syscall.Stat_t{Dev: device, Ino: uint64(uintptr(unsafe.Pointer(s))), Mode: syscall.S_IFSOCK | 0o777, Nlink: 1, Blksize: 4096}
	return 0
}
