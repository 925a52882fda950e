package syscall

import (
	"syscall"
	"unsafe"

	"github.com/dewpaas/dew/guest/fd"
)

const (
	sockFlags = syscall.SOCK_NONBLOCK | syscall.SOCK_CLOEXEC
	// maxAddress is sizeof(struct sockaddr_storage).
	maxAddress = 128
)

func socket(c Call) (uintptr, syscall.Errno) {
	typ := c.int(1)
	const typeMask = 0xf // SOCK_TYPE_MASK of include/linux/net.h
	if typ&^typeMask&^sockFlags != 0 {
		return 0, syscall.EINVAL
	}
	s, err := openSocket(c.int(0), typ&^sockFlags, c.int(2))
	if err != 0 {
		return 0, err
	}
	return installSocket(s, typ)
}

// installSocket gives a socket a number; SOCK_NONBLOCK and SOCK_CLOEXEC have
// the values of the O_ flags.
func installSocket(s fd.Socket, typ int) (uintptr, syscall.Errno) {
	n, err := install(s, syscall.O_RDWR|typ&sockFlags)
	if err != 0 {
		s.Closing()
	}
	return n, err
}

// socketRef is a socket in use by a call.
type socketRef struct {
	fd.Socket
	ref fd.Ref
}

func (c *Call) socket() (socketRef, syscall.Errno) {
	r, err := c.file(0)
	if err != 0 {
		return socketRef{}, err
	}
	s, ok := r.File.(fd.Socket)
	if !ok {
		r.Put()
		return socketRef{}, syscall.ENOTSOCK
	}
	return socketRef{s, r}, 0
}

// again waits after EAGAIN where the call may block, and tells whether to
// repeat it.
func (s socketRef) again(err syscall.Errno, flags int, e fd.Events) bool {
	if err != syscall.EAGAIN || flags&(syscall.MSG_DONTWAIT|syscall.MSG_ERRQUEUE) != 0 || s.ref.NonBlocking() {
		return false
	}
	return s.wait(e)
}

// wait blocks for as long as the socket's options allow; false when the time
// is over.
func (s socketRef) wait(e fd.Events) bool {
	return fd.WaitFor(s.Socket, e, patience(s.Socket, e))
}

// address copies the sockaddr at argument n, whose length is argument n+1. It
// is a copy because a socket may keep it.
func (c *Call) address(n int) ([]byte, syscall.Errno) {
	if c.int(n+1) < 0 || c.int(n+1) > maxAddress {
		return nil, syscall.EINVAL
	}
	b, err := c.bytes(n, c.A[n+1])
	if err != 0 {
		return nil, err
	}
	return append([]byte(nil), b...), 0
}

func bind(c Call) (uintptr, syscall.Errno) {
	s, err := c.socket()
	if err != 0 {
		return 0, err
	}
	defer s.ref.Put()
	addr, err := c.address(1)
	if err != 0 {
		return 0, err
	}
	return 0, s.Bind(addr)
}

func connect(c Call) (uintptr, syscall.Errno) {
	s, err := c.socket()
	if err != 0 {
		return 0, err
	}
	defer s.ref.Put()
	addr, err := c.address(1)
	if err != 0 {
		return 0, err
	}
	err = s.Connect(addr)
	if err != syscall.EINPROGRESS || s.ref.NonBlocking() {
		return 0, err
	}
	if !s.wait(fd.Writable) {
		return 0, syscall.EINPROGRESS // socket(7), SO_SNDTIMEO
	}
	return 0, s.Connect(addr) // tells how it went
}

// number reads an int option of the socket itself.
func (s socketRef) number(name int) (int32, syscall.Errno) {
	buf := addresses.Get().(*[maxAddress]byte) // what is passed to an interface would be allocated
	defer addresses.Put(buf)
	_, err := s.Option(syscall.SOL_SOCKET, name, buf[:4])
	return *(*int32)(unsafe.Pointer(buf)), err
}

func listen(c Call) (uintptr, syscall.Errno) {
	s, err := c.socket()
	if err != 0 {
		return 0, err
	}
	defer s.ref.Put()
	return 0, s.Listen(c.int(1))
}

func accept(c Call) (uintptr, syscall.Errno)  { return acceptSocket(&c, 0) }
func accept4(c Call) (uintptr, syscall.Errno) { return acceptSocket(&c, c.int(3)) }

func acceptSocket(c *Call, flags int) (uintptr, syscall.Errno) {
	if flags&^sockFlags != 0 {
		return 0, syscall.EINVAL
	}
	s, err := c.socket()
	if err != 0 {
		return 0, err
	}
	defer s.ref.Put()
	for {
		peer, err := s.Accept()
		if s.again(err, 0, fd.Readable) {
			continue
		}
		if err != 0 {
			return 0, err
		}
		if c.P[1] != nil {
			if err := c.putAddress(1, peer.PeerName); err != 0 {
				peer.Closing()
				peer.Close()
				if err == syscall.ENOTCONN { // reset while it waited: a server goes on after this one alone (accept(2))
					err = syscall.ECONNABORTED
				}
				return 0, err
			}
		}
		return installSocket(peer, flags)
	}
}

// putAddress writes what name tells to argument n and its length to the
// int that argument n+1 points to.
func (c *Call) putAddress(n int, name func([]byte) (int, syscall.Errno)) syscall.Errno {
	length := at[int32](c, n+1)
	if length == nil {
		return syscall.EFAULT
	}
	if *length < 0 {
		return syscall.EINVAL
	}
	buf := addresses.Get().(*[maxAddress]byte)
	defer addresses.Put(buf)
	full, err := name(buf[:])
	if err != 0 {
		return err
	}
	out, err := c.bytes(n, uintptr(*length))
	if err != 0 {
		return err
	}
	copy(out, buf[:min(full, maxAddress)])
	*at[int32](c, n+1) = int32(full)
	return 0
}

func getsockname(c Call) (uintptr, syscall.Errno) {
	s, err := c.socket()
	if err != 0 {
		return 0, err
	}
	defer s.ref.Put()
	return 0, c.putAddress(1, s.Name)
}

func getpeername(c Call) (uintptr, syscall.Errno) {
	s, err := c.socket()
	if err != 0 {
		return 0, err
	}
	defer s.ref.Put()
	return 0, c.putAddress(1, s.PeerName)
}

func shutdown(c Call) (uintptr, syscall.Errno) {
	s, err := c.socket()
	if err != 0 {
		return 0, err
	}
	defer s.ref.Put()
	if c.A[1] > syscall.SHUT_RDWR {
		return 0, syscall.EINVAL
	}
	return 0, s.Shutdown(c.int(1))
}

func setsockopt(c Call) (uintptr, syscall.Errno) {
	s, err := c.socket()
	if err != 0 {
		return 0, err
	}
	defer s.ref.Put()
	if c.int(4) < 0 || c.int(4) > page {
		return 0, syscall.EINVAL
	}
	v, err := c.bytes(3, c.A[4])
	if err != 0 {
		return 0, err
	}
	return 0, s.SetOption(c.int(1), c.int(2), v)
}

func getsockopt(c Call) (uintptr, syscall.Errno) {
	s, err := c.socket()
	if err != 0 {
		return 0, err
	}
	defer s.ref.Put()
	length := at[int32](&c, 4)
	if length == nil {
		return 0, syscall.EFAULT
	}
	if *length < 0 {
		return 0, syscall.EINVAL
	}
	v, err := c.bytes(3, uintptr(min(*length, page)))
	if err != 0 {
		return 0, err
	}
	n, err := s.Option(c.int(1), c.int(2), v)
	if err == 0 {
		*at[int32](&c, 4) = int32(n)
	}
	return 0, err
}

func sendto(c Call) (uintptr, syscall.Errno) {
	s, err := c.socket()
	if err != 0 {
		return 0, err
	}
	defer s.ref.Put()
	p, err := c.bytes(1, c.A[2])
	if err != 0 {
		return 0, err
	}
	var addr []byte
	if c.P[4] != nil {
		if addr, err = sockaddr(c.P[4], c.int(5)); err != 0 {
			return 0, err
		}
	}
	return count(s.send(p, addr, c.int(3)))
}

// sockaddr is where a message goes to. Sockets look at it and do not keep it.
func sockaddr(p unsafe.Pointer, length int) ([]byte, syscall.Errno) {
	if length < 0 || length > maxAddress {
		return nil, syscall.EINVAL
	}
	return unsafe.Slice((*byte)(p), length), 0
}

// send sends all of p where the descriptor blocks.
func (s socketRef) send(p, addr []byte, flags int) (int, syscall.Errno) {
	done := 0
	for {
		n, err := s.Send(p[done:], addr, flags)
		done += n
		if s.again(err, flags, fd.Writable) {
			continue
		}
		if err != 0 && done > 0 {
			return done, 0
		}
		if err != 0 || n == 0 || done == len(p) || s.ref.NonBlocking() {
			return done, err
		}
	}
}

func recvfrom(c Call) (uintptr, syscall.Errno) {
	s, err := c.socket()
	if err != 0 {
		return 0, err
	}
	defer s.ref.Put()
	p, err := c.bytes(1, c.A[2])
	if err != 0 {
		return 0, err
	}
	buf := addresses.Get().(*[maxAddress]byte)
	defer addresses.Put(buf)
	n, full, _, err := s.receive(p, buf[:], c.int(3))
	if err != 0 {
		return 0, err
	}
	if c.P[4] == nil {
		return uintptr(n), 0
	}
	return uintptr(n), c.putAddress(4, func(b []byte) (int, syscall.Errno) {
		copy(b, buf[:])
		return full, 0
	})
}

// receive receives once, or, with MSG_WAITALL on a stream, until p is full.
func (s socketRef) receive(p, addr []byte, flags int) (n, addrLen, got int, err syscall.Errno) {
	all := flags&syscall.MSG_WAITALL != 0 && flags&syscall.MSG_PEEK == 0 && s.isStream()
	done := 0
	for {
		n, addrLen, got, err = s.Receive(p[done:], addr, flags)
		if err == 0 {
			done += n
		}
		switch {
		case s.again(err, flags, fd.Readable):
		case err != 0 && done > 0:
			return done, addrLen, got, 0
		case err != 0 || n == 0 || !all || done >= len(p):
			return done, addrLen, got, err
		}
	}
}
