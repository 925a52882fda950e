package socket

import (
	"strconv"
	"sync"
	"syscall"

	"github.com/dewpaas/dew/guest/control"
	"github.com/dewpaas/dew/guest/inet"
)

// optionKey names an option as setsockopt(2) does.
type optionKey struct{ level, name int }

// option is one row of the table.
type option struct {
	optionKey
	text string // as headers spell it
	note string // what it does, when that is not what its manual page says
	get  func(s *socket, value []byte) (int, syscall.Errno)
	set  func(s *socket, value []byte) syscall.Errno

	refused bool // known, and always answered with an error
}

// table returns the options by level and name, made when the first is asked for.
var table = sync.OnceValue(func() map[optionKey]*option {
	m := map[optionKey]*option{}
	for _, o := range options() {
		m[o.optionKey] = &o
	}
	return m
})

// SetOption implements fd.Socket.
func (s *socket) SetOption(level, name int, value []byte) syscall.Errno {
	o := lookup(level, name)
	if o == nil || o.set == nil {
		return syscall.ENOPROTOOPT
	}
	return o.set(s, value)
}

// Option implements fd.Socket.
func (s *socket) Option(level, name int, value []byte) (int, syscall.Errno) {
	o := lookup(level, name)
	switch {
	case o == nil && !ourLevel(level):
		return 0, syscall.EOPNOTSUPP
	case o == nil || o.get == nil:
		return 0, syscall.ENOPROTOOPT
	}
	return o.get(s, value)
}

func ourLevel(level int) bool {
	switch level {
	case syscall.SOL_SOCKET, syscall.IPPROTO_IP, syscall.IPPROTO_TCP, syscall.IPPROTO_UDP:
		return true
	}
	return false
}

// lookup finds a row, or reports that there is none. Levels of other families
// are asked for by programs that do not care which they have.
func lookup(level, name int) *option {
	o := table()[optionKey{level, name}]
	if o == nil && level != syscall.IPPROTO_IPV6 {
		unknown(optionKey{level, name})
	}
	return o
}

// reported are the unknown options that were told already.
var reported struct {
	mu   sync.Mutex
	keys map[optionKey]bool
}

// maxReported bounds what a program can make us keep.
const maxReported = 64

// unknown reports an option that is not there, once.
func unknown(k optionKey) {
	reported.mu.Lock()
	is := reported.keys[k] || len(reported.keys) >= maxReported
	if !is {
		if reported.keys == nil {
			reported.keys = map[optionKey]bool{}
		}
		reported.keys[k] = true
	}
	reported.mu.Unlock()
	if !is {
		control.Report("socket option " + strconv.Itoa(k.name) + " of level " + strconv.Itoa(k.level) + " is not there: the program got ENOPROTOOPT")
	}
}

// options is the table: every option that a socket of AF_INET knows.
func options() []option {
	const sol, ip, tcp, udp = syscall.SOL_SOCKET, syscall.IPPROTO_IP, syscall.IPPROTO_TCP, syscall.IPPROTO_UDP
	return []option{
		endpointFlag(sol, syscall.SO_REUSEADDR, "SO_REUSEADDR", inet.ReuseAddr),
		endpointFlag(sol, soReusePort, "SO_REUSEPORT", inet.ReusePort),
		endpointFlag(sol, syscall.SO_KEEPALIVE, "SO_KEEPALIVE", inet.KeepAlive).only(syscall.SOCK_STREAM, 0, "a datagram socket keeps it without effect"),
		endpointFlag(sol, syscall.SO_BROADCAST, "SO_BROADCAST", inet.Broadcast).only(syscall.SOCK_DGRAM, 0, "a stream keeps it without effect"),
		endpointNumber(sol, syscall.SO_SNDBUF, "SO_SNDBUF", inet.SendBuffer),
		endpointNumber(sol, syscall.SO_RCVBUF, "SO_RCVBUF", inet.ReceiveBuffer),
		row(sol, soSndbufForce, "SO_SNDBUFFORCE", "within the same bounds as SO_SNDBUF", nil, setEndpoint(inet.SendBuffer)),
		row(sol, soRcvbufForce, "SO_RCVBUFFORCE", "within the same bounds as SO_RCVBUF", nil, setEndpoint(inet.ReceiveBuffer)),
		row(sol, syscall.SO_LINGER, "SO_LINGER", "", getLinger, setLinger),
		row(sol, syscall.SO_RCVTIMEO, "SO_RCVTIMEO", "", getTimeout(receiveSide), setTimeout(receiveSide)),
		row(sol, syscall.SO_SNDTIMEO, "SO_SNDTIMEO", "", getTimeout(sendSide), setTimeout(sendSide)),
		row(sol, syscall.SO_TYPE, "SO_TYPE", "", func(s *socket, v []byte) (int, syscall.Errno) { return putInt(v, s.typ), 0 }, nil),
		row(sol, soProtocol, "SO_PROTOCOL", "", func(s *socket, v []byte) (int, syscall.Errno) { return putInt(v, s.proto), 0 }, nil),
		constant(sol, soDomain, "SO_DOMAIN", "", syscall.AF_INET),
		row(sol, syscall.SO_ERROR, "SO_ERROR", "", func(s *socket, v []byte) (int, syscall.Errno) { return putInt(v, int(s.TakeError())), 0 }, nil),
		row(sol, syscall.SO_ACCEPTCONN, "SO_ACCEPTCONN", "", getAcceptConn, nil),
		row(sol, soBindToDevice, "SO_BINDTODEVICE", "an interface that is there; which one a packet takes its address says", getDevice, setDevice),
		row(sol, soCookie, "SO_COOKIE", "", getCookie, nil),
		row(sol, syscall.SO_PEERCRED, "SO_PEERCRED", "nobody's, as for all but Unix sockets", getPeerCred, nil),
		kept(sol, syscall.SO_DONTROUTE, "SO_DONTROUTE", "kept without effect: there is one way out", 0),
		kept(sol, syscall.SO_OOBINLINE, "SO_OOBINLINE", "kept without effect: urgent bytes always stay in line", 0),
		kept(sol, syscall.SO_PRIORITY, "SO_PRIORITY", "kept without effect: there is one queue", 0),
		kept(sol, syscall.SO_RCVLOWAT, "SO_RCVLOWAT", "kept without effect: any byte wakes", 1),
		constant(sol, syscall.SO_SNDLOWAT, "SO_SNDLOWAT", "", 1),
		kept(sol, soBusyPoll, "SO_BUSY_POLL", "kept without effect", 0),
		kept(sol, soMaxPacingRate, "SO_MAX_PACING_RATE", "kept without effect", -1),
		kept(sol, soNoCheck, "SO_NO_CHECK", "kept without effect: checksums are always made", 0),
		kept(sol, syscall.SO_DEBUG, "SO_DEBUG", "kept without effect", 0),
		constant(sol, soIncomingCPU, "SO_INCOMING_CPU", "", 0),
		refused(sol, syscall.SO_MARK, "SO_MARK", "marks are the host's", syscall.EPERM),
		refused(sol, syscall.SO_PASSCRED, "SO_PASSCRED", "for Unix sockets", syscall.EOPNOTSUPP),
		refused(sol, syscall.SO_ATTACH_FILTER, "SO_ATTACH_FILTER", "no BPF", syscall.ENOPROTOOPT),
		refused(sol, soZeroCopy, "SO_ZEROCOPY", "no queue of errors to tell what was sent", syscall.EOPNOTSUPP),

		endpointNumber(ip, syscall.IP_TTL, "IP_TTL", inet.TTL),
		endpointNumber(ip, syscall.IP_TOS, "IP_TOS", inet.TOS),
		row(ip, syscall.IP_MTU_DISCOVER, "IP_MTU_DISCOVER", "PROBE acts as DO, INTERFACE and OMIT as DONT", getDiscover, setDiscover),
		row(ip, syscall.IP_MTU, "IP_MTU", "", getEndpoint(inet.MTU), nil),
		wanted(syscall.IP_PKTINFO, "IP_PKTINFO", wantPktInfo),
		wanted(syscall.IP_RECVTTL, "IP_RECVTTL", wantTTL),
		wanted(syscall.IP_RECVTOS, "IP_RECVTOS", wantTOS),
		wanted(ipRecvOrigDstAddr, "IP_RECVORIGDSTADDR", wantOrigDst),
		kept(ip, syscall.IP_RECVERR, "IP_RECVERR", "kept; errors come by SO_ERROR, the queue of errors stays empty", 0),
		kept(ip, syscall.IP_FREEBIND, "IP_FREEBIND", "kept without effect", 0),
		kept(ip, ipBindAddressNoPort, "IP_BIND_ADDRESS_NO_PORT", "kept without effect", 0),
		endpointNumber(ip, syscall.IP_MULTICAST_TTL, "IP_MULTICAST_TTL", inet.MulticastTTL).only(syscall.SOCK_DGRAM, 1, "without effect: nobody is there to hear"),
		endpointFlag(ip, syscall.IP_MULTICAST_LOOP, "IP_MULTICAST_LOOP", inet.MulticastLoop).only(syscall.SOCK_DGRAM, 1, "without effect"),
		kept(ip, ipMulticastAll, "IP_MULTICAST_ALL", "kept without effect", 1),
		row(ip, syscall.IP_MULTICAST_IF, "IP_MULTICAST_IF", "without effect", getAddress, setAddress),
		row(ip, syscall.IP_ADD_MEMBERSHIP, "IP_ADD_MEMBERSHIP", "ENODEV: a point-to-point wire has no groups", nil, setMembership(true)),
		row(ip, syscall.IP_DROP_MEMBERSHIP, "IP_DROP_MEMBERSHIP", "as IP_ADD_MEMBERSHIP", nil, setMembership(false)),
		refused(ip, ipTransparent, "IP_TRANSPARENT", "the vNIC sends from its own address only", syscall.EPERM),
		refused(ip, syscall.IP_HDRINCL, "IP_HDRINCL", "headers are the library OS's", syscall.ENOPROTOOPT),
		row(ip, syscall.IP_OPTIONS, "IP_OPTIONS", "none are sent or passed on", func(*socket, []byte) (int, syscall.Errno) { return 0, 0 }, setNoOptions),

		endpointFlag(tcp, syscall.TCP_NODELAY, "TCP_NODELAY", inet.NoDelay).stream(),
		endpointFlag(tcp, syscall.TCP_CORK, "TCP_CORK", inet.Cork).stream(),
		endpointNumber(tcp, syscall.TCP_KEEPIDLE, "TCP_KEEPIDLE", inet.KeepIdle).stream(),
		endpointNumber(tcp, syscall.TCP_KEEPINTVL, "TCP_KEEPINTVL", inet.KeepInterval).stream(),
		endpointNumber(tcp, syscall.TCP_KEEPCNT, "TCP_KEEPCNT", inet.KeepCount).stream(),
		endpointNumber(tcp, tcpUserTimeout, "TCP_USER_TIMEOUT", inet.UserTimeout).stream(),
		endpointNumber(tcp, syscall.TCP_MAXSEG, "TCP_MAXSEG", inet.MaxSeg).stream(),
		endpointNumber(tcp, syscall.TCP_SYNCNT, "TCP_SYNCNT", inet.SynCount).stream(),
		endpointNumber(tcp, syscall.TCP_LINGER2, "TCP_LINGER2", inet.FinTimeout).stream(),
		endpointNumber(tcp, syscall.TCP_DEFER_ACCEPT, "TCP_DEFER_ACCEPT", inet.DeferAccept).stream(),
		endpointNumber(tcp, syscall.TCP_WINDOW_CLAMP, "TCP_WINDOW_CLAMP", inet.WindowClamp).stream(),
		endpointFlag(tcp, syscall.TCP_QUICKACK, "TCP_QUICKACK", inet.QuickAck).stream(),
		endpointNumber(tcp, tcpNotSentLowat, "TCP_NOTSENT_LOWAT", inet.NotSentLow).stream(),
		row(tcp, syscall.TCP_INFO, "TCP_INFO", "what Linux counts and we do not is 0", getInfo, nil),
		row(tcp, syscall.TCP_CONGESTION, "TCP_CONGESTION", "one algorithm, which cannot be changed for another", getCongestion, setCongestion),
		kept(tcp, tcpFastOpen, "TCP_FASTOPEN", "kept; clients get no cookie and connect as ever", 0).stream(),
		kept(tcp, tcpFastOpenConnect, "TCP_FASTOPEN_CONNECT", "kept; connecting is as ever", 0).stream(),
		kept(tcp, tcpThinLinear, "TCP_THIN_LINEAR_TIMEOUTS", "kept without effect", 0).stream(),
		refused(tcp, tcpULP, "TCP_ULP", "no TLS in the kernel", syscall.ENOENT),
		refused(tcp, tcpRepair, "TCP_REPAIR", "", syscall.EPERM),
		refused(tcp, syscall.TCP_MD5SIG, "TCP_MD5SIG", "", syscall.ENOPROTOOPT),

		kept(udp, udpSegment, "UDP_SEGMENT", "datagrams are cut here", 0).datagram(segmentRange),
		kept(udp, udpGRO, "UDP_GRO", "kept; datagrams come one by one", 0).datagram(nil),
		kept(udp, udpCork, "UDP_CORK", "refused unless 0", 0).datagram(mustBeZero),
	}
}
