package socket

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/dewpaas/dew/guest/inet"
)

// The options whose value is not an int.

// getLinger and setLinger have struct linger: on or off, and seconds.
func getLinger(s *socket, value []byte) (int, syscall.Errno) {
	seconds := -1
	if s.typ == syscall.SOCK_STREAM {
		var err syscall.Errno
		if seconds, err = s.Get(inet.Linger); err != 0 {
			return 0, err
		}
	}
	var b [8]byte
	if seconds >= 0 {
		put32(b[:], 1)
		put32(b[4:], uint32(seconds))
	}
	return copy(value, b[:]), 0
}

func setLinger(s *socket, value []byte) syscall.Errno {
	switch {
	case len(value) < 8:
		return syscall.EINVAL
	case s.typ != syscall.SOCK_STREAM:
		return 0
	case get32(value) == 0:
		return s.Set(inet.Linger, -1)
	}
	return s.Set(inet.Linger, int(get32(value[4:])&0x7fffffff))
}

func getReceiveLimit(s *socket, value []byte) (int, syscall.Errno) {
	return getTimeout(&s.receiveLimit, value)
}

func setReceiveLimit(s *socket, value []byte) syscall.Errno {
	return setTimeout(&s.receiveLimit, value)
}

func getSendLimit(s *socket, value []byte) (int, syscall.Errno) {
	return getTimeout(&s.sendLimit, value)
}

func setSendLimit(s *socket, value []byte) syscall.Errno { return setTimeout(&s.sendLimit, value) }

// getTimeout and setTimeout have struct timeval (sock_get_timeout and
// sock_set_timeout of net/core/sock.c).
func getTimeout(limit *atomic.Int64, value []byte) (int, syscall.Errno) {
	t := time.Duration(limit.Load())
	b := append64(append64(nil, uint64(t/time.Second)), uint64(t%time.Second/time.Microsecond))
	return copy(value, b), 0
}

func setTimeout(limit *atomic.Int64, value []byte) syscall.Errno {
	if len(value) < 16 {
		return syscall.EINVAL
	}
	seconds := int64(uint64(get32(value)) | uint64(get32(value[4:]))<<32)
	micros := int64(uint64(get32(value[8:])) | uint64(get32(value[12:]))<<32)
	if micros < 0 || micros >= 1e6 {
		return syscall.EDOM
	}
	t := time.Duration(min(seconds, 1<<32))*time.Second + time.Duration(micros)*time.Microsecond
	if seconds < 0 {
		t = time.Nanosecond // negative: at once
	}
	limit.Store(int64(t))
	return 0
}

func getType(s *socket, value []byte) (int, syscall.Errno) { return putInt(value, s.typ), 0 }

func getProtocol(s *socket, value []byte) (int, syscall.Errno) { return putInt(value, s.proto), 0 }

func takeError(s *socket, value []byte) (int, syscall.Errno) {
	return putInt(value, int(s.TakeError())), 0
}

func getAcceptConn(s *socket, value []byte) (int, syscall.Errno) {
	if end, ok := s.endpoint.(*inet.TCP); ok && end.Listening() {
		return putInt(value, 1), 0
	}
	return putInt(value, 0), 0
}

func getCookie(s *socket, value []byte) (int, syscall.Errno) {
	if len(value) < 8 {
		return 0, syscall.EINVAL
	}
	return copy(value, append64(nil, s.inode)), 0
}

func getPeerCred(_ *socket, value []byte) (int, syscall.Errno) {
	return copy(value, append32(append32(append32(nil, 0), ^uint32(0)), ^uint32(0))), 0
}

var deviceKey = optionKey{syscall.SOL_SOCKET, soBindToDevice}

func getDevice(s *socket, value []byte) (int, syscall.Errno) {
	l := s.net.byIndex(int32(s.keptValue(deviceKey)))
	if l == nil {
		return 0, 0
	}
	return copy(value, l.name+"\x00"), 0
}

func setDevice(s *socket, value []byte) syscall.Errno {
	name := cString(value)
	if name == "" {
		s.keep(deviceKey, 0)
		return 0
	}
	l := s.net.byName(name)
	if l == nil {
		return syscall.ENODEV
	}
	s.keep(deviceKey, int(l.index))
	return 0
}

var discoverKey = optionKey{syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER}

// discoverKept marks a value that was set: 0 is one too.
const discoverKept = 1 << 8

func getDiscover(s *socket, value []byte) (int, syscall.Errno) {
	if n := s.keptValue(discoverKey); n != 0 {
		return putInt(value, n&^discoverKept), 0
	}
	return s.getAmount(inet.MTUDiscover, value)
}

func setDiscover(s *socket, value []byte) syscall.Errno {
	const dont, do, probe, omit = 0, 2, 3, 5
	n, err := number(syscall.IPPROTO_IP, value)
	if err != 0 {
		return err
	}
	if n < dont || n > omit {
		return syscall.EINVAL
	}
	acts := n
	if n == probe {
		acts = do
	} else if n > probe {
		acts = dont
	}
	if err := s.Set(inet.MTUDiscover, acts); err != 0 {
		return err
	}
	s.keep(discoverKey, n|discoverKept)
	return 0
}

// getAddress and setAddress keep the interface that groups would be sent on:
// struct in_addr, ip_mreq or ip_mreqn.
func getAddress(_ *socket, value []byte) (int, syscall.Errno) { return copy(value, make([]byte, 4)), 0 }

func setAddress(s *socket, value []byte) syscall.Errno {
	if len(value) < 4 {
		return syscall.EINVAL
	}
	return 0
}

func joinGroup(s *socket, value []byte) syscall.Errno { return setMembership(s, value, true) }

func leaveGroup(s *socket, value []byte) syscall.Errno { return setMembership(s, value, false) }

// setMembership has struct ip_mreq or ip_mreqn, the group first.
func setMembership(s *socket, value []byte, join bool) syscall.Errno {
	end, ok := s.endpoint.(*inet.UDP)
	switch {
	case len(value) < 8:
		return syscall.EINVAL
	case !ok:
		return syscall.EPROTO
	case value[0]>>4 != 14:
		return syscall.EINVAL
	case join:
		return end.Join([4]byte(value))
	}
	return end.Leave([4]byte(value))
}

func getNoOptions(*socket, []byte) (int, syscall.Errno) { return 0, 0 }

func setNoOptions(_ *socket, value []byte) syscall.Errno {
	if len(value) > 0 {
		return syscall.EOPNOTSUPP
	}
	return 0
}

// congestion is the algorithm that package inet has.
const congestion = "cubic"

func getCongestion(s *socket, value []byte) (int, syscall.Errno) {
	if s.typ != syscall.SOCK_STREAM {
		return 0, syscall.EOPNOTSUPP
	}
	var name [16]byte // TCP_CA_NAME_MAX
	copy(name[:], congestion)
	return copy(value, name[:]), 0
}

func setCongestion(s *socket, value []byte) syscall.Errno {
	switch {
	case s.typ != syscall.SOCK_STREAM:
		return syscall.ENOPROTOOPT
	case cString(value) != congestion:
		return syscall.ENOENT
	}
	return 0
}

// tcpInfo is struct tcp_info (include/uapi/linux/tcp.h), as far as we fill it.
type tcpInfo struct {
	state, caState, retransmits, probes, backoff, options uint8
	scales, _                                             uint8
	rto, ato, sendMSS, receiveMSS                         uint32
	unacked, sacked, lost, retrans, fackets               uint32
	lastDataSent, _, lastDataRecv, lastAckRecv            uint32
	pathMTU, receiveThreshold, rtt, rttVar                uint32
	sendThreshold, sendWindow, advertisedMSS, reordering  uint32
	receiveRTT, receiveSpace, totalRetrans                uint32
	pacing, maxPacing, bytesAcked, bytesReceived          uint64
	segmentsOut, segmentsIn, notSent, minRTT              uint32
	dataSegmentsIn, dataSegmentsOut                       uint32
	deliveryRate, busy, receiveLimited, sendLimited       uint64
	delivered, deliveredECN                               uint32
	bytesSent, bytesRetrans                               uint64
	duplicates, reorderSeen, receiveReorder, peerWindow   uint32
}

func getInfo(s *socket, value []byte) (int, syscall.Errno) {
	end, ok := s.endpoint.(*inet.TCP)
	if !ok {
		return 0, syscall.EOPNOTSUPP
	}
	i := end.Info()
	info := tcpInfo{
		state: i.State, caState: i.CAState, retransmits: i.Retransmits, probes: i.Probes, backoff: i.Backoff, options: i.Options,
		scales: i.SendScale&15 | i.ReceiveScale<<4, rto: i.RTO, ato: i.ATO, sendMSS: i.SendMSS, receiveMSS: i.ReceiveMSS,
		unacked: i.Unacked, sacked: i.Sacked, lost: i.Lost, retrans: i.Retrans,
		lastDataSent: i.LastDataSent, lastDataRecv: i.LastDataRecv, lastAckRecv: i.LastAckRecv,
		pathMTU: i.PathMTU, rtt: i.RTT, rttVar: i.RTTVar, sendThreshold: i.SendThreshold, sendWindow: i.SendWindow,
		advertisedMSS: i.AdvertisedMSS, reordering: i.Reordering, receiveSpace: i.ReceiveSpace, totalRetrans: i.TotalRetrans,
		pacing: ^uint64(0), maxPacing: ^uint64(0), bytesAcked: i.BytesAcked, bytesReceived: i.BytesReceived,
		segmentsOut: i.SegmentsOut, segmentsIn: i.SegmentsIn, notSent: i.NotSent, minRTT: i.MinRTT,
		bytesSent: i.BytesSent, bytesRetrans: i.BytesRetrans, receiveReorder: i.ReceiveReorder, peerWindow: i.PeerWindow,
	}
	return copy(value, (*[unsafe.Sizeof(info)]byte)(unsafe.Pointer(&info))[:]), 0
}
