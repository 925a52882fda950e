package socket

import (
	"sync/atomic"
	"syscall"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/inet"
)

// TCP is a stream socket.
type TCP struct {
	socket
	end        *inet.TCP
	connecting atomic.Bool // a connect was answered EINPROGRESS and nobody asked how it went
	client     bool        // accepted, from outside the guest
}

var (
	_ fd.Socket     = (*TCP)(nil)
	_ fd.Controller = (*TCP)(nil)
	_ fd.Patient    = (*TCP)(nil)
	_ fd.Gatherer   = (*TCP)(nil)
)

func newTCP(n *Net, end *inet.TCP) *TCP {
	return &TCP{socket: socket{endpoint: end, net: n, typ: syscall.SOCK_STREAM, proto: syscall.IPPROTO_TCP, inode: nextInode()}, end: end}
}

// Bind implements fd.Socket.
func (s *TCP) Bind(addr []byte) syscall.Errno { return s.bind(addr) }

// Connect implements fd.Socket. The first one after the connection came about
// succeeds, or tells why it did not (connect(2), EINPROGRESS).
func (s *TCP) Connect(addr []byte) syscall.Errno {
	a, err := parseAddress(addr)
	switch {
	case err != 0:
		return err
	case a.none:
		return s.end.Disconnect()
	}
	if s.connecting.Load() && s.Ready()&(fd.Writable|fd.HungUp|fd.Failed) != 0 && s.connecting.CompareAndSwap(true, false) {
		return s.outcome()
	}
	err = s.end.Connect(a.Addr)
	if err == syscall.EINPROGRESS {
		s.connecting.Store(true)
	}
	return err
}

// outcome tells once how connecting went; where it failed, the socket can be
// used anew (inet_stream_connect of net/ipv4/af_inet.c).
func (s *TCP) outcome() syscall.Errno {
	err := s.end.TakeError()
	if err == 0 {
		if _, lost := s.end.Peer(); lost == 0 {
			return 0
		}
		err = syscall.ECONNABORTED // the reason was asked for before
	}
	s.end.Disconnect()
	return err
}

// Shutdown implements fd.Socket. Who shuts a connection knows that it is there.
func (s *TCP) Shutdown(how int) syscall.Errno {
	err := s.end.Shutdown(how)
	if err == 0 {
		s.connecting.Store(false)
	}
	return err
}

// Listen implements fd.Socket.
func (s *TCP) Listen(backlog int) syscall.Errno {
	err := s.end.Listen(backlog)
	if err == 0 {
		s.net.listening("tcp", s.end.Local())
	}
	return err
}

// Accept implements fd.Socket.
func (s *TCP) Accept() (fd.Socket, syscall.Errno) {
	end, err := s.end.Accept()
	if err != 0 {
		return nil, err
	}
	c := newTCP(s.net, end)
	peer, err := end.Peer()
	c.client = err == 0 && !s.net.local(peer.IP)
	c.inherit(&s.socket)
	return c, 0
}

// Send implements fd.Socket. An address is ignored, as Linux does for streams.
func (s *TCP) Send(p, addr []byte, flags int) (int, syscall.Errno) {
	if flags&(syscall.MSG_OOB|msgFastOpen) != 0 {
		return 0, syscall.EOPNOTSUPP
	}
	n, err := s.end.Send(p, flags)
	if s.client && n > 0 {
		s.net.answered()
	}
	return n, err
}

// Receive implements fd.Socket. A stream does not tell the sender.
func (s *TCP) Receive(p, addr []byte, flags int) (n, addrLen, got int, err syscall.Errno) {
	switch {
	case flags&syscall.MSG_OOB != 0:
		return 0, 0, 0, syscall.EINVAL // there is none
	case flags&syscall.MSG_ERRQUEUE != 0:
		return 0, 0, 0, syscall.EAGAIN // nothing is ever in it
	}
	n, err = s.end.Receive(p, flags)
	return n, 0, 0, err
}

// Read implements fd.File.
func (s *TCP) Read(p []byte, off int64) (int, syscall.Errno) {
	if off != fd.AtPosition {
		return 0, syscall.ESPIPE
	}
	return s.end.Receive(p, 0)
}

// Write implements fd.File.
func (s *TCP) Write(p []byte, off int64) (int, syscall.Errno) {
	if off != fd.AtPosition {
		return 0, syscall.ESPIPE
	}
	return s.Send(p, nil, 0)
}

// WriteMore implements fd.Gatherer.
func (s *TCP) WriteMore(p []byte, more bool) (int, syscall.Errno) {
	if more {
		return s.Send(p, nil, msgMore)
	}
	return s.Send(p, nil, 0)
}

// Unread is how many bytes can be received now, -1 of a listener.
func (s *TCP) Unread() int {
	if s.end.Listening() {
		return -1
	}
	return s.end.Unread()
}
