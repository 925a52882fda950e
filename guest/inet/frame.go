package inet

import (
	"sync"
	"syscall"
	"unsafe"

	"github.com/dewpaas/dew/guest/packet"
	"github.com/dewpaas/dew/guest/tcp"
)

// writer is what one frame is put together in. It lies on the heap: the link
// takes pointers, and a goroutine's stack moves.
type writer struct {
	iov  [1 + tcp.MaxPieces]syscall.Iovec
	head [headRoom]byte
	body [writerBody]byte // of small datagrams and ICMP messages
}

const (
	headRoom   = packet.LinkSize + packet.IPv4Size + packet.MaxTCPSize
	writerBody = 2048
)

var writers = sync.Pool{New: func() any { return new(writer) }}

// link writes the headers below IP. n is the length of the head in use.
func (w *writer) link(s *Stack, n int) {
	packet.Ethernet(w.head[packet.VNetSize:]).Set(s.nic.GatewayMAC, s.nic.MAC)
	w.iov[0] = syscall.Iovec{Base: &w.head[0], Len: uint64(n)}
}

// send sends the head and so many pieces behind it: to the link, or, to an
// address of our own, to the loopback. It tells whether there was room.
func (s *Stack) send(w *writer, pieces int, dst [4]byte) bool {
	if s.isLocal(dst) {
		return s.loop.put(s, w.iov[:1+pieces])
	}
	if s.link == nil {
		return true
	}
	s.Counters.FramesOut.Add(1)
	switch err := s.link.Send(w.iov[:1+pieces]); err {
	case syscall.EAGAIN, syscall.ENOBUFS, syscall.ENOMEM:
		s.Counters.LinkFull.Add(1)
		return false
	}
	return true // sent, or lost as on any wire
}

// Transmit implements tcp.Env. t.mu is held.
func (t *TCP) Transmit(o *tcp.Out) bool {
	w := writers.Get().(*writer)
	defer writers.Put(w)
	s := t.stack
	seg := packet.TCP(w.head[packet.LinkSize+packet.IPv4Size:])
	seg.Set(&packet.TCPFields{SourcePort: t.flow.localPort, DestinationPort: t.flow.peerPort,
		Seq: uint32(o.Seq), Ack: uint32(o.Ack), Flags: o.Flags, Window: o.Window})
	n := seg.SetOptions(&o.Options)
	pieces := 0
	if o.Length > 0 {
		pieces = t.conn.Pieces(o, w.iov[1:])
	}
	t.finish(w, seg, n, o.Length, o.MSS)
	return s.send(w, pieces, t.flow.peer)
}

// finish writes the headers around a TCP header of n bytes and its payload.
func (t *TCP) finish(w *writer, seg packet.TCP, n, payload, mss int) {
	seg.SetSum(uint16(packet.Pseudo(t.flow.local, t.flow.peer, packet.ProtoTCP, n+payload)))
	packet.IPv4(w.head[packet.LinkSize:]).Set(&packet.IPv4Fields{Source: t.flow.local, Destination: t.flow.peer,
		Protocol: packet.ProtoTCP, TTL: t.ttl, TOS: t.tos, Length: packet.IPv4Size + n + payload, DontFragment: true})
	gso := 0
	if payload > mss {
		gso = mss
	}
	const sumStart = packet.EthernetSize + packet.IPv4Size
	packet.VNet(w.head[:]).Set(sumStart, packet.TCPSumOffset, sumStart+n, gso)
	w.link(t.stack, packet.LinkSize+packet.IPv4Size+n)
}

const defaultTTL = 64

// gather copies pieces to b, which has room for them.
func gather(b []byte, pieces []syscall.Iovec) int {
	n := 0
	for _, v := range pieces {
		n += copy(b[n:], unsafe.Slice(v.Base, v.Len))
	}
	return n
}
