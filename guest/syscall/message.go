package syscall

import (
	"syscall"
	"unsafe"

	"github.com/dewpaas/dew/guest/fd"
)

// message is struct mmsghdr (include/uapi/linux/socket.h): a msghdr and the
// number of bytes that went.
type message struct {
	syscall.Msghdr
	length uint32
	_      uint32
}

func sendmsg(c Call) (uintptr, syscall.Errno) {
	s, err := c.socket()
	if err != 0 {
		return 0, err
	}
	defer s.ref.Put()
	m := at[syscall.Msghdr](&c, 1)
	if m == nil {
		return 0, syscall.EFAULT
	}
	return count(s.sendMessage(m, c.int(2)))
}

func (s socketRef) sendMessage(m *syscall.Msghdr, flags int) (int, syscall.Errno) {
	v := vector{unsafe.Pointer(m.Iov), int(m.Iovlen)}
	if err := v.check(); err != 0 {
		return 0, err
	}
	if err := checkControl(m); err != 0 {
		return 0, err
	}
	var addr []byte
	if m.Name != nil {
		var err syscall.Errno
		if addr, err = sockaddr(unsafe.Pointer(m.Name), int(m.Namelen)); err != 0 {
			return 0, err
		}
	}
	switch {
	case v.n == 0:
		return s.send(nil, addr, flags)
	case v.n == 1:
		return s.send(v.bytes(0), addr, flags)
	}
	buf := bounce.Get().(*[bounceSize]byte)
	defer bounce.Put(buf)
	if v.size() > bounceSize && !s.isStream() {
		return 0, syscall.EMSGSIZE
	}
	return s.send(buf[:v.gather(buf[:], 0)], addr, flags)
}

func (s socketRef) isStream() bool {
	var typ [4]byte
	_, err := s.Option(syscall.SOL_SOCKET, syscall.SO_TYPE, typ[:])
	return err == 0 && typ[0] == syscall.SOCK_STREAM
}

// checkControl refuses to send descriptors or credentials: there is no other
// process. Hints of the network layers (source address, ECN) are not looked at.
func checkControl(m *syscall.Msghdr) syscall.Errno {
	if m.Control == nil || m.Controllen < syscall.SizeofCmsghdr {
		return 0
	}
	h := (*syscall.Cmsghdr)(unsafe.Pointer(m.Control))
	if h.Level == syscall.SOL_SOCKET && h.Type == syscall.SCM_RIGHTS {
		return syscall.EOPNOTSUPP
	}
	return 0
}

func recvmsg(c Call) (uintptr, syscall.Errno) {
	s, err := c.socket()
	if err != 0 {
		return 0, err
	}
	defer s.ref.Put()
	m := at[syscall.Msghdr](&c, 1)
	if m == nil {
		return 0, syscall.EFAULT
	}
	return count(s.receiveMessage(m, c.int(2)))
}

func (s socketRef) receiveMessage(m *syscall.Msghdr, flags int) (int, syscall.Errno) {
	v := vector{unsafe.Pointer(m.Iov), int(m.Iovlen)}
	if err := v.check(); err != 0 {
		return 0, err
	}
	var addr [maxAddress]byte
	var n, full, got int
	var err syscall.Errno
	switch {
	case v.n == 1:
		n, full, got, err = s.receive(v.bytes(0), addr[:], flags)
	default:
		buf := bounce.Get().(*[bounceSize]byte)
		defer bounce.Put(buf)
		n, full, got, err = s.receive(buf[:min(v.size(), bounceSize)], addr[:], flags)
		v.scatter(buf[:min(n, v.size(), bounceSize)], 0)
	}
	if err != 0 {
		return 0, err
	}
	if m.Name != nil {
		copy(unsafe.Slice(m.Name, int(min(m.Namelen, maxAddress))), addr[:min(full, maxAddress)])
		m.Namelen = uint32(full)
	}
	m.Controllen = 0
	m.Flags = int32(got)
	return n, 0
}

// sendmmsg and recvmmsg stop at the first message that does not go; a timeout
// of recvmmsg is not looked at.
func sendmmsg(c Call) (uintptr, syscall.Errno) {
	return c.messages(func(s socketRef, m *message, flags int) syscall.Errno {
		n, err := s.sendMessage(&m.Msghdr, flags)
		m.length = uint32(n)
		return err
	}, 0)
}

func recvmmsg(c Call) (uintptr, syscall.Errno) {
	const waitForOne = 0x10000
	return c.messages(func(s socketRef, m *message, flags int) syscall.Errno {
		n, err := s.receiveMessage(&m.Msghdr, flags&^waitForOne)
		m.length = uint32(n)
		return err
	}, waitForOne)
}

func (c *Call) messages(do func(socketRef, *message, int) syscall.Errno, waitForOne int) (uintptr, syscall.Errno) {
	s, err := c.socket()
	if err != 0 {
		return 0, err
	}
	defer s.ref.Put()
	if c.P[1] == nil && c.A[2] > 0 {
		return 0, syscall.EFAULT
	}
	flags := c.int(3)
	n := min(c.A[2], maxVector)
	for i := range n {
		m := (*message)(unsafe.Add(c.P[1], i*unsafe.Sizeof(message{})))
		if err := do(s, m, flags); err != 0 {
			if i > 0 {
				return i, 0
			}
			return 0, err
		}
		if flags&waitForOne != 0 {
			flags |= syscall.MSG_DONTWAIT
		}
	}
	return n, 0
}

// socketpair joins two sockets; Unix sockets only, as on Linux.
func socketpair(c Call) (uintptr, syscall.Errno) {
	out := at[[2]int32](&c, 3)
	switch {
	case out == nil:
		return 0, syscall.EFAULT
	case c.int(0) != syscall.AF_UNIX:
		return 0, syscall.EOPNOTSUPP
	}
	a, b, err := unixPair(c.int(1)&^sockFlags, c.int(2))
	if err != 0 {
		return 0, err
	}
	return c.installBoth(3, a, b, syscall.O_RDWR|c.int(1)&sockFlags, syscall.O_RDWR|c.int(1)&sockFlags)
}

// installBoth gives two files numbers and writes them to argument n.
func (c *Call) installBoth(n int, a, b fd.File, aFlags, bFlags int) (uintptr, syscall.Errno) {
	first, err := install(a, aFlags)
	if err != 0 {
		b.Close()
		return 0, err
	}
	second, err := install(b, bFlags)
	if err != 0 {
		Files.Close(int(first))
		return 0, err
	}
	*at[[2]int32](c, n) = [2]int32{int32(first), int32(second)}
	return 0, 0
}
