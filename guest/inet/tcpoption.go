package inet

import (
	"syscall"

	"github.com/dewpaas/dew/guest/tcp"
)

const (
	second = int64(1e9)
	// maxSeconds is the largest of the keep-alive times of Linux.
	maxSeconds = 32767
	minBuffer  = 2304 // SOCK_MIN_RCVBUF of Linux, about
	// maxDefer bounds TCP_DEFER_ACCEPT, in seconds: a silent client must not
	// hold its place longer than one that does not complete its handshake.
	maxDefer = 60
)

// seconds are the options that are a time in seconds, by where they are kept.
func (t *TCP) seconds(c *tcp.Settings, o Option) *int64 {
	switch o {
	case KeepIdle:
		return &c.KeepIdle
	case KeepInterval:
		return &c.KeepInterval
	case FinTimeout:
		return &c.FinTimeout
	}
	return nil
}

// flags are the options that are on or off.
func flags(c *tcp.Settings, o Option) *bool {
	switch o {
	case NoDelay:
		return &c.NoDelay
	case Cork:
		return &c.Cork
	case KeepAlive:
		return &c.KeepAlive
	}
	return nil
}

// numbers are the options that are a number with bounds.
func numbers(c *tcp.Settings, o Option) (v *int, low, high int) {
	switch o {
	case KeepCount:
		return &c.KeepCount, 1, 127
	case SynCount:
		return &c.SynCount, 1, 127
	case WindowClamp:
		return &c.WindowClamp, 0, 1 << 30
	case NotSentLow:
		return &c.NotSentLow, 0, 1<<31 - 1
	case MaxSeg:
		return &c.MaxSeg, 0, 32767
	}
	return nil, 0, 0
}

// Set changes an option.
func (t *TCP) Set(o Option, value int) syscall.Errno {
	now := t.lock()
	defer t.unlock(now)
	if o == ReuseAddr || o == ReusePort {
		t.stack.setReuse(&t.binding, o, value != 0)
		return 0
	}
	err := t.set(&t.settings, o, value)
	if err == 0 && t.used {
		t.conn.Settings = t.settings
		t.apply(o, value, now)
	}
	t.pass()
	return err
}

func (t *TCP) set(c *tcp.Settings, o Option, value int) syscall.Errno {
	if v := flags(c, o); v != nil {
		*v = value != 0
		return 0
	}
	if v := t.seconds(c, o); v != nil {
		if err := within(value, 1, maxSeconds); err != 0 {
			return err
		}
		*v = int64(value) * second
		return 0
	}
	if v, low, high := numbers(c, o); v != nil {
		if err := within(value, low, high); err != 0 {
			return err
		}
		*v = value
		return 0
	}
	return t.setOther(c, o, value)
}

func (t *TCP) setOther(c *tcp.Settings, o Option, value int) syscall.Errno {
	switch o {
	case SendBuffer:
		c.SendBuffer, c.FixedSend = max(2*min(max(value, 0), tcp.MaxBuffer/2), 2*minBuffer), true
	case ReceiveBuffer:
		c.ReceiveBuffer, c.FixedReceive = max(2*min(max(value, 0), tcp.MaxBuffer/2), minBuffer), true
	case TTL:
		if value == -1 {
			value = defaultTTL
		}
		return setByte(&t.ttl, value, 1)
	case TOS:
		t.tos = uint8(value) &^ 3
	case Linger:
		t.linger = max(value, -1)
	case UserTimeout:
		if err := within(value, 0, 1<<31-1); err != 0 {
			return err
		}
		c.UserTimeout = int64(value) * 1e6
	case DeferAccept:
		t.deferFor = min(max(value, 0), maxDefer)
	case MTUDiscover:
		if err := within(value, 0, 5); err != 0 {
			return err
		}
		t.noPMTU = uint8(value)
	case QuickAck:
	default:
		return syscall.ENOPROTOOPT
	}
	return 0
}

// apply does what a changed option asks for at once.
func (t *TCP) apply(o Option, value int, now int64) {
	switch o {
	case NoDelay, Cork:
		if value != 0 == (o == NoDelay) {
			t.conn.Uncork(now)
		}
	case KeepAlive, KeepIdle:
		t.conn.SetKeepAlive(now)
	case QuickAck:
		t.conn.QuickAck(value != 0, now)
	}
}

// Get returns the value of an option.
func (t *TCP) Get(o Option) (int, syscall.Errno) {
	t.mu.Lock()
	defer t.letGo()
	if o == ReuseAddr || o == ReusePort {
		return t.stack.reuse(&t.binding, o), 0
	}
	c := &t.settings
	if t.used {
		c = &t.conn.Settings
	}
	if v := flags(c, o); v != nil {
		return truth(*v), 0
	}
	if v := t.seconds(c, o); v != nil {
		return int(*v / second), 0
	}
	if v, _, _ := numbers(c, o); v != nil && o != MaxSeg {
		return *v, 0
	}
	return t.getOther(c, o)
}

func (t *TCP) getOther(c *tcp.Settings, o Option) (int, syscall.Errno) {
	switch o {
	case SendBuffer:
		return c.SendBuffer, 0
	case ReceiveBuffer:
		return c.ReceiveBuffer, 0
	case TTL:
		return int(t.ttl), 0
	case TOS:
		return int(t.tos), 0
	case Linger:
		return t.linger, 0
	case UserTimeout:
		return int(c.UserTimeout / 1e6), 0
	case DeferAccept:
		return t.deferFor, 0
	case MTUDiscover:
		return int(t.noPMTU), 0
	case QuickAck:
		return truth(t.used && !t.conn.PingPong()), 0
	case MaxSeg:
		if t.used && t.conn.MSS() > 0 {
			return t.conn.MSS(), 0
		}
		return max(c.MaxSeg, 536), 0
	case MTU:
		if !t.used {
			return 0, syscall.ENOTCONN
		}
		return t.conn.MTU(), 0
	}
	return 0, syscall.ENOPROTOOPT
}
