package inet

import "syscall"

// Option names a setting of an endpoint whose value is an int. Set refuses
// what an endpoint does not have with ENOPROTOOPT and values that Linux would
// refuse with EINVAL; accepted connections inherit from their listener.
type Option int

const (
	ReuseAddr     Option = iota // SO_REUSEADDR, bool
	ReusePort                   // SO_REUSEPORT, bool
	SendBuffer                  // SO_SNDBUF: set n, get 2n as on Linux (socket(7)); turns auto-tuning off
	ReceiveBuffer               // SO_RCVBUF: likewise
	Broadcast                   // SO_BROADCAST, bool (UDP)
	TTL                         // IP_TTL: 1 to 255, -1 the default 64
	TOS                         // IP_TOS: 0 to 255, the ECN bits stay 0

	NoDelay      // TCP_NODELAY, bool
	Cork         // TCP_CORK, bool
	KeepAlive    // SO_KEEPALIVE, bool
	KeepIdle     // TCP_KEEPIDLE, seconds
	KeepInterval // TCP_KEEPINTVL, seconds
	KeepCount    // TCP_KEEPCNT
	Linger       // SO_LINGER: seconds, -1 off; 0 resets at close
	FinTimeout   // TCP_LINGER2, seconds in FIN-WAIT-2 after close
	UserTimeout  // TCP_USER_TIMEOUT, milliseconds, 0 the default
	QuickAck     // TCP_QUICKACK, bool, not kept for ever (tcp(7))
	MaxSeg       // TCP_MAXSEG: set before connecting; get is the current one
	DeferAccept  // TCP_DEFER_ACCEPT, seconds
	SynCount     // TCP_SYNCNT
	WindowClamp  // TCP_WINDOW_CLAMP, bytes
	NotSentLow   // TCP_NOTSENT_LOWAT, bytes

	MulticastTTL  // IP_MULTICAST_TTL (UDP), kept but without effect
	MulticastLoop // IP_MULTICAST_LOOP (UDP), kept but without effect
	MTUDiscover   // IP_MTU_DISCOVER: IP_PMTUDISC_DONT 0, WANT 1, DO 2
	MTU           // IP_MTU: read only, connected endpoints
)

// within is EINVAL for a value outside.
func within(value, low, high int) syscall.Errno {
	if value < low || value > high {
		return syscall.EINVAL
	}
	return 0
}

func truth(v bool) int {
	if v {
		return 1
	}
	return 0
}

// setReuse sets what both protocols have in their binding.
func (s *Stack) setReuse(b *binding, o Option, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o == ReuseAddr {
		b.reuseAddr = on
	} else {
		b.reusePort = on
	}
}

func (s *Stack) reuse(b *binding, o Option) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o == ReuseAddr {
		return truth(b.reuseAddr)
	}
	return truth(b.reusePort)
}
