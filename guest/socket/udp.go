package socket

import (
	"syscall"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/inet"
)

// UDP is a datagram socket.
type UDP struct {
	socket
	end *inet.UDP
}

var (
	_ fd.Socket     = (*UDP)(nil)
	_ fd.Messenger  = (*UDP)(nil)
	_ fd.Controller = (*UDP)(nil)
	_ fd.Patient    = (*UDP)(nil)
)

func newUDP(n *Net, end *inet.UDP) *UDP {
	return &UDP{socket{endpoint: end, net: n, typ: syscall.SOCK_DGRAM, proto: syscall.IPPROTO_UDP, inode: nextInode()}, end}
}

// Bind implements fd.Socket. Who chose the port means to be found there.
func (s *UDP) Bind(addr []byte) syscall.Errno {
	err := s.bind(addr)
	if a, _ := bindAddress(addr); err == 0 && a.Port != 0 {
		s.net.listening("udp", a)
	}
	return err
}

// Connect implements fd.Socket.
func (s *UDP) Connect(addr []byte) syscall.Errno {
	a, err := parseAddress(addr)
	switch {
	case err != 0:
		return err
	case a.none:
		return s.end.Disconnect()
	}
	return s.end.Connect(a.Addr)
}

// Listen implements fd.Socket.
func (s *UDP) Listen(int) syscall.Errno { return syscall.EOPNOTSUPP }

// Accept implements fd.Socket.
func (s *UDP) Accept() (fd.Socket, syscall.Errno) { return nil, syscall.EOPNOTSUPP }

// Send implements fd.Socket.
func (s *UDP) Send(p, addr []byte, flags int) (int, syscall.Errno) {
	if s.segment() > 0 {
		return s.SendMessage(p, addr, nil, flags)
	}
	switch to, given, err := destination(addr); {
	case err != 0:
		return 0, err
	case flags&syscall.MSG_OOB != 0:
		return 0, syscall.EOPNOTSUPP
	case given:
		return s.end.SendTo(p, to, flags)
	}
	return s.end.Send(p, flags)
}

// destination reads the address of a datagram, given when there is one.
func destination(addr []byte) (to inet.Addr, given bool, err syscall.Errno) {
	if addr == nil {
		return to, false, 0
	}
	a, err := bindAddress(addr) // AF_UNSPEC is taken for AF_INET (udp_sendmsg of net/ipv4/udp.c)
	if err == 0 && a.Port == 0 {
		err = syscall.EINVAL
	}
	return a, true, err
}

// SendMessage implements fd.Messenger.
func (s *UDP) SendMessage(p, addr, control []byte, flags int) (int, syscall.Errno) {
	to, _, err := destination(addr)
	if err != 0 {
		return 0, err
	}
	if flags&syscall.MSG_OOB != 0 {
		return 0, syscall.EOPNOTSUPP
	}
	w := wish{segment: s.segment()}
	if err := w.parse(control); err != 0 {
		return 0, err
	}
	if w.segment == 0 || len(p) <= w.segment {
		return s.end.SendHints(p, to, w.Hints, flags)
	}
	return s.sendSegments(p, to, w, flags)
}

// sendSegments sends a run of datagrams of one size, the last one shorter
// (UDP_SEGMENT). What does not go after the first is lost, as on any wire.
func (s *UDP) sendSegments(p []byte, to inet.Addr, w wish, flags int) (int, syscall.Errno) {
	const most = 128 // UDP_MAX_SEGMENTS of include/linux/udp.h
	if len(p) > w.segment*most {
		return 0, syscall.EMSGSIZE
	}
	for rest := p; len(rest) > 0; {
		n := min(w.segment, len(rest))
		if _, err := s.end.SendHints(rest[:n], to, w.Hints, flags); err != 0 && len(rest) == len(p) {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), 0
}

// segment is the socket's UDP_SEGMENT, 0 for none.
func (s *UDP) segment() int { return s.keptValue(optionKey{syscall.IPPROTO_UDP, udpSegment}) }

// Receive implements fd.Socket.
func (s *UDP) Receive(p, addr []byte, flags int) (n, addrLen, got int, err syscall.Errno) {
	if err := refuseQueues(flags); err != 0 {
		return 0, 0, 0, err
	}
	n, full, from, err := s.end.Receive(p, flags)
	if err != 0 {
		return 0, 0, 0, err
	}
	n, got = truncated(n, full, flags)
	return n, putAddress(addr, from), got, 0
}

// refuseQueues answers for what is beside the datagrams: out-of-band bytes,
// which do not exist, and the queue of errors, in which nothing ever is.
func refuseQueues(flags int) syscall.Errno {
	switch {
	case flags&syscall.MSG_OOB != 0:
		return syscall.EOPNOTSUPP
	case flags&syscall.MSG_ERRQUEUE != 0:
		return syscall.EAGAIN
	}
	return 0
}

// truncated is what a call returns that copied n of a full datagram.
func truncated(n, full, flags int) (result, got int) {
	if n == full {
		return n, 0
	}
	if flags&syscall.MSG_TRUNC != 0 {
		n = full
	}
	return n, syscall.MSG_TRUNC
}

// ReceiveMessage implements fd.Messenger.
func (s *UDP) ReceiveMessage(p, addr, control []byte, flags int) (n, addrLen, controlLen, got int, err syscall.Errno) {
	if err := refuseQueues(flags); err != 0 {
		return 0, 0, 0, 0, err
	}
	n, full, meta, err := s.end.ReceiveMeta(p, flags)
	if err != 0 {
		return 0, 0, 0, 0, err
	}
	n, got = truncated(n, full, flags)
	w := cmsgWriter{b: control}
	w.meta(s, meta)
	if w.cut {
		got |= syscall.MSG_CTRUNC
	}
	return n, putAddress(addr, meta.From), w.n, got, 0
}

// Read implements fd.File.
func (s *UDP) Read(p []byte, off int64) (int, syscall.Errno) {
	if off != fd.AtPosition {
		return 0, syscall.ESPIPE
	}
	n, _, _, err := s.end.Receive(p, 0)
	return n, err
}

// Write implements fd.File.
func (s *UDP) Write(p []byte, off int64) (int, syscall.Errno) {
	if off != fd.AtPosition {
		return 0, syscall.ESPIPE
	}
	return s.Send(p, nil, 0)
}
