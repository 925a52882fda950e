package socket

import (
	"slices"
	"sync"
	"syscall"

	"github.com/dewpaas/dew/guest/fd"
)

// Netlink is a socket of the routing family (rtnetlink(7)): it answers what
// programs ask about interfaces, addresses and routes, and refuses changes.
// Nothing changes in a guest, so groups can be joined but nothing comes.
type Netlink struct {
	net      *network
	typ      int
	ports    *netlinkPorts
	inode    uint64
	notifier fd.Notifier

	mu     sync.Mutex // guards all below
	port   uint32     // 0: not bound
	groups uint32
	queue  [][]byte // answers nobody read yet
	size   int      // bytes in queue
	closed bool
}

var _ fd.Socket = (*Netlink)(nil)

// netlinkBuffer is net.core.rmem_default: a program that asks without reading
// gets ENOBUFS beyond it.
const netlinkBuffer = 208 << 10

// netlinkPorts are the port numbers in use.
type netlinkPorts struct {
	mu   sync.Mutex
	used map[uint32]bool
}

// take reserves a port, or the lowest free one for 0.
func (p *netlinkPorts) take(port uint32) (uint32, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used == nil {
		p.used = map[uint32]bool{}
	}
	if port == 0 {
		for port = 1; p.used[port]; port++ {
		}
	}
	if p.used[port] {
		return 0, false
	}
	p.used[port] = true
	return port, true
}

func (p *netlinkPorts) give(port uint32) {
	p.mu.Lock()
	delete(p.used, port)
	p.mu.Unlock()
}

// openNetlink opens sockets of a network.
func openNetlink(n *network) func(typ, proto int) (fd.Socket, syscall.Errno) {
	ports := new(netlinkPorts)
	return func(typ, proto int) (fd.Socket, syscall.Errno) {
		switch {
		case typ != syscall.SOCK_RAW && typ != syscall.SOCK_DGRAM:
			return nil, syscall.ESOCKTNOSUPPORT
		case proto != syscall.NETLINK_ROUTE:
			return nil, syscall.EPROTONOSUPPORT
		}
		return &Netlink{net: n, typ: typ, ports: ports, inode: nextInode()}, 0
	}
}

// netlinkAddress reads a sockaddr_nl.
func netlinkAddress(addr []byte) (port, groups uint32, err syscall.Errno) {
	if len(addr) < syscall.SizeofSockaddrNetlink {
		return 0, 0, syscall.EINVAL
	}
	if get16(addr) != syscall.AF_NETLINK {
		return 0, 0, syscall.EINVAL
	}
	return get32(addr[4:]), get32(addr[8:]), 0
}

// putNetlinkAddress writes a sockaddr_nl.
func putNetlinkAddress(addr []byte, port, groups uint32) int {
	var b [syscall.SizeofSockaddrNetlink]byte
	put16(b[:], syscall.AF_NETLINK)
	put32(b[4:], port)
	put32(b[8:], groups)
	copy(addr, b[:])
	return len(b)
}

// Bind implements fd.Socket.
func (s *Netlink) Bind(addr []byte) syscall.Errno {
	port, groups, err := netlinkAddress(addr)
	if err != 0 {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.port != 0 && port != s.port {
		return syscall.EINVAL
	}
	if s.port == 0 {
		if err := s.autobind(port); err != 0 {
			return err
		}
	}
	s.groups = groups
	return 0
}

// autobind gives the socket a port. s.mu is held.
func (s *Netlink) autobind(port uint32) syscall.Errno {
	port, ok := s.ports.take(port)
	if !ok {
		return syscall.EADDRINUSE
	}
	s.port = port
	return 0
}

// Connect implements fd.Socket: there is nobody but the kernel to speak to.
func (s *Netlink) Connect(addr []byte) syscall.Errno {
	if len(addr) >= 2 && get16(addr) == syscall.AF_UNSPEC {
		return 0
	}
	port, _, err := netlinkAddress(addr)
	if err != 0 {
		return err
	}
	if port != 0 {
		return syscall.ECONNREFUSED
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.port == 0 {
		return s.autobind(0)
	}
	return 0
}

// Listen implements fd.Socket.
func (s *Netlink) Listen(int) syscall.Errno { return syscall.EOPNOTSUPP }

// Accept implements fd.Socket.
func (s *Netlink) Accept() (fd.Socket, syscall.Errno) { return nil, syscall.EOPNOTSUPP }

// Send implements fd.Socket: the answer is in line when it returns.
func (s *Netlink) Send(p, addr []byte, flags int) (int, syscall.Errno) {
	if addr != nil {
		port, groups, err := netlinkAddress(addr)
		switch {
		case err != 0:
			return 0, err
		case port != 0:
			return 0, syscall.ECONNREFUSED
		case groups != 0:
			return 0, syscall.EPERM
		}
	}
	if len(p) > netlinkBuffer {
		return 0, syscall.EMSGSIZE
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.port == 0 {
		if err := s.autobind(0); err != 0 {
			return 0, err
		}
	}
	for _, answer := range answerNetlink(s.net, s.port, p) {
		if s.size+len(answer) > netlinkBuffer {
			return 0, syscall.ENOBUFS
		}
		s.queue = append(s.queue, answer)
		s.size += len(answer)
	}
	if len(s.queue) > 0 {
		s.notifier.Notify(fd.Readable)
	}
	return len(p), 0
}

// Receive implements fd.Socket.
func (s *Netlink) Receive(p, addr []byte, flags int) (n, addrLen, got int, err syscall.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case flags&(syscall.MSG_OOB|syscall.MSG_ERRQUEUE) != 0:
		return 0, 0, 0, syscall.EOPNOTSUPP
	case len(s.queue) == 0 && s.closed:
		return 0, 0, 0, 0
	case len(s.queue) == 0:
		return 0, 0, 0, syscall.EAGAIN
	}
	m := s.queue[0]
	n = copy(p, m)
	if n < len(m) {
		got |= syscall.MSG_TRUNC
		if flags&syscall.MSG_TRUNC != 0 {
			n = len(m)
		}
	}
	if flags&syscall.MSG_PEEK == 0 {
		s.queue = slices.Delete(s.queue, 0, 1)
		s.size -= len(m)
	}
	return n, putNetlinkAddress(addr, 0, 0), got, 0
}

// Shutdown implements fd.Socket.
func (s *Netlink) Shutdown(int) syscall.Errno { return syscall.EOPNOTSUPP }

// Name implements fd.Socket.
func (s *Netlink) Name(addr []byte) (int, syscall.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return putNetlinkAddress(addr, s.port, s.groups), 0
}

// PeerName implements fd.Socket: the kernel.
func (s *Netlink) PeerName(addr []byte) (int, syscall.Errno) {
	return putNetlinkAddress(addr, 0, 0), 0
}

// SetOption implements fd.Socket.
func (s *Netlink) SetOption(level, name int, value []byte) syscall.Errno {
	switch {
	case level == solNetlink && name <= netlinkMaxOption:
		if len(value) < 4 {
			return syscall.EINVAL
		}
		return 0 // groups nobody sends to, and forms of answers that programs must be able to do without
	case level == syscall.SOL_SOCKET:
		switch name {
		case syscall.SO_RCVBUF, syscall.SO_SNDBUF, soRcvbufForce, soSndbufForce, syscall.SO_PASSCRED, syscall.SO_RCVTIMEO, syscall.SO_SNDTIMEO:
			return 0
		}
	}
	return syscall.ENOPROTOOPT
}

// Option implements fd.Socket.
func (s *Netlink) Option(level, name int, value []byte) (int, syscall.Errno) {
	if level != syscall.SOL_SOCKET {
		return 0, syscall.ENOPROTOOPT
	}
	switch name {
	case syscall.SO_TYPE:
		return putInt(value, s.typ), 0
	case soDomain:
		return putInt(value, syscall.AF_NETLINK), 0
	case syscall.SO_ERROR, soProtocol, syscall.SO_ACCEPTCONN:
		return putInt(value, 0), 0
	case syscall.SO_RCVBUF, syscall.SO_SNDBUF:
		return putInt(value, netlinkBuffer), 0
	}
	return 0, syscall.ENOPROTOOPT
}

// Read implements fd.File.
func (s *Netlink) Read(p []byte, off int64) (int, syscall.Errno) {
	if off != fd.AtPosition {
		return 0, syscall.ESPIPE
	}
	n, _, _, err := s.Receive(p, nil, 0)
	return n, err
}

// Write implements fd.File.
func (s *Netlink) Write(p []byte, off int64) (int, syscall.Errno) {
	if off != fd.AtPosition {
		return 0, syscall.ESPIPE
	}
	return s.Send(p, nil, 0)
}

// Unread returns the length of the next answer.
func (s *Netlink) Unread() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return 0
	}
	return len(s.queue[0])
}

// Ready implements fd.Pollable.
func (s *Netlink) Ready() fd.Events {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return fd.HungUp | fd.Readable | fd.Writable
	case len(s.queue) > 0:
		return fd.Readable | fd.Writable
	}
	return fd.Writable
}

// Notifier implements fd.Pollable.
func (s *Netlink) Notifier() *fd.Notifier { return &s.notifier }

// Closing implements fd.Shutter.
func (s *Netlink) Closing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.port != 0 {
		s.ports.give(s.port)
	}
	s.notifier.Notify(fd.HungUp)
}

// Close implements fd.File.
func (s *Netlink) Close() { s.Closing() }

// Stat implements fd.File.
func (s *Netlink) Stat(st *syscall.Stat_t) syscall.Errno {
	statSocket(st, s.inode)
	return 0
}
