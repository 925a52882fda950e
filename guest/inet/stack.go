package inet

import (
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/guest/host"
	"github.com/dewpaas/dew/guest/tcp"
)

// Link carries frames to the world, each behind the header of package abi.
type Link interface {
	// Send sends one frame that is given in pieces. EAGAIN: there is no room
	// now; the frame may be sent again soon. The pieces are not kept.
	Send(pieces []syscall.Iovec) syscall.Errno
}

// Clock tells time and wakes the stack.
type Clock interface {
	// Now is monotonic time in ns, never 0.
	Now() int64
	// Wake asks that Stack.Expire is called at the given time; a call replaces
	// the one before.
	Wake(at int64)
}

// Config is what a stack needs to know.
type Config struct {
	NIC    boot.NIC // zero MAC: no vNIC, loopback only
	Seed   [32]byte // of the boot record; mixed with host.Random
	Memory int      // bytes that all endpoints together may hold; 0: DefaultMemory
	Link   Link     // nil: abi.FDPacket, read by a goroutine that the first endpoint starts
	Clock  Clock    // nil: the host's
	// Fixed leaves the seed as it is, for tests that must repeat.
	Fixed bool
}

// DefaultMemory is the bound where the configuration names none, in bytes.
const DefaultMemory = 64 << 20

// MemoryFor is the bound for a guest with so many bytes of memory, 0 for no
// limit: a quarter, as Linux has it for TCP on small machines.
func MemoryFor(limit uint64) int {
	if limit == 0 {
		return DefaultMemory
	}
	return int(min(max(limit/4, 4<<20), 4*DefaultMemory))
}

var (
	anyIP      = [4]byte{}
	loopbackIP = [4]byte{127, 0, 0, 1}
)

// loopbackMTU is that of 127.0.0.0/8: no frame of it is ever cut.
const loopbackMTU = 65535

// Stack is the guest's network.
type Stack struct {
	nic    boot.NIC
	memory *tcp.Memory
	link   Link
	clock  Clock
	keys   keys
	start  sync.Once

	randomState atomic.Uint64
	packetID    atomic.Uint32 // of datagrams that may be cut

	mu        sync.Mutex // guards the tables below
	conns     map[flow]*TCP
	waits     waits
	tcpPorts  ports
	udpPorts  ports
	portSteps [64]uint64
	paths     paths

	timers   timers
	loop     loop
	receiver receiver // of the pump, guarded by receiving
	// receiving is held while frames of the link are worked on. Only one
	// goroutine does that; the lock makes it true for tests as well.
	receiving sync.Mutex
	fragments fragments // guarded by receiving
	replies   limiter

	Counters Counters
}

// New makes a stack. Nothing runs before the first endpoint is made.
func New(c Config) *Stack {
	if c.Memory == 0 {
		c.Memory = DefaultMemory
	}
	seed := c.Seed
	if !c.Fixed {
		var more [32]byte
		host.Random(more[:])
		for i := range seed {
			seed[i] ^= more[i]
		}
	}
	s := &Stack{nic: c.NIC, memory: tcp.NewMemory(c.Memory), link: c.Link, clock: c.Clock, keys: newKeys(seed),
		conns: map[flow]*TCP{}, tcpPorts: ports{}, udpPorts: ports{}}
	s.waits.init(c.Memory)
	return s
}

// begin starts what runs behind the endpoints, before the first of them.
func (s *Stack) begin() {
	s.start.Do(func() {
		if s.clock == nil {
			s.clock = newHostClock(s)
		}
		if s.link == nil && s.hasNIC() && host.Active() {
			s.link = hostLink{}
			host.GoSystem(s.pump)
		}
	})
}

// NIC tells the vNIC's configuration; its MAC is zero when there is none.
func (s *Stack) NIC() boot.NIC { return s.nic }

func (s *Stack) hasNIC() bool { return s.nic.MAC != [6]byte{} }

// Memory is how many bytes all endpoints together hold, and may hold.
func (s *Stack) Memory() (used, limit int) { return s.memory.Used(), s.memory.Limit() }

// NewTCP makes a TCP endpoint.
func (s *Stack) NewTCP() *TCP {
	s.begin()
	t := &TCP{stack: s, ttl: defaultTTL, linger: -1}
	t.settings = tcp.DefaultSettings()
	return t
}

// NewUDP makes a UDP endpoint.
func (s *Stack) NewUDP() *UDP {
	s.begin()
	return newUDP(s)
}

// Expire does what is due. Clocks call it.
func (s *Stack) Expire() {
	now := s.clock.Now()
	if s.timers.takeWaits(now) {
		s.mu.Lock()
		next := s.expireWaits(now)
		s.mu.Unlock()
		if next != 0 {
			s.timers.setWaits(next, s.clock)
		}
	}
	for t := s.timers.take(now, s.clock); t != nil; t = s.timers.take(now, s.clock) {
		t.expire(now)
	}
	s.drain()
}

// source is the address that packets to dst leave from. ENETUNREACH where
// there is no way.
func (s *Stack) source(dst [4]byte) ([4]byte, syscall.Errno) {
	switch {
	case dst[0] == 127:
		return loopbackIP, 0
	case !s.hasNIC(), dst[0] >= 224, dst[0] == 0:
		return anyIP, syscall.ENETUNREACH
	}
	return s.nic.Addr, 0
}

// isLocal tells whether an address is the guest's own.
func (s *Stack) isLocal(a [4]byte) bool { return a[0] == 127 || a == s.nic.Addr && s.hasNIC() }

// canBind tells whether an endpoint may have the address.
func (s *Stack) canBind(a [4]byte) bool { return a == anyIP || s.isLocal(a) }

// mtu is that of the way to dst, without what the path has told.
func (s *Stack) mtu(dst [4]byte) int {
	if s.isLocal(dst) {
		return loopbackMTU
	}
	return max(int(s.nic.MTU), minMTU)
}

// minMTU is the smallest that every IPv4 link has; Linux takes no smaller one
// from the path (net.ipv4.route.min_pmtu).
const minMTU = 552
