package syscall

import (
	"sync"
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

func sendmsg(c Call) (uintptr, syscall.Errno) { return c.message(socketRef.sendMessage) }

// message does one msghdr, argument 1, with the flags of argument 2.
func (c *Call) message(do func(socketRef, *syscall.Msghdr, int) (int, syscall.Errno)) (uintptr, syscall.Errno) {
	s, err := c.socket()
	if err != 0 {
		return 0, err
	}
	defer s.ref.Put()
	m := at[syscall.Msghdr](c, 1)
	if m == nil {
		return 0, syscall.EFAULT
	}
	return count(do(s, m, c.int(2)))
}

func (s socketRef) sendMessage(m *syscall.Msghdr, flags int) (int, syscall.Errno) {
	v := vector{unsafe.Pointer(m.Iov), int(m.Iovlen)}
	if err := v.check(); err != 0 {
		return 0, err
	}
	if m.Controllen > maxControl {
		return 0, syscall.ENOBUFS
	}
	var addr []byte
	if m.Name != nil {
		var err syscall.Errno
		if addr, err = sockaddr(unsafe.Pointer(m.Name), int(m.Namelen)); err != 0 {
			return 0, err
		}
	}
	control := m.Control != nil && m.Controllen > 0
	if messenger, ok := s.Socket.(fd.Messenger); ok && control {
		return s.sendControlled(messenger, m, v, addr, flags)
	}
	if control && sendsRights(m) {
		return 0, syscall.EOPNOTSUPP
	}
	return s.sendVector(v, addr, flags)
}

// maxControl is net.core.optmem_max, in bytes.
const maxControl = 128 << 10

// sendVector sends the pieces as one message, or on a stream as far as they go.
func (s socketRef) sendVector(v vector, addr []byte, flags int) (int, syscall.Errno) {
	switch {
	case v.n == 0:
		return s.send(nil, addr, flags)
	case v.n == 1:
		return s.send(v.bytes(0), addr, flags)
	case v.size() > bounceSize && !s.isStream():
		return 0, syscall.EMSGSIZE
	}
	buf := bounce.Get().(*[bounceSize]byte)
	defer bounce.Put(buf)
	done, total := 0, v.size()
	for {
		k := v.gather(buf[:], done)
		more := 0
		if done+k < total {
			more = msgMore
		}
		n, err := s.send(buf[:k], addr, flags|more)
		done += n
		if err != 0 && done == 0 {
			return 0, err
		}
		if err != 0 || n < k || done == total {
			return done, 0
		}
	}
}

// msgMore is MSG_MORE.
const msgMore = 0x8000

// sendControlled sends one message with control messages.
func (s socketRef) sendControlled(messenger fd.Messenger, m *syscall.Msghdr, v vector, addr []byte, flags int) (int, syscall.Errno) {
	if v.size() > bounceSize {
		return 0, syscall.EMSGSIZE
	}
	buf := bounce.Get().(*[bounceSize]byte)
	defer bounce.Put(buf)
	k := v.gather(buf[:], 0)
	for {
		n, err := messenger.SendMessage(buf[:k], addr, unsafe.Slice(m.Control, m.Controllen), flags)
		if !s.again(err, flags, fd.Writable) {
			return n, err
		}
	}
}

func (s socketRef) isStream() bool {
	typ, err := s.number(syscall.SO_TYPE)
	return err == 0 && typ == syscall.SOCK_STREAM
}

// sendsRights tells whether a message would pass descriptors: there is no other
// process that could get them.
func sendsRights(m *syscall.Msghdr) bool {
	if m.Controllen < syscall.SizeofCmsghdr {
		return false
	}
	h := (*syscall.Cmsghdr)(unsafe.Pointer(m.Control))
	return h.Level == syscall.SOL_SOCKET && h.Type == syscall.SCM_RIGHTS
}

func recvmsg(c Call) (uintptr, syscall.Errno) { return c.message(socketRef.receiveMessage) }

func (s socketRef) receiveMessage(m *syscall.Msghdr, flags int) (int, syscall.Errno) {
	v := vector{unsafe.Pointer(m.Iov), int(m.Iovlen)}
	if err := v.check(); err != 0 {
		return 0, err
	}
	name := addresses.Get().(*[maxAddress]byte)
	defer addresses.Put(name)
	var n, full, got int
	var err syscall.Errno
	controlLen := 0
	receive := func(p []byte) {
		messenger, ok := s.Socket.(fd.Messenger)
		if !ok || m.Control == nil || m.Controllen == 0 {
			n, full, got, err = s.receive(p, name[:], flags)
			return
		}
		for {
			control := unsafe.Slice(m.Control, min(m.Controllen, maxControl))
			n, full, controlLen, got, err = messenger.ReceiveMessage(p, name[:], control, flags)
			if !s.again(err, flags, fd.Readable) {
				return
			}
		}
	}
	if v.n == 1 {
		receive(v.bytes(0))
	} else {
		buf := bounce.Get().(*[bounceSize]byte)
		defer bounce.Put(buf)
		receive(buf[:min(v.size(), bounceSize)])
		v.scatter(buf[:min(n, v.size(), bounceSize)], 0)
	}
	if err != 0 {
		return 0, err
	}
	if m.Name != nil {
		copy(unsafe.Slice(m.Name, int(min(m.Namelen, maxAddress))), name[:min(full, maxAddress)])
		m.Namelen = uint32(full)
	}
	m.Controllen = uint64(controlLen)
	m.Flags = int32(got)
	return n, 0
}

// addresses is room for an address, or for the value of an option.
var addresses = sync.Pool{New: func() any { return new([maxAddress]byte) }}

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
