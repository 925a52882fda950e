package tcp

// Info is struct tcp_info of include/uapi/linux/tcp.h in its own units: times
// in µs or ms by name, sizes in bytes, windows in segments.
type Info struct {
	State          uint8 // TCP_ESTABLISHED 1 ... TCP_CLOSING 11
	CAState        uint8 // TCP_CA_Open 0, Recovery 3, Loss 4
	Retransmits    uint8
	Probes         uint8
	Backoff        uint8
	Options        uint8 // TCPI_OPT_TIMESTAMPS 1, SACK 2, WSCALE 4
	SendScale      uint8
	ReceiveScale   uint8
	RTO, ATO       uint32 // µs
	SendMSS        uint32
	ReceiveMSS     uint32
	Unacked        uint32 // segments
	Sacked         uint32
	Lost           uint32
	Retrans        uint32
	LastDataSent   uint32 // ms ago
	LastDataRecv   uint32
	LastAckRecv    uint32
	PathMTU        uint32
	RTT, RTTVar    uint32 // µs
	SendThreshold  uint32 // segments
	SendWindow     uint32 // congestion window, segments
	AdvertisedMSS  uint32
	Reordering     uint32
	ReceiveRTT     uint32
	ReceiveSpace   uint32
	TotalRetrans   uint32
	BytesAcked     uint64
	BytesReceived  uint64
	SegmentsOut    uint32
	SegmentsIn     uint32
	NotSent        uint32 // bytes
	MinRTT         uint32 // µs
	BytesSent      uint64
	BytesRetrans   uint64
	PeerWindow     uint32 // bytes
	ReceiveReorder uint32
}

// Info tells how the connection is doing.
func (c *Conn) Info(now int64) Info {
	i := Info{State: uint8(c.State()), Retransmits: uint8(c.retries), Probes: uint8(c.probes), Backoff: uint8(c.retries),
		PathMTU: uint32(c.mtu), TotalRetrans: c.totalRetrans, BytesAcked: c.bytesAcked,
		BytesReceived: c.bytesTaken + uint64(c.receive.size), SegmentsOut: c.segsOut, SegmentsIn: c.segsIn,
		BytesSent: c.bytesSent, BytesRetrans: c.bytesRetrans, PeerWindow: uint32(max(c.wnd, 0)),
		ReceiveSpace: uint32(c.ReceiveBuffer), Reordering: dupThresh}
	if c.mss == 0 {
		return i // never connected
	}
	i.options(c)
	i.path(c, now)
	segments := func(n int) uint32 { return uint32((max(n, 0) + c.mss - 1) / c.mss) }
	i.SendMSS, i.ReceiveMSS, i.AdvertisedMSS = uint32(c.mss), uint32(c.rcvMSS), uint32(c.offerMSS())
	i.Unacked, i.Sacked, i.Lost = segments(c.nxt.Minus(c.una)), segments(c.sent.sacked), segments(c.sent.lost)
	i.SendThreshold, i.SendWindow = segments(c.ssthresh), segments(c.cwnd)
	i.NotSent = uint32(max(c.unsent(), 0))
	return i
}

func (i *Info) options(c *Conn) {
	const timestamps, sack, windowScale = 1, 2, 4
	if c.timeOK {
		i.Options |= timestamps
	}
	if c.sackOK {
		i.Options |= sack
	}
	if c.scaleOK {
		i.Options |= windowScale
		i.SendScale, i.ReceiveScale = c.sendScale, Scale
	}
	switch c.phase {
	case repairing:
		i.CAState = 3
	case timedOut:
		i.CAState = 4
	}
}

func (i *Info) path(c *Conn, now int64) {
	const us = 1000
	i.RTO, i.ATO = uint32(c.rto/us), uint32(delayedAck/us)
	i.RTT, i.RTTVar, i.MinRTT = uint32(c.srtt/us), uint32(c.rttvar/us), uint32(c.minRTT.value()/us)
	i.LastDataSent = uint32((now - c.lastSent) / ms)
	i.LastAckRecv = uint32((now - c.lastHeard) / ms)
	i.LastDataRecv = i.LastAckRecv
}

// Remains is what must be known of a connection in TIME-WAIT: what it expects,
// what it would send, the peer's last timestamp and the offset of ours.
func (c *Conn) Remains() (rcv, nxt Seq, recent, offset uint32, timeOK bool) {
	return c.rcv, c.nxt, c.recent, c.timeOffset, c.timeOK
}

// MSS is the payload of a full segment.
func (c *Conn) MSS() int { return c.mss }

// MTU is that of the path as far as it is known.
func (c *Conn) MTU() int { return c.mtu }
