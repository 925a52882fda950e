package inet

import (
	"syscall"

	"github.com/dewpaas/dew/guest/fd"
)

// UDP is a UDP endpoint.
type UDP struct {
	stack    *Stack
	notifier fd.Notifier
}

// Bind gives the endpoint a local address; port 0 takes a free one.
func (u *UDP) Bind(a Addr) syscall.Errno { return syscall.ENOSYS }

// Connect sets the only peer, and binds an unbound endpoint.
func (u *UDP) Connect(a Addr) syscall.Errno { return syscall.ENOSYS }

// Disconnect forgets the peer (connect(2) with AF_UNSPEC).
func (u *UDP) Disconnect() syscall.Errno { return syscall.ENOSYS }

// Send sends a datagram to the peer: EDESTADDRREQ without one. EMSGSIZE beyond
// 65507 bytes; larger than the MTU is sent in fragments unless MTUDiscover
// forbids it. A pending error, such as ECONNREFUSED for an ICMP answer, is
// returned in place of sending.
func (u *UDP) Send(p []byte, flags int) (int, syscall.Errno) { return 0, syscall.ENOSYS }

// SendTo is Send to another address.
func (u *UDP) SendTo(p []byte, to Addr, flags int) (int, syscall.Errno) { return 0, syscall.ENOSYS }

// Receive takes the next datagram, or EAGAIN. n is what was copied, full the
// datagram's length; flags are MSG_ flags, of which MSG_PEEK leaves it.
func (u *UDP) Receive(p []byte, flags int) (n, full int, from Addr, err syscall.Errno) {
	return 0, 0, Addr{}, syscall.ENOSYS
}

// Meta is what came with a datagram besides its bytes.
type Meta struct {
	From Addr
	To   [4]byte // what it was sent to: tells which of the guest's addresses
	TTL  uint8
	TOS  uint8 // with the ECN bits as they came
}

// ReceiveMeta is Receive that tells all that came (IP_PKTINFO, IP_RECVTTL,
// IP_RECVTOS).
func (u *UDP) ReceiveMeta(p []byte, flags int) (n, full int, m Meta, err syscall.Errno) {
	n, full, m.From, err = u.Receive(p, flags)
	return n, full, m, err
}

// Hints are what one datagram differs in from its endpoint's options. The zero
// value is no difference.
type Hints struct {
	From   [4]byte // source address, one of the guest's; zero: the endpoint's
	TTL    uint8   // 0: the endpoint's
	TOS    uint8   // with the ECN bits; counts if HasTOS
	HasTOS bool
}

// SendHints is SendTo, or Send when to is the zero Addr, with hints. EINVAL for
// a source that is not the guest's.
func (u *UDP) SendHints(p []byte, to Addr, h Hints, flags int) (int, syscall.Errno) {
	if to == (Addr{}) {
		return u.Send(p, flags)
	}
	return u.SendTo(p, to, flags)
}

// Shutdown is shutdown(2); ENOTCONN when not connected.
func (u *UDP) Shutdown(how int) syscall.Errno { return syscall.ENOSYS }

// Closing implements fd.Shutter.
func (u *UDP) Closing() {}

// Close releases the endpoint; it includes Closing.
func (u *UDP) Close() {}

// Local is the local address, zero when unbound.
func (u *UDP) Local() Addr { return Addr{} }

// Peer is the connected address. ENOTCONN without one.
func (u *UDP) Peer() (Addr, syscall.Errno) { return Addr{}, syscall.ENOTCONN }

// Ready implements fd.Pollable.
func (u *UDP) Ready() fd.Events { return 0 }

// Notifier implements fd.Pollable.
func (u *UDP) Notifier() *fd.Notifier { return &u.notifier }

// TakeError is SO_ERROR: the pending error, which is forgotten.
func (u *UDP) TakeError() syscall.Errno { return 0 }

// Unread is the length of the next datagram (FIONREAD).
func (u *UDP) Unread() int { return 0 }

// Set changes an option.
func (u *UDP) Set(o Option, value int) syscall.Errno { return syscall.ENOSYS }

// Get returns the value of an option.
func (u *UDP) Get(o Option) (int, syscall.Errno) { return 0, syscall.ENOSYS }

// Join and Leave are IP_ADD_MEMBERSHIP and IP_DROP_MEMBERSHIP: nothing on a
// point-to-point wire sends to groups, so there is no device for them (ENODEV).
func (u *UDP) Join(group [4]byte) syscall.Errno { return syscall.ENODEV }

// Leave is the counterpart of Join.
func (u *UDP) Leave(group [4]byte) syscall.Errno { return syscall.EADDRNOTAVAIL }
