package inet

import (
	"syscall"

	"github.com/dewpaas/dew/guest/fd"
)

// TCP is a TCP endpoint: unbound, bound, listening, or a connection.
type TCP struct {
	stack    *Stack
	notifier fd.Notifier
}

// Bind gives the endpoint a local address; port 0 takes a free one. EINVAL when
// it has one, EADDRINUSE, EADDRNOTAVAIL.
func (t *TCP) Bind(a Addr) syscall.Errno { return syscall.ENOSYS }

// Connect begins to connect: EINPROGRESS, EALREADY while it does, EISCONN when
// it is, ENETUNREACH, EADDRNOTAVAIL without a free port. The endpoint becomes
// Writable when it is decided and TakeError tells how.
func (t *TCP) Connect(a Addr) syscall.Errno { return syscall.ENOSYS }

// Disconnect is connect(2) with AF_UNSPEC: the connection is reset and the
// endpoint can be used anew.
func (t *TCP) Disconnect() syscall.Errno { return syscall.ENOSYS }

// Listen accepts connections from now on, or changes the backlog; an unbound
// endpoint gets a free port.
func (t *TCP) Listen(backlog int) syscall.Errno { return syscall.ENOSYS }

// Accept returns the next connection, or EAGAIN. EINVAL when not listening.
func (t *TCP) Accept() (*TCP, syscall.Errno) { return nil, syscall.ENOSYS }

// Send takes as much of p as there is room for, EAGAIN when there is none.
// ENOTCONN, EPIPE, or the connection's pending error (which is taken). flags
// are MSG_ flags: MSG_MORE is known, MSG_OOB is refused with EOPNOTSUPP.
func (t *TCP) Send(p []byte, flags int) (int, syscall.Errno) { return 0, syscall.ENOSYS }

// Receive returns bytes that came in order, 0 at their end, EAGAIN. ENOTCONN,
// or the connection's pending error (which is taken). flags are MSG_ flags:
// MSG_PEEK leaves the bytes, MSG_TRUNC throws them away uncopied.
func (t *TCP) Receive(p []byte, flags int) (int, syscall.Errno) { return 0, syscall.ENOSYS }

// Shutdown is shutdown(2): how is SHUT_RD, SHUT_WR or SHUT_RDWR. On a
// listener, SHUT_RD stops listening.
func (t *TCP) Shutdown(how int) syscall.Errno { return syscall.ENOSYS }

// Closing implements fd.Shutter: calls under way are woken. The connection
// goes on to send what it has been given, unless Linger is 0 or received bytes
// were not read: then it is reset.
func (t *TCP) Closing() {}

// Close releases the endpoint; it includes Closing.
func (t *TCP) Close() {}

// Local is the local address, zero when unbound.
func (t *TCP) Local() Addr { return Addr{} }

// Peer is the remote address. ENOTCONN without one.
func (t *TCP) Peer() (Addr, syscall.Errno) { return Addr{}, syscall.ENOTCONN }

// Ready implements fd.Pollable as tcp_poll of Linux does.
func (t *TCP) Ready() fd.Events { return 0 }

// Notifier implements fd.Pollable.
func (t *TCP) Notifier() *fd.Notifier { return &t.notifier }

// TakeError is SO_ERROR: the pending error, which is forgotten.
func (t *TCP) TakeError() syscall.Errno { return 0 }

// Unread is how many bytes can be received now (SIOCINQ).
func (t *TCP) Unread() int { return 0 }

// Unacked is how many bytes sent were not acknowledged yet (SIOCOUTQ).
func (t *TCP) Unacked() int { return 0 }

// Listening is SO_ACCEPTCONN.
func (t *TCP) Listening() bool { return false }

// Set changes an option.
func (t *TCP) Set(o Option, value int) syscall.Errno { return syscall.ENOSYS }

// Get returns the value of an option.
func (t *TCP) Get(o Option) (int, syscall.Errno) { return 0, syscall.ENOSYS }

// Info is struct tcp_info of include/uapi/linux/tcp.h in its own units: times
// in µs or ms by name, sizes in bytes, windows in segments.
type Info struct {
	State          uint8 // TCP_ESTABLISHED 1 ... TCP_CLOSING 11
	CAState        uint8
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
	SendThreshold  uint32
	SendWindow     uint32 // congestion window, segments
	AdvertisedMSS  uint32
	Reordering     uint32
	ReceiveSpace   uint32
	TotalRetrans   uint32
	BytesAcked     uint64
	BytesReceived  uint64
	SegmentsOut    uint32
	SegmentsIn     uint32
	NotSent        uint32 // bytes
	MinRTT         uint32 // µs
	PeerWindow     uint32 // bytes
	BytesSent      uint64
	BytesRetrans   uint64
	ReceiveReorder uint32
}

// Info tells how the connection is doing (TCP_INFO).
func (t *TCP) Info() Info { return Info{} }
