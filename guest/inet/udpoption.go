package inet

import (
	"syscall"

	"github.com/dewpaas/dew/guest/tcp"
)

// Set changes an option.
func (u *UDP) Set(o Option, value int) syscall.Errno {
	if o == ReuseAddr || o == ReusePort {
		u.stack.setReuse(&u.binding, o, value != 0)
		return 0
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch o {
	case SendBuffer:
		u.sendLimit = max(2*min(max(value, 0), tcp.MaxBuffer/2), 2*minBuffer)
	case ReceiveBuffer:
		u.limit = max(2*min(max(value, 0), tcp.MaxBuffer/2), minBuffer)
	case Broadcast:
		u.broadcast = value != 0
	case TTL:
		if value == -1 {
			value = defaultTTL
		}
		return setByte(&u.ttl, value, 1)
	case TOS:
		u.tos = uint8(value)
	case MulticastTTL:
		if value == -1 {
			value = 1
		}
		return setByte(&u.multiTTL, value, 0)
	case MulticastLoop:
		u.multiLoop = value != 0
	case MTUDiscover:
		if err := within(value, 0, 5); err != 0 {
			return err
		}
		u.discover = uint8(value)
	default:
		return syscall.ENOPROTOOPT
	}
	return 0
}

func setByte(v *uint8, value, low int) syscall.Errno {
	if err := within(value, low, 255); err != 0 {
		return err
	}
	*v = uint8(value)
	return 0
}

// Get returns the value of an option.
func (u *UDP) Get(o Option) (int, syscall.Errno) {
	if o == ReuseAddr || o == ReusePort {
		return u.stack.reuse(&u.binding, o), 0
	}
	if o == MTU {
		peer, err := u.Peer()
		return u.stack.pathMTU(peer.IP, u.stack.clock.Now()), err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch o {
	case SendBuffer:
		return u.sendLimit, 0
	case ReceiveBuffer:
		return u.limit, 0
	case Broadcast:
		return truth(u.broadcast), 0
	case TTL:
		return int(u.ttl), 0
	case TOS:
		return int(u.tos), 0
	case MulticastTTL:
		return int(u.multiTTL), 0
	case MulticastLoop:
		return truth(u.multiLoop), 0
	case MTUDiscover:
		return int(u.discover), 0
	}
	return 0, syscall.ENOPROTOOPT
}

// Join is IP_ADD_MEMBERSHIP. On a point-to-point wire nobody sends to groups,
// so there is no device for them.
func (u *UDP) Join(group [4]byte) syscall.Errno {
	if group[0]&0xf0 != 0xe0 {
		return syscall.EINVAL
	}
	return syscall.ENODEV
}

// Leave is IP_DROP_MEMBERSHIP, of a group that was never joined.
func (u *UDP) Leave(group [4]byte) syscall.Errno { return syscall.EADDRNOTAVAIL }
