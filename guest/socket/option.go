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

// SetOption implements fd.Socket.
func (s *socket) SetOption(level, name int, value []byte) syscall.Errno {
	if o := lookup(level, name); o != nil {
		return o.write(s, value)
	}
	return syscall.ENOPROTOOPT
}

// Option implements fd.Socket.
func (s *socket) Option(level, name int, value []byte) (int, syscall.Errno) {
	o := lookup(level, name)
	switch {
	case o == nil && !ourLevel(level):
		return 0, syscall.EOPNOTSUPP
	case o == nil:
		return 0, syscall.ENOPROTOOPT
	}
	return o.read(s, value)
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
	key := optionKey{level, name}
	for i := range options {
		if options[i].optionKey == key {
			return &options[i]
		}
	}
	if level != syscall.IPPROTO_IPV6 {
		unknown(key)
	}
	return nil
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

// Names of the table's columns.
const (
	sol, ip, tcp, udp = syscall.SOL_SOCKET, syscall.IPPROTO_IP, syscall.IPPROTO_TCP, syscall.IPPROTO_UDP
	stream, dgram     = syscall.SOCK_STREAM, syscall.SOCK_DGRAM
)

// options is the table: every option that a socket of AF_INET knows. It is data
// that the linker lays out, constants and names of functions alone: made by code
// when a program starts it would cost an emulated CPU, which translates each
// instruction before it runs it once, 8 ms.
var options = [...]option{
	{optionKey: optionKey{sol, syscall.SO_REUSEADDR}, text: "SO_REUSEADDR", way: onOff, of: inet.ReuseAddr},
	{optionKey: optionKey{sol, soReusePort}, text: "SO_REUSEPORT", way: onOff, of: inet.ReusePort},
	{optionKey: optionKey{sol, syscall.SO_KEEPALIVE}, text: "SO_KEEPALIVE", note: "a datagram socket keeps it without effect", way: onOff, of: inet.KeepAlive, typ: stream, others: othersKeep},
	{optionKey: optionKey{sol, syscall.SO_BROADCAST}, text: "SO_BROADCAST", note: "a stream keeps it without effect", way: onOff, of: inet.Broadcast, typ: dgram, others: othersKeep},
	{optionKey: optionKey{sol, syscall.SO_SNDBUF}, text: "SO_SNDBUF", way: amount, of: inet.SendBuffer},
	{optionKey: optionKey{sol, syscall.SO_RCVBUF}, text: "SO_RCVBUF", way: amount, of: inet.ReceiveBuffer},
	{optionKey: optionKey{sol, soSndbufForce}, text: "SO_SNDBUFFORCE", note: "within the same bounds as SO_SNDBUF", way: amountSet, of: inet.SendBuffer},
	{optionKey: optionKey{sol, soRcvbufForce}, text: "SO_RCVBUFFORCE", note: "within the same bounds as SO_RCVBUF", way: amountSet, of: inet.ReceiveBuffer},
	{optionKey: optionKey{sol, syscall.SO_LINGER}, text: "SO_LINGER", get: getLinger, set: setLinger},
	{optionKey: optionKey{sol, syscall.SO_RCVTIMEO}, text: "SO_RCVTIMEO", get: getReceiveLimit, set: setReceiveLimit},
	{optionKey: optionKey{sol, syscall.SO_SNDTIMEO}, text: "SO_SNDTIMEO", get: getSendLimit, set: setSendLimit},
	{optionKey: optionKey{sol, syscall.SO_TYPE}, text: "SO_TYPE", get: getType},
	{optionKey: optionKey{sol, soProtocol}, text: "SO_PROTOCOL", get: getProtocol},
	{optionKey: optionKey{sol, soDomain}, text: "SO_DOMAIN", way: constant, value: syscall.AF_INET},
	{optionKey: optionKey{sol, syscall.SO_ERROR}, text: "SO_ERROR", get: takeError},
	{optionKey: optionKey{sol, syscall.SO_ACCEPTCONN}, text: "SO_ACCEPTCONN", get: getAcceptConn},
	{optionKey: optionKey{sol, soBindToDevice}, text: "SO_BINDTODEVICE", note: "an interface that is there; which one a packet takes its address says", get: getDevice, set: setDevice},
	{optionKey: optionKey{sol, soCookie}, text: "SO_COOKIE", get: getCookie},
	{optionKey: optionKey{sol, syscall.SO_PEERCRED}, text: "SO_PEERCRED", note: "nobody's, as for all but Unix sockets", get: getPeerCred},
	{optionKey: optionKey{sol, syscall.SO_DONTROUTE}, text: "SO_DONTROUTE", note: "kept without effect: there is one way out", way: keep},
	{optionKey: optionKey{sol, syscall.SO_OOBINLINE}, text: "SO_OOBINLINE", note: "kept without effect: urgent bytes always stay in line", way: keep},
	{optionKey: optionKey{sol, syscall.SO_PRIORITY}, text: "SO_PRIORITY", note: "kept without effect: there is one queue", way: keep},
	{optionKey: optionKey{sol, syscall.SO_RCVLOWAT}, text: "SO_RCVLOWAT", note: "kept without effect: any byte wakes", way: keep, value: 1},
	{optionKey: optionKey{sol, syscall.SO_SNDLOWAT}, text: "SO_SNDLOWAT", way: constant, value: 1},
	{optionKey: optionKey{sol, soBusyPoll}, text: "SO_BUSY_POLL", note: "kept without effect", way: keep},
	{optionKey: optionKey{sol, soMaxPacingRate}, text: "SO_MAX_PACING_RATE", note: "kept without effect", way: keep, value: -1},
	{optionKey: optionKey{sol, soNoCheck}, text: "SO_NO_CHECK", note: "kept without effect: checksums are always made", way: keep},
	{optionKey: optionKey{sol, syscall.SO_DEBUG}, text: "SO_DEBUG", note: "kept without effect", way: keep},
	{optionKey: optionKey{sol, soIncomingCPU}, text: "SO_INCOMING_CPU", way: constant},
	{optionKey: optionKey{sol, syscall.SO_MARK}, text: "SO_MARK", note: "marks are the host's", way: refused, err: syscall.EPERM},
	{optionKey: optionKey{sol, syscall.SO_PASSCRED}, text: "SO_PASSCRED", note: "for Unix sockets", way: refused, err: syscall.EOPNOTSUPP},
	{optionKey: optionKey{sol, syscall.SO_ATTACH_FILTER}, text: "SO_ATTACH_FILTER", note: "no BPF", way: refused, err: syscall.ENOPROTOOPT},
	{optionKey: optionKey{sol, soZeroCopy}, text: "SO_ZEROCOPY", note: "no queue of errors to tell what was sent", way: refused, err: syscall.EOPNOTSUPP},

	{optionKey: optionKey{ip, syscall.IP_TTL}, text: "IP_TTL", way: amount, of: inet.TTL},
	{optionKey: optionKey{ip, syscall.IP_TOS}, text: "IP_TOS", way: amount, of: inet.TOS},
	{optionKey: optionKey{ip, syscall.IP_MTU_DISCOVER}, text: "IP_MTU_DISCOVER", note: "PROBE acts as DO, INTERFACE and OMIT as DONT", get: getDiscover, set: setDiscover},
	{optionKey: optionKey{ip, syscall.IP_MTU}, text: "IP_MTU", way: amountGet, of: inet.MTU},
	{optionKey: optionKey{ip, syscall.IP_PKTINFO}, text: "IP_PKTINFO", way: want, bit: wantPktInfo},
	{optionKey: optionKey{ip, syscall.IP_RECVTTL}, text: "IP_RECVTTL", way: want, bit: wantTTL},
	{optionKey: optionKey{ip, syscall.IP_RECVTOS}, text: "IP_RECVTOS", way: want, bit: wantTOS},
	{optionKey: optionKey{ip, ipRecvOrigDstAddr}, text: "IP_RECVORIGDSTADDR", way: want, bit: wantOrigDst},
	{optionKey: optionKey{ip, syscall.IP_RECVERR}, text: "IP_RECVERR", note: "kept; errors come by SO_ERROR, the queue of errors stays empty", way: keep},
	{optionKey: optionKey{ip, syscall.IP_FREEBIND}, text: "IP_FREEBIND", note: "kept without effect", way: keep},
	{optionKey: optionKey{ip, ipBindAddressNoPort}, text: "IP_BIND_ADDRESS_NO_PORT", note: "kept without effect", way: keep},
	{optionKey: optionKey{ip, syscall.IP_MULTICAST_TTL}, text: "IP_MULTICAST_TTL", note: "without effect: nobody is there to hear", way: amount, of: inet.MulticastTTL, typ: dgram, others: othersKeep, initial: 1},
	{optionKey: optionKey{ip, syscall.IP_MULTICAST_LOOP}, text: "IP_MULTICAST_LOOP", note: "without effect", way: onOff, of: inet.MulticastLoop, typ: dgram, others: othersKeep, initial: 1},
	{optionKey: optionKey{ip, ipMulticastAll}, text: "IP_MULTICAST_ALL", note: "kept without effect", way: keep, value: 1},
	{optionKey: optionKey{ip, syscall.IP_MULTICAST_IF}, text: "IP_MULTICAST_IF", note: "without effect", get: getAddress, set: setAddress},
	{optionKey: optionKey{ip, syscall.IP_ADD_MEMBERSHIP}, text: "IP_ADD_MEMBERSHIP", note: "ENODEV: a point-to-point wire has no groups", set: joinGroup},
	{optionKey: optionKey{ip, syscall.IP_DROP_MEMBERSHIP}, text: "IP_DROP_MEMBERSHIP", note: "as IP_ADD_MEMBERSHIP", set: leaveGroup},
	{optionKey: optionKey{ip, ipTransparent}, text: "IP_TRANSPARENT", note: "the vNIC sends from its own address only", way: refused, err: syscall.EPERM},
	{optionKey: optionKey{ip, syscall.IP_HDRINCL}, text: "IP_HDRINCL", note: "headers are the library OS's", way: refused, err: syscall.ENOPROTOOPT},
	{optionKey: optionKey{ip, syscall.IP_OPTIONS}, text: "IP_OPTIONS", note: "none are sent or passed on", get: getNoOptions, set: setNoOptions},

	{optionKey: optionKey{tcp, syscall.TCP_NODELAY}, text: "TCP_NODELAY", way: onOff, of: inet.NoDelay, typ: stream},
	{optionKey: optionKey{tcp, syscall.TCP_CORK}, text: "TCP_CORK", way: onOff, of: inet.Cork, typ: stream},
	{optionKey: optionKey{tcp, syscall.TCP_KEEPIDLE}, text: "TCP_KEEPIDLE", way: amount, of: inet.KeepIdle, typ: stream},
	{optionKey: optionKey{tcp, syscall.TCP_KEEPINTVL}, text: "TCP_KEEPINTVL", way: amount, of: inet.KeepInterval, typ: stream},
	{optionKey: optionKey{tcp, syscall.TCP_KEEPCNT}, text: "TCP_KEEPCNT", way: amount, of: inet.KeepCount, typ: stream},
	{optionKey: optionKey{tcp, tcpUserTimeout}, text: "TCP_USER_TIMEOUT", way: amount, of: inet.UserTimeout, typ: stream},
	{optionKey: optionKey{tcp, syscall.TCP_MAXSEG}, text: "TCP_MAXSEG", way: amount, of: inet.MaxSeg, typ: stream},
	{optionKey: optionKey{tcp, syscall.TCP_SYNCNT}, text: "TCP_SYNCNT", way: amount, of: inet.SynCount, typ: stream},
	{optionKey: optionKey{tcp, syscall.TCP_LINGER2}, text: "TCP_LINGER2", way: amount, of: inet.FinTimeout, typ: stream},
	{optionKey: optionKey{tcp, syscall.TCP_DEFER_ACCEPT}, text: "TCP_DEFER_ACCEPT", way: amount, of: inet.DeferAccept, typ: stream},
	{optionKey: optionKey{tcp, syscall.TCP_WINDOW_CLAMP}, text: "TCP_WINDOW_CLAMP", way: amount, of: inet.WindowClamp, typ: stream},
	{optionKey: optionKey{tcp, syscall.TCP_QUICKACK}, text: "TCP_QUICKACK", way: onOff, of: inet.QuickAck, typ: stream},
	{optionKey: optionKey{tcp, tcpNotSentLowat}, text: "TCP_NOTSENT_LOWAT", way: amount, of: inet.NotSentLow, typ: stream},
	{optionKey: optionKey{tcp, syscall.TCP_INFO}, text: "TCP_INFO", note: "what Linux counts and we do not is 0", get: getInfo},
	{optionKey: optionKey{tcp, syscall.TCP_CONGESTION}, text: "TCP_CONGESTION", note: "one algorithm, which cannot be changed for another", get: getCongestion, set: setCongestion},
	{optionKey: optionKey{tcp, tcpFastOpen}, text: "TCP_FASTOPEN", note: "kept; clients get no cookie and connect as ever", way: keep, typ: stream},
	{optionKey: optionKey{tcp, tcpFastOpenConnect}, text: "TCP_FASTOPEN_CONNECT", note: "kept; connecting is as ever", way: keep, typ: stream},
	{optionKey: optionKey{tcp, tcpThinLinear}, text: "TCP_THIN_LINEAR_TIMEOUTS", note: "kept without effect", way: keep, typ: stream},
	{optionKey: optionKey{tcp, tcpULP}, text: "TCP_ULP", note: "no TLS in the kernel", way: refused, err: syscall.ENOENT},
	{optionKey: optionKey{tcp, tcpRepair}, text: "TCP_REPAIR", way: refused, err: syscall.EPERM},
	{optionKey: optionKey{tcp, syscall.TCP_MD5SIG}, text: "TCP_MD5SIG", way: refused, err: syscall.ENOPROTOOPT},

	{optionKey: optionKey{udp, udpSegment}, text: "UDP_SEGMENT", note: "datagrams are cut here", way: keep, typ: dgram, allowed: segmentRange},
	{optionKey: optionKey{udp, udpGRO}, text: "UDP_GRO", note: "kept; datagrams come one by one", way: keep, typ: dgram},
	{optionKey: optionKey{udp, udpCork}, text: "UDP_CORK", note: "refused unless 0", way: keep, typ: dgram, allowed: mustBeZero},
}
