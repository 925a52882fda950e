package inet

import (
	"syscall"
	"testing"
)

func TestOptions(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		o        Option
		set, get int
		err      syscall.Errno
	}{
		{ReuseAddr, 1, 1, 0}, {ReusePort, 5, 1, 0}, {NoDelay, 1, 1, 0}, {Cork, 1, 1, 0}, {KeepAlive, 1, 1, 0},
		{KeepIdle, 15, 15, 0}, {KeepIdle, 0, 15, syscall.EINVAL}, {KeepInterval, 32768, 75, syscall.EINVAL}, {KeepCount, 3, 3, 0},
		{KeepCount, 128, 3, syscall.EINVAL}, {Linger, 7, 7, 0}, {Linger, -1, -1, 0}, {UserTimeout, 30000, 30000, 0},
		{UserTimeout, -1, 30000, syscall.EINVAL}, {SendBuffer, 8192, 16384, 0}, {ReceiveBuffer, 8192, 16384, 0},
		{ReceiveBuffer, 1, minBuffer, 0}, {ReceiveBuffer, 1 << 30, 4 << 20, 0}, {TTL, 5, 5, 0}, {TTL, -1, 64, 0}, {TTL, 0, 64, syscall.EINVAL},
		{TTL, 256, 64, syscall.EINVAL}, {TOS, 0x13, 0x10, 0}, {MaxSeg, 1000, 1000, 0}, {SynCount, 3, 3, 0}, {FinTimeout, 30, 30, 0},
		{DeferAccept, 5, 5, 0}, {DeferAccept, 100000, maxDefer, 0}, {WindowClamp, 4096, 4096, 0}, {NotSentLow, 16384, 16384, 0},
		{MTUDiscover, 2, 2, 0}, {MTUDiscover, 9, 2, syscall.EINVAL}, {QuickAck, 1, 0, 0}, {Broadcast, 1, 0, syscall.ENOPROTOOPT},
	} {
		e := w.a.NewTCP()
		switch c.err { // what is refused leaves the value that is expected to stand
		case syscall.EINVAL:
			e.Set(c.o, c.get)
		}
		if err := e.Set(c.o, c.set); err != c.err {
			t.Errorf("option %d = %d: %v, want %v", c.o, c.set, err, c.err)
		}
		if got, err := e.Get(c.o); got != c.get || c.err != syscall.ENOPROTOOPT && err != 0 {
			t.Errorf("option %d = %d: got %d, %v, want %d", c.o, c.set, got, err, c.get)
		}
	}
	for _, c := range []struct {
		o        Option
		set, get int
		err      syscall.Errno
	}{
		{Broadcast, 1, 1, 0}, {MulticastTTL, -1, 1, 0}, {MulticastTTL, 7, 7, 0}, {MulticastLoop, 0, 0, 0}, {TTL, 3, 3, 0}, {TOS, 0x13, 0x13, 0},
		{SendBuffer, 8192, 16384, 0}, {ReceiveBuffer, 8192, 16384, 0}, {ReuseAddr, 1, 1, 0}, {MTUDiscover, 0, 0, 0}, {NoDelay, 1, 0, syscall.ENOPROTOOPT},
	} {
		u := w.a.NewUDP()
		if err := u.Set(c.o, c.set); err != c.err {
			t.Errorf("UDP option %d = %d: %v, want %v", c.o, c.set, err, c.err)
		}
		if got, _ := u.Get(c.o); got != c.get {
			t.Errorf("UDP option %d = %d: got %d, want %d", c.o, c.set, got, c.get)
		}
	}
}

// TestAcceptedInherit: what a listener has, its connections get, also when it
// is set while it listens.
func TestAcceptedInherit(t *testing.T) {
	w := newWorld(t)
	l := w.listen(80, 4)
	for o, v := range map[Option]int{NoDelay: 1, KeepAlive: 1, KeepIdle: 33, TTL: 9, Linger: 3, ReceiveBuffer: 10000} {
		l.Set(o, v)
	}
	c, s := w.connect(l)
	for o, v := range map[Option]int{NoDelay: 1, KeepAlive: 1, KeepIdle: 33, TTL: 9, Linger: 3, ReceiveBuffer: 20000} {
		if got, _ := s.Get(o); got != v {
			t.Errorf("option %d: %d, want %d", o, got, v)
		}
	}
	if mtu, err := c.Get(MTU); mtu != 1500 || err != 0 {
		t.Errorf("MTU %d, %v", mtu, err)
	}
	if mss, _ := c.Get(MaxSeg); mss != 1448 {
		t.Errorf("MSS %d", mss)
	}
	s.Set(NoDelay, 0)
	if got, _ := s.Get(NoDelay); got != 0 {
		t.Error("an option of a connection does not change")
	}
}
