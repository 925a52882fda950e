package syscall

import (
	"syscall"
	"unsafe"

	"github.com/dewpaas/dew/guest/fd"
)

// Requests of ioctl(2) that files answer (include/uapi/asm-generic/ioctls.h).
const (
	fionbio  = 0x5421
	fionread = 0x541b
)

// unreadCounter is a file that knows how many bytes a read would give now, -1
// for one that cannot be read.
type unreadCounter interface{ Unread() int }

func ioctl(c Call) (uintptr, syscall.Errno) {
	r, err := c.file(0)
	if err != 0 {
		return 0, err
	}
	defer r.Put()
	arg := at[int32](&c, 2)
	request := uint32(c.A[1])
	switch {
	case request == fionbio:
		if arg == nil {
			return 0, syscall.EFAULT
		}
		flags := r.Flags() &^ syscall.O_NONBLOCK
		if *arg != 0 {
			flags |= syscall.O_NONBLOCK
		}
		r.SetFlags(flags)
		return 0, 0
	case request == fionread:
		u, ok := r.File.(unreadCounter)
		if !ok || arg == nil {
			return 0, syscall.ENOTTY
		}
		n := u.Unread()
		if n < 0 {
			return 0, syscall.EINVAL
		}
		*arg = int32(n)
		return 0, 0
	}
	if s, ok := r.File.(fd.Controller); ok {
		return c.control(s, request)
	}
	return 0, syscall.ENOTTY
}

// Requests to sockets (include/uapi/linux/sockios.h).
const (
	siocFirst   = 0x8900
	siocLast    = 0x89ff
	siocGIFCONF = 0x8912
	ifreqSize   = 40
)

// control hands a socket the structure of its request: struct ifconf and the
// memory that it points to, or struct ifreq, or an int.
func (c *Call) control(s fd.Controller, request uint32) (uintptr, syscall.Errno) {
	if c.P[2] == nil {
		return 0, syscall.EFAULT
	}
	switch {
	case request == siocGIFCONF:
		return 0, c.interfaces(s)
	case request >= siocFirst && request <= siocLast:
		return 0, s.Control(request, unsafe.Slice((*byte)(c.P[2]), ifreqSize))
	}
	return 0, s.Control(request, unsafe.Slice((*byte)(c.P[2]), 4))
}

// ifconf is struct ifconf (include/uapi/linux/if.h).
type ifconf struct {
	length int32
	_      int32
	list   *byte
}

// interfaces is SIOCGIFCONF: without memory for the list it tells how much the
// list takes.
func (c *Call) interfaces(s fd.Controller) syscall.Errno {
	conf := at[ifconf](c, 2)
	var list [4 + 64*ifreqSize]byte // its length, and itself
	if err := s.Control(siocGIFCONF, list[:]); err != 0 {
		return err
	}
	length := int32(min(*(*uint32)(unsafe.Pointer(&list)), uint32(len(list)-4)))
	if conf.list != nil {
		length = min(length, max(conf.length, 0)/ifreqSize*ifreqSize)
		copy(unsafe.Slice(conf.list, length), list[4:])
	}
	conf.length = length
	return 0
}
