package fd

import (
	"syscall"
	"time"
)

// Socket is a File that package guest/syscall answers the socket calls with.
// Whatever the program's memory layout asks of a call (sockaddr lengths, msghdr,
// control messages, blocking, pointer safety) is done there, once for all
// families; a Socket sees Go slices and never blocks.
//
// Slices handed in may lie on the calling goroutine's stack: they must be used
// by that goroutine only, and not be kept after the call has returned.
// Addresses are sockaddr bytes as the program gave them, family first, native
// byte order for the family and network order for the port.
type Socket interface {
	Pollable
	Shutter

	// Bind, Connect and Listen are the calls of the same name. Connect returns
	// EINPROGRESS for what takes time; the socket becomes Writable when it is
	// decided and Option(SOL_SOCKET, SO_ERROR) tells how.
	Bind(addr []byte) syscall.Errno
	Connect(addr []byte) syscall.Errno
	Listen(backlog int) syscall.Errno
	// Accept returns the next connection, or EAGAIN.
	Accept() (Socket, syscall.Errno)
	// Send sends p, to addr unless that is nil. flags are MSG_ flags.
	Send(p, addr []byte, flags int) (int, syscall.Errno)
	// Receive receives into p and writes the sender into addr, as much of it as
	// fits. n is the length of the datagram where flags has MSG_TRUNC, else what
	// was copied; addrLen is the sender's full length; got are MSG_ flags.
	Receive(p, addr []byte, flags int) (n, addrLen, got int, err syscall.Errno)
	// Shutdown is shutdown(2): how is SHUT_RD, SHUT_WR or SHUT_RDWR.
	Shutdown(how int) syscall.Errno
	// Name writes the local address into addr and returns its full length.
	Name(addr []byte) (int, syscall.Errno)
	// PeerName is the remote counterpart of Name, ENOTCONN without one.
	PeerName(addr []byte) (int, syscall.Errno)
	// SetOption is setsockopt(2).
	SetOption(level, name int, value []byte) syscall.Errno
	// Option is getsockopt(2): it fills value and returns how many bytes count.
	// SO_TYPE, SO_DOMAIN, SO_PROTOCOL and SO_ERROR must be known to every family.
	Option(level, name int, value []byte) (int, syscall.Errno)
}

// Messenger is a Socket that has more to tell about a message than its bytes
// and its sender, or can be told more: control messages, laid out as cmsg(3)
// has them, 8-byte aligned, native byte order.
type Messenger interface {
	// SendMessage is Send with control messages, nil for none.
	SendMessage(p, addr, control []byte, flags int) (int, syscall.Errno)
	// ReceiveMessage is Receive, and writes into control the control messages
	// that the program asked for: controlLen bytes of it, MSG_CTRUNC in got
	// where one did not fit.
	ReceiveMessage(p, addr, control []byte, flags int) (n, addrLen, controlLen, got int, err syscall.Errno)
}

// Controller is a Socket that answers ioctl(2) beyond what all files do. arg is
// the structure that the request works on; ENOTTY for an unknown one.
type Controller interface {
	Control(request uint32, arg []byte) syscall.Errno
}

// Patient is a Socket whose blocking calls give up after a time (SO_RCVTIMEO,
// SO_SNDTIMEO). Zero is never.
type Patient interface {
	Patience() (receive, send time.Duration)
}

// Gatherer is a stream that takes pieces one by one and does not send a packet
// for each.
type Gatherer interface {
	// WriteMore is Write; more tells that another piece follows at once.
	WriteMore(p []byte, more bool) (int, syscall.Errno)
}
