package socket

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var scripts = map[string]func(*script){
	"what can be opened":     opening,
	"addresses":              addressing,
	"refused connections":    refusedConnections,
	"waiting for connect":    connectingByAndBy,
	"a connection's life":    life,
	"half-closes":            halfClosing,
	"flags of receiving":     receiveFlags,
	"listening":              listeningSockets,
	"datagrams":              datagramScript,
	"datagrams, connected":   connectedDatagrams,
	"datagrams with more":    controlledDatagrams,
	"numbers of options":     optionNumbers,
	"values of options":      optionValues,
	"lengths of options":     optionLengths,
	"descriptors":            descriptors,
	"edges":                  edges,
	"patience":               patienceScript,
	"pieces":                 pieces,
	"calls on other sockets": misuse,
}

func opening(s *script) {
	for _, c := range [][3]int{
		{syscall.AF_INET, syscall.SOCK_STREAM, 0}, {syscall.AF_INET, syscall.SOCK_STREAM, syscall.IPPROTO_TCP},
		{syscall.AF_INET, syscall.SOCK_STREAM, syscall.IPPROTO_UDP}, {syscall.AF_INET, syscall.SOCK_DGRAM, syscall.IPPROTO_TCP},
		{syscall.AF_INET, syscall.SOCK_DGRAM, syscall.IPPROTO_UDP}, {syscall.AF_INET, syscall.SOCK_SEQPACKET, 0},
		{syscall.AF_INET, 99, 0}, {99, syscall.SOCK_STREAM, 0}, {syscall.AF_NETLINK, syscall.SOCK_STREAM, 0},
	} {
		if fd, err := s.call(syscall.SYS_SOCKET, c[0], c[1], c[2]); err != 0 {
			s.say("%v: %v", c, err)
		} else {
			s.say("%v: open", c)
			s.do(syscall.SYS_CLOSE, fd)
		}
	}
}

func addressing(s *script) {
	fd := s.socket(syscall.SOCK_STREAM)
	short := at(0)
	s.try("short", syscall.SYS_BIND, fd, short, 15)
	s.try("no pointer", syscall.SYS_BIND, fd, 0, 16)
	six := append([]byte{10, 0}, make([]byte, 26)...)
	s.try("IPv6", syscall.SYS_BIND, fd, six, 28)
	s.try("not ours", syscall.SYS_BIND, fd, []byte{2, 0, 0, 0, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0}, 16)
	s.try("free port", syscall.SYS_BIND, fd, at(0), 16)
	s.try("twice", syscall.SYS_BIND, fd, at(0), 16)
	port := s.port(fd)
	other := s.socket(syscall.SOCK_STREAM)
	s.try("in use", syscall.SYS_BIND, other, at(port), 16)
	s.try("in use by all addresses", syscall.SYS_BIND, other, append([]byte{2, 0, byte(port >> 8), byte(port)}, make([]byte, 12)...), 16)
	datagram := s.socket(syscall.SOCK_DGRAM)
	s.try("the same port of UDP", syscall.SYS_BIND, datagram, at(port), 16)
	b, n := make([]byte, 16), int32(5)
	s.try("a short name", syscall.SYS_GETSOCKNAME, fd, b, &n)
	s.say("%d, %v", n, b[:2])
	n = -1
	s.try("a negative length", syscall.SYS_GETSOCKNAME, fd, b, &n)
	n = 16
	s.try("no peer", syscall.SYS_GETPEERNAME, fd, b, &n)
	fresh := s.socket(syscall.SOCK_STREAM)
	s.try("name of nothing", syscall.SYS_GETSOCKNAME, fresh, b, &n)
	s.say("%v", b)
}

func refusedConnections(s *script) {
	fd := s.socket(syscall.SOCK_STREAM)
	s.try("blocking", syscall.SYS_CONNECT, fd, at(s.nobody()), 16)
	s.sayError("afterwards", fd)
	s.try("again", syscall.SYS_CONNECT, fd, at(s.nobody()), 16)
	s.try("IPv6", syscall.SYS_CONNECT, fd, append([]byte{10, 0}, make([]byte, 26)...), 28)
	s.try("short", syscall.SYS_CONNECT, fd, at(1), 8)
}

func (s *script) sayError(what string, fd int) {
	v, n := int32(-7), int32(4)
	s.do(syscall.SYS_GETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_ERROR, &v, &n)
	s.say("%s: error %v", what, syscall.Errno(v))
}

func connectingByAndBy(s *script) {
	fd := s.socket(syscall.SOCK_STREAM | syscall.SOCK_NONBLOCK)
	s.poll("fresh", fd, anyEvent, 0)
	s.call(syscall.SYS_CONNECT, fd, at(s.nobody()), 16)
	s.until(fd, unix.POLLOUT)
	s.poll("refused", fd, anyEvent, 0)
	s.sayError("refused", fd)
	s.sayError("refused, asked again", fd)
	l, port := s.bound(syscall.SOCK_STREAM)
	s.do(syscall.SYS_LISTEN, l, 1)
	fd = s.socket(syscall.SOCK_STREAM | syscall.SOCK_NONBLOCK)
	s.call(syscall.SYS_CONNECT, fd, at(port), 16)
	s.until(fd, unix.POLLOUT)
	s.poll("connected", fd, anyEvent, 0)
	s.sayError("connected", fd)
	s.try("connect after", syscall.SYS_CONNECT, fd, at(port), 16)
	s.try("and again", syscall.SYS_CONNECT, fd, at(port), 16)
}

func life(s *script) {
	c, d := s.pair()
	s.poll("client", c, anyEvent, 0)
	s.poll("server", d, anyEvent, 0)
	s.try("write", syscall.SYS_WRITE, c, []byte("hello"), 5)
	s.until(d, unix.POLLIN)
	s.poll("server with bytes", d, anyEvent, 0)
	n := int32(0)
	s.try("FIONREAD", syscall.SYS_IOCTL, d, 0x541b, &n)
	s.say("%d", n)
	b := make([]byte, 10)
	s.try("read", syscall.SYS_READ, d, b, 10)
	s.try("read of nothing", syscall.SYS_RECVFROM, d, b, 10, syscall.MSG_DONTWAIT, 0, 0)
	s.try("read into nothing", syscall.SYS_RECVFROM, d, b, 0, syscall.MSG_DONTWAIT, 0, 0)
	s.do(syscall.SYS_CLOSE, c)
	s.until(d, unix.POLLRDHUP)
	s.poll("server at the end", d, anyEvent, 0)
	s.try("read at the end", syscall.SYS_READ, d, b, 10)
	s.try("read at the end again", syscall.SYS_READ, d, b, 10)
	s.try("write to who left", syscall.SYS_SENDTO, d, b, 10, syscall.MSG_NOSIGNAL, 0, 0)
	s.until(d, unix.POLLERR|unix.POLLHUP)
	s.poll("server after that", d, anyEvent, 0)
	s.try("read after that", syscall.SYS_READ, d, b, 10)
	s.try("write after that", syscall.SYS_SENDTO, d, b, 10, syscall.MSG_NOSIGNAL, 0, 0)
}

func halfClosing(s *script) {
	c, d := s.pair()
	b := make([]byte, 10)
	s.do(syscall.SYS_WRITE, c, []byte("last"), 4)
	s.try("shut the writing half", syscall.SYS_SHUTDOWN, c, syscall.SHUT_WR)
	s.try("write", syscall.SYS_SENDTO, c, b, 1, syscall.MSG_NOSIGNAL, 0, 0)
	s.until(d, unix.POLLRDHUP)
	s.poll("the other end", d, anyEvent, 0)
	s.try("read the rest", syscall.SYS_READ, d, b, 10)
	s.try("read the end", syscall.SYS_READ, d, b, 10)
	s.try("answer", syscall.SYS_WRITE, d, []byte("yes"), 3)
	s.until(c, unix.POLLIN)
	s.try("read the answer", syscall.SYS_READ, c, b, 10)
	s.try("shut the reading half", syscall.SYS_SHUTDOWN, c, syscall.SHUT_RD)
	s.poll("both halves shut", c, anyEvent, 0)
	s.try("read", syscall.SYS_READ, c, b, 10)
	s.try("shut with a wrong number", syscall.SYS_SHUTDOWN, c, 3)
	fresh := s.socket(syscall.SOCK_STREAM)
	s.try("shut what is not connected", syscall.SYS_SHUTDOWN, fresh, syscall.SHUT_WR)
	s.try("read from what is not connected", syscall.SYS_RECVFROM, fresh, b, 10, 0, 0, 0)
	s.try("write to what is not connected", syscall.SYS_SENDTO, fresh, b, 10, syscall.MSG_NOSIGNAL, 0, 0)
}

func receiveFlags(s *script) {
	c, d := s.pair()
	b := make([]byte, 32)
	s.do(syscall.SYS_WRITE, c, []byte("0123456789"), 10)
	s.until(d, unix.POLLIN)
	s.try("peek", syscall.SYS_RECVFROM, d, b, 4, syscall.MSG_PEEK, 0, 0)
	s.say("%s", b[:4])
	s.try("throw away", syscall.SYS_RECVFROM, d, b[16:], 3, syscall.MSG_TRUNC, 0, 0)
	s.say("%v", b[16:19])
	s.try("wait for all", syscall.SYS_RECVFROM, d, b, 5, syscall.MSG_WAITALL, 0, 0)
	s.say("%s", b[:5])
	s.try("wait for all that comes", syscall.SYS_RECVFROM, d, b, 5, syscall.MSG_WAITALL|syscall.MSG_DONTWAIT, 0, 0)
	s.try("urgent", syscall.SYS_RECVFROM, d, b, 5, syscall.MSG_OOB|syscall.MSG_DONTWAIT, 0, 0)
	s.try("errors", syscall.SYS_RECVFROM, d, b, 5, syscall.MSG_ERRQUEUE, 0, 0)
	s.do(syscall.SYS_WRITE, c, []byte("abc"), 3)
	s.until(d, unix.POLLIN)
	addr, n := make([]byte, 16), int32(16)
	s.try("with an address", syscall.SYS_RECVFROM, d, b, 3, 0, addr, &n)
	s.say("length %d", n)
}

func listeningSockets(s *script) {
	l, port := s.bound(syscall.SOCK_STREAM | syscall.SOCK_NONBLOCK)
	s.try("accept before listening", syscall.SYS_ACCEPT4, l, 0, 0, 0)
	s.try("listen", syscall.SYS_LISTEN, l, 5)
	s.try("listen again", syscall.SYS_LISTEN, l, 10)
	s.poll("nobody there", l, anyEvent, 0)
	s.try("accept nobody", syscall.SYS_ACCEPT4, l, 0, 0, 0)
	s.try("accept with unknown flags", syscall.SYS_ACCEPT4, l, 0, 0, 1)
	s.try("connect a listener", syscall.SYS_CONNECT, l, at(port), 16)
	b := make([]byte, 8)
	s.try("read a listener", syscall.SYS_READ, l, b, 8)
	s.try("write a listener", syscall.SYS_SENDTO, l, b, 8, syscall.MSG_NOSIGNAL, 0, 0)
	c := s.socket(syscall.SOCK_STREAM)
	s.do(syscall.SYS_CONNECT, c, at(port), 16)
	s.until(l, unix.POLLIN)
	s.poll("somebody there", l, anyEvent, 0)
	addr, n := make([]byte, 16), int32(16)
	d, err := s.call(syscall.SYS_ACCEPT4, l, addr, &n, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	s.say("accept: %v, address of %d, %v", err, n, addr[4:8])
	s.say("flags %#x %#x", s.do(syscall.SYS_FCNTL, d, syscall.F_GETFL, 0), s.do(syscall.SYS_FCNTL, d, syscall.F_GETFD, 0))
	s.do(syscall.SYS_CLOSE, d)
	unbound := s.socket(syscall.SOCK_STREAM)
	s.try("listen without a name", syscall.SYS_LISTEN, unbound, 0)
	s.say("got a port: %v", s.port(unbound) != 0)
	s.try("stop listening", syscall.SYS_SHUTDOWN, l, syscall.SHUT_RD)
	s.try("accept after that", syscall.SYS_ACCEPT4, l, 0, 0, 0)
	refused := s.socket(syscall.SOCK_STREAM)
	s.try("connect after that", syscall.SYS_CONNECT, refused, at(port), 16)
}

func datagramScript(s *script) {
	a, to := s.bound(syscall.SOCK_DGRAM)
	b, _ := s.bound(syscall.SOCK_DGRAM)
	buf := make([]byte, 64)
	s.poll("fresh", a, anyEvent, 0)
	s.try("nothing there", syscall.SYS_RECVFROM, a, buf, 64, syscall.MSG_DONTWAIT, 0, 0)
	s.try("without an address", syscall.SYS_SENDTO, b, buf, 8, 0, 0, 0)
	s.try("send", syscall.SYS_SENDTO, b, []byte("0123456789"), 10, 0, at(to), 16)
	s.try("send nothing", syscall.SYS_SENDTO, b, buf, 0, 0, at(to), 16)
	s.until(a, unix.POLLIN)
	s.poll("with one", a, anyEvent, 0)
	n := int32(0)
	s.do(syscall.SYS_IOCTL, a, 0x541b, &n)
	s.say("FIONREAD %d", n)
	s.try("peek", syscall.SYS_RECVFROM, a, buf, 4, syscall.MSG_PEEK, 0, 0)
	s.try("peek the length", syscall.SYS_RECVFROM, a, buf, 4, syscall.MSG_PEEK|syscall.MSG_TRUNC, 0, 0)
	addr, length := make([]byte, 16), int32(16)
	s.try("cut", syscall.SYS_RECVFROM, a, buf, 4, 0, addr, &length)
	s.say("%s, sender of %d, %v", buf[:4], length, addr[4:8])
	s.try("of no bytes", syscall.SYS_RECVFROM, a, buf, 64, 0, 0, 0)
	s.try("to port 0", syscall.SYS_SENDTO, b, buf, 8, 0, at(0), 16)
	s.try("to IPv6", syscall.SYS_SENDTO, b, buf, 8, 0, append([]byte{10, 0}, make([]byte, 26)...), 28)
	s.try("to a short address", syscall.SYS_SENDTO, b, buf, 8, 0, at(to), 8)
	s.try("too long", syscall.SYS_SENDTO, b, make([]byte, 65508), 65508, 0, at(to), 16)
	s.try("urgent", syscall.SYS_SENDTO, b, buf, 8, syscall.MSG_OOB, at(to), 16)
	s.try("to nobody", syscall.SYS_SENDTO, b, buf, 8, 0, at(s.nobodyUDP()), 16)
	s.try("and on", syscall.SYS_SENDTO, b, buf, 8, 0, at(to), 16)
}

func (s *script) nobodyUDP() uint16 {
	fd, port := s.bound(syscall.SOCK_DGRAM)
	s.do(syscall.SYS_CLOSE, fd)
	return port
}

func connectedDatagrams(s *script) {
	a, to := s.bound(syscall.SOCK_DGRAM)
	b, _ := s.bound(syscall.SOCK_DGRAM)
	c, _ := s.bound(syscall.SOCK_DGRAM)
	buf := make([]byte, 64)
	s.try("peer of none", syscall.SYS_GETPEERNAME, b, buf, pointer(16))
	s.try("connect", syscall.SYS_CONNECT, b, at(to), 16)
	s.try("connect again", syscall.SYS_CONNECT, b, at(to), 16)
	s.try("write", syscall.SYS_WRITE, b, []byte("hi"), 2)
	s.try("read", syscall.SYS_READ, a, buf, 64)
	s.do(syscall.SYS_SENDTO, c, []byte("x"), 1, 0, at(s.port(b)), 16)
	s.try("from others", syscall.SYS_RECVFROM, b, buf, 64, syscall.MSG_DONTWAIT, 0, 0)
	s.try("shut the reading half", syscall.SYS_SHUTDOWN, b, syscall.SHUT_RD)
	s.try("read after that", syscall.SYS_RECVFROM, b, buf, 64, 0, 0, 0)
	s.try("shut who is not connected", syscall.SYS_SHUTDOWN, c, syscall.SHUT_WR)
	s.try("disconnect", syscall.SYS_CONNECT, b, []byte{0, 0}, 2)
	s.try("peer after that", syscall.SYS_GETPEERNAME, b, buf, pointer(16))
	d := s.socket(syscall.SOCK_DGRAM)
	s.do(syscall.SYS_CONNECT, d, at(s.nobodyUDP()), 16)
	s.try("to nobody", syscall.SYS_WRITE, d, buf, 8)
	s.until(d, unix.POLLERR)
	s.poll("which is told", d, anyEvent, 0)
	s.try("by an error", syscall.SYS_WRITE, d, buf, 8)
	s.try("once", syscall.SYS_WRITE, d, buf, 8)
	s.until(d, unix.POLLERR)
	s.sayError("or as an option", d)
	s.try("listen", syscall.SYS_LISTEN, d, 1)
	s.try("accept", syscall.SYS_ACCEPT4, d, 0, 0, 0)
}

func pointer(n int32) *int32 { return &n }

func controlledDatagrams(s *script) {
	a, to := s.bound(syscall.SOCK_DGRAM)
	b, _ := s.bound(syscall.SOCK_DGRAM)
	for _, name := range []int{syscall.IP_PKTINFO, syscall.IP_RECVTTL, syscall.IP_RECVTOS} {
		s.do(syscall.SYS_SETSOCKOPT, a, syscall.IPPROTO_IP, name, pointer(1), 4)
	}
	c := cmsgWriter{b: make([]byte, 128)}
	c.put(syscall.IPPROTO_IP, syscall.IP_TTL, []byte{33, 0, 0, 0})
	c.put(syscall.IPPROTO_IP, syscall.IP_TOS, []byte{2, 0, 0, 0})
	c.put(syscall.IPPROTO_IP, syscall.IP_PKTINFO, []byte{0, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0})
	body := []byte("more")
	m := unix.Msghdr{Name: &at(to)[0], Namelen: 16, Iov: &unix.Iovec{Base: &body[0], Len: 4}, Iovlen: 1, Control: &c.b[0]}
	m.SetControllen(c.n)
	s.try("send", syscall.SYS_SENDMSG, b, &m, 0)
	s.receiveControlled(a, 128)
	s.do(syscall.SYS_SENDMSG, b, &m, 0)
	s.receiveControlled(a, 40)
	bad := cmsgWriter{b: make([]byte, 64)}
	bad.put(syscall.IPPROTO_IP, syscall.IP_TTL, []byte{0, 1, 0, 0})
	m.Control = &bad.b[0]
	m.SetControllen(bad.n)
	s.try("with a wrong TTL", syscall.SYS_SENDMSG, b, &m, 0)
	s.do(syscall.SYS_SETSOCKOPT, b, syscall.IPPROTO_UDP, udpSegment, pointer(3), 4)
	s.do(syscall.SYS_SENDTO, b, []byte("abcdefgh"), 8, 0, at(to), 16)
	for range 3 {
		buf := make([]byte, 16)
		n := s.do(syscall.SYS_READ, a, buf, 16)
		s.say("segment %s", buf[:n])
	}
}

// receiveControlled says what comes with a datagram.
func (s *script) receiveControlled(fd, room int) {
	buf, control := make([]byte, 64), make([]byte, room)
	m := unix.Msghdr{Iov: &unix.Iovec{Base: &buf[0], Len: 64}, Iovlen: 1, Control: &control[0]}
	m.SetControllen(room)
	n := s.do(syscall.SYS_RECVMSG, fd, &m, 0)
	messages, err := unix.ParseSocketControlMessage(control[:m.Controllen])
	s.say("%s with %d bytes, flags %#x, %v", buf[:n], m.Controllen, m.Flags, err)
	for _, c := range messages {
		s.say("level %d type %d: %v", c.Header.Level, c.Header.Type, c.Data)
	}
}

func optionNumbers(s *script) {
	for _, typ := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM} {
		fd := s.socket(typ)
		for _, o := range options {
			if differs[o.text] != "" {
				continue
			}
			v, n := int32(-7), int32(4)
			_, err := s.call(syscall.SYS_GETSOCKOPT, fd, o.level, o.name, &v, &n)
			s.say("%d %s: %d of %d bytes, %v", typ, o.text, v, n, err)
		}
		v, n := int32(-7), int32(4)
		_, err := s.call(syscall.SYS_GETSOCKOPT, fd, syscall.SOL_SOCKET, 4000, &v, &n)
		s.say("unknown: %v", err)
		_, err = s.call(syscall.SYS_GETSOCKOPT, fd, 4000, 1, &v, &n)
		s.say("unknown level: %v", err)
	}
}

// differs are the options whose first value is not Linux's, and why.
var differs = map[string]string{
	"SO_SNDBUF":                "tuned by itself from another size",
	"SO_RCVBUF":                "tuned by itself from another size",
	"SO_COOKIE":                "any number, in 8 bytes",
	"SO_INCOMING_CPU":          "which CPU handled a packet",
	"SO_MARK":                  "can be read",
	"SO_PASSCRED":              "depends on the release",
	"SO_ATTACH_FILTER":         "has no BPF",
	"SO_ZEROCOPY":              "is not given",
	"SO_BUSY_POLL":             "depends on the host",
	"IP_HDRINCL":               "for raw sockets",
	"IP_TRANSPARENT":           "is not given",
	"IP_MTU":                   "not connected",
	"IP_OPTIONS":               "length and value are 0",
	"IP_MTU_DISCOVER":          "depends on the host's setting",
	"TCP_INFO":                 "a structure",
	"TCP_CONGESTION":           "a text, depends on the host",
	"TCP_MAXSEG":               "depends on the release",
	"TCP_WINDOW_CLAMP":         "depends on the release",
	"TCP_NOTSENT_LOWAT":        "depends on the host's setting",
	"TCP_ULP":                  "is not given",
	"TCP_REPAIR":               "is not given",
	"TCP_MD5SIG":               "is not given",
	"TCP_FASTOPEN":             "is not given",
	"SO_MAX_PACING_RATE":       "unlimited, in 4 or 8 bytes",
	"UDP_CORK":                 "is not given",
	"TCP_THIN_LINEAR_TIMEOUTS": "",
	"SO_BINDTODEVICE":          "a text",
	"SO_PEERCRED":              "a structure",
	"IP_MULTICAST_ALL":         "",
	"TCP_LINGER2":              "depends on the host's setting",
	"TCP_SYNCNT":               "depends on the host's setting",
	"TCP_USER_TIMEOUT":         "",
	"TCP_QUICKACK":             "depends on the state",
	"TCP_DEFER_ACCEPT":         "",
	"IP_TTL":                   "depends on the host's setting",
}

func optionValues(s *script) {
	stream, datagram := s.socket(syscall.SOCK_STREAM), s.socket(syscall.SOCK_DGRAM)
	for _, c := range []struct {
		fd          int
		text        string
		level, name int
		values      []int32
	}{
		{stream, "SO_REUSEADDR", syscall.SOL_SOCKET, syscall.SO_REUSEADDR, []int32{1, 7, 0}},
		{stream, "SO_KEEPALIVE", syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, []int32{1, 0}},
		{datagram, "SO_BROADCAST", syscall.SOL_SOCKET, syscall.SO_BROADCAST, []int32{1, 0}},
		{stream, "SO_TYPE", syscall.SOL_SOCKET, syscall.SO_TYPE, []int32{1}},
		{stream, "SO_ERROR", syscall.SOL_SOCKET, syscall.SO_ERROR, []int32{1}},
		{stream, "SO_SNDBUF", syscall.SOL_SOCKET, syscall.SO_SNDBUF, []int32{50000, 1}},
		{datagram, "SO_RCVBUF", syscall.SOL_SOCKET, syscall.SO_RCVBUF, []int32{50000}},
		{stream, "TCP_NODELAY", syscall.IPPROTO_TCP, syscall.TCP_NODELAY, []int32{1, 0}},
		{stream, "TCP_CORK", syscall.IPPROTO_TCP, syscall.TCP_CORK, []int32{1, 0}},
		{stream, "TCP_KEEPIDLE", syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, []int32{15, 0, 32767, 32768}},
		{stream, "TCP_KEEPINTVL", syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, []int32{15, 0, 32768}},
		{stream, "TCP_KEEPCNT", syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, []int32{9, 0, 127, 128}},
		{stream, "TCP_USER_TIMEOUT", syscall.IPPROTO_TCP, tcpUserTimeout, []int32{5000, -1, 0}},
		{stream, "TCP_SYNCNT", syscall.IPPROTO_TCP, syscall.TCP_SYNCNT, []int32{3, 0, 127, 128}},
		{datagram, "TCP_NODELAY of UDP", syscall.IPPROTO_TCP, syscall.TCP_NODELAY, []int32{1}},
		{stream, "UDP_SEGMENT of TCP", syscall.IPPROTO_UDP, udpSegment, []int32{1}},
		{stream, "IP_TTL", syscall.IPPROTO_IP, syscall.IP_TTL, []int32{1, 255, 0, 256, -1}},
		{stream, "IP_TOS", syscall.IPPROTO_IP, syscall.IP_TOS, []int32{0x10, 0xfc}},
		{datagram, "IP_MTU_DISCOVER", syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER, []int32{0, 1, 2, 3, 4, 5, 6, -1}},
		{datagram, "IP_PKTINFO", syscall.IPPROTO_IP, syscall.IP_PKTINFO, []int32{1, 5, 0}},
		{datagram, "IP_RECVERR", syscall.IPPROTO_IP, syscall.IP_RECVERR, []int32{1, 0}},
		{datagram, "UDP_SEGMENT", syscall.IPPROTO_UDP, udpSegment, []int32{1200, -1, 65536, 0}},
		{stream, "IPV6_V6ONLY", syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, []int32{1}},
		{stream, "unknown", syscall.SOL_SOCKET, 4000, []int32{1}},
	} {
		for _, v := range c.values {
			_, err := s.call(syscall.SYS_SETSOCKOPT, c.fd, c.level, c.name, &v, 4)
			got, n := int32(-7), int32(4)
			_, err2 := s.call(syscall.SYS_GETSOCKOPT, c.fd, c.level, c.name, &got, &n)
			s.say("%s %d: %v; then %d, %v", c.text, v, err, got, err2)
		}
	}
}

func optionLengths(s *script) {
	fd := s.socket(syscall.SOCK_STREAM)
	four := make([]byte, 64)
	four[0] = 1
	for _, n := range []int{0, 1, 3, 4, 8, -1} {
		_, err := s.call(syscall.SYS_SETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, four, n)
		_, err2 := s.call(syscall.SYS_SETSOCKOPT, fd, syscall.IPPROTO_IP, syscall.IP_TOS, four, n)
		_, err3 := s.call(syscall.SYS_SETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_LINGER, four, n)
		_, err4 := s.call(syscall.SYS_SETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, make([]byte, 64), n)
		s.say("set with %d bytes: %v, %v, %v, %v", n, err, err2, err3, err4)
	}
	for _, n := range []int32{0, 1, 3, 4, 8, -1} {
		b := make([]byte, 8)
		length := n
		_, err := s.call(syscall.SYS_GETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_TYPE, b, &length)
		s.say("get with %d bytes: %d, %v, %v", n, length, b, err)
	}
	s.do(syscall.SYS_SETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_LINGER, []byte{1, 0, 0, 0, 5, 0, 0, 0}, 8)
	b, length := make([]byte, 16), int32(16)
	s.do(syscall.SYS_GETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_LINGER, b, &length)
	s.say("linger: %d, %v", length, b)
	late := []byte{2, 0, 0, 0, 0, 0, 0, 0, 0x20, 0xa1, 7, 0, 0, 0, 0, 0}
	s.do(syscall.SYS_SETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, late, 16)
	s.do(syscall.SYS_GETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, b, &length)
	s.say("timeout: %d, %v", length, b)
	late[11] = 1
	s.try("a timeout with too many microseconds", syscall.SYS_SETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, late, 16)
}

func descriptors(s *script) {
	c, d := s.pair()
	e := s.do(syscall.SYS_DUP, c)
	s.do(syscall.SYS_FCNTL, c, syscall.F_SETFL, syscall.O_NONBLOCK)
	b := make([]byte, 8)
	s.try("a dup shares flags", syscall.SYS_READ, e, b, 8)
	s.do(syscall.SYS_CLOSE, c)
	s.try("a dup lives on", syscall.SYS_WRITE, e, []byte("x"), 1)
	s.try("and is read", syscall.SYS_READ, d, b, 8)
	s.do(syscall.SYS_CLOSE, e)
	s.try("until the last goes", syscall.SYS_READ, d, b, 8)
	s.try("a closed one", syscall.SYS_GETSOCKNAME, e, b, pointer(8))
	var st [144]byte
	s.do(syscall.SYS_FSTAT, d, st[:])
	mode := *(*uint32)(unsafe.Pointer(&st[24]))
	s.say("mode %o", mode)
	s.try("seek", syscall.SYS_LSEEK, d, 0, 1)
	s.try("read at", syscall.SYS_PREAD64, d, b, 8, 0)
	s.try("sync", syscall.SYS_FSYNC, d)
	s.try("truncate", syscall.SYS_FTRUNCATE, d, 0)
}

func edges(s *script) {
	c, d := s.pair()
	p := s.do(syscall.SYS_EPOLL_CREATE1, 0)
	s.t.Cleanup(func() { s.call(syscall.SYS_CLOSE, p) })
	et := uint32(unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP)
	s.do(syscall.SYS_EPOLL_CTL, p, syscall.EPOLL_CTL_ADD, d, &unix.EpollEvent{Events: et | 1<<31, Fd: 7})
	wait := func(what string, ms int) {
		var ev unix.EpollEvent
		n := s.do(syscall.SYS_EPOLL_WAIT, p, &ev, 1, ms)
		s.say("%s: %d event, %#x of %d", what, n, ev.Events, ev.Fd)
	}
	wait("at first", 0)
	wait("again", 0)
	s.do(syscall.SYS_WRITE, c, []byte("x"), 1)
	s.until(d, unix.POLLIN)
	wait("bytes", 1000)
	wait("the same bytes", 0)
	s.do(syscall.SYS_SHUTDOWN, c, syscall.SHUT_WR)
	s.until(d, unix.POLLRDHUP)
	wait("the end", 1000)
	s.do(syscall.SYS_CLOSE, d)
	wait("closed", 0)
}

func patienceScript(s *script) {
	c, _ := s.pair()
	ten := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x27, 0, 0, 0, 0, 0, 0} // ms
	s.do(syscall.SYS_SETSOCKOPT, c, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, ten, 16)
	b := make([]byte, 8)
	s.try("receive", syscall.SYS_RECVFROM, c, b, 8, 0, 0, 0)
	s.try("read", syscall.SYS_READ, c, b, 8)
	m := unix.Msghdr{Iov: &unix.Iovec{Base: &b[0], Len: 8}, Iovlen: 1}
	s.try("recvmsg", syscall.SYS_RECVMSG, c, &m, 0)
	l, _ := s.bound(syscall.SOCK_STREAM)
	s.do(syscall.SYS_LISTEN, l, 1)
	s.do(syscall.SYS_SETSOCKOPT, l, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, ten, 16)
	s.try("accept", syscall.SYS_ACCEPT4, l, 0, 0, 0)
}

func pieces(s *script) {
	c, d := s.pair()
	b := []byte("0123456789")
	iov := [3]unix.Iovec{{Base: &b[0], Len: 3}, {Base: &b[3], Len: 0}, {Base: &b[3], Len: 7}}
	s.try("writev", syscall.SYS_WRITEV, c, &iov[0], 3)
	got := make([]byte, 32)
	in := [2]unix.Iovec{{Base: &got[0], Len: 4}, {Base: &got[16], Len: 6}}
	m := unix.Msghdr{Iov: &in[0], Iovlen: 2}
	s.try("recvmsg", syscall.SYS_RECVMSG, d, &m, syscall.MSG_WAITALL)
	s.say("%s %s, flags %#x, name %d, control %d", got[:4], got[16:22], m.Flags, m.Namelen, m.Controllen)
	m = unix.Msghdr{Iov: &iov[0], Iovlen: 3}
	s.try("sendmsg", syscall.SYS_SENDMSG, c, &m, syscall.MSG_MORE)
	s.try("the end of more", syscall.SYS_WRITE, c, []byte("."), 1)
	s.try("readv", syscall.SYS_RECVFROM, d, got, 11, syscall.MSG_WAITALL, 0, 0)
	s.say("%s", got[:11])
	s.try("no pieces", syscall.SYS_WRITEV, c, &iov[0], 0)
	s.try("too many pieces", syscall.SYS_WRITEV, c, &iov[0], 1025)
	a, to := s.bound(syscall.SOCK_DGRAM)
	e := s.socket(syscall.SOCK_DGRAM)
	m = unix.Msghdr{Name: &at(to)[0], Namelen: 16, Iov: &iov[0], Iovlen: 3}
	s.try("one datagram of pieces", syscall.SYS_SENDMSG, e, &m, 0)
	m = unix.Msghdr{Iov: &in[0], Iovlen: 1}
	s.try("cut", syscall.SYS_RECVMSG, a, &m, 0)
	s.say("flags %#x", m.Flags)
}

// misuse: calls on what is not a socket, or not one of that kind.
func misuse(s *script) {
	p := make([]byte, 8)
	s.do(syscall.SYS_PIPE2, p, 0)
	r := int(p[0])
	s.try("bind a pipe", syscall.SYS_BIND, r, at(0), 16)
	s.try("a number too high", syscall.SYS_BIND, 100000, at(0), 16)
	s.try("send to a pipe", syscall.SYS_SENDTO, r, p, 1, 0, 0, 0)
	s.try("option of a pipe", syscall.SYS_GETSOCKOPT, r, 1, 3, p, pointer(4))
	s.do(syscall.SYS_CLOSE, r)
	s.do(syscall.SYS_CLOSE, int(p[4]))
	s.try("pair of IPv4", syscall.SYS_SOCKETPAIR, syscall.AF_INET, syscall.SOCK_STREAM, 0, p)
}
