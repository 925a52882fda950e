package inet

import (
	"syscall"

	"github.com/dewpaas/dew/abi/boot"
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
}

// DefaultMemory is the bound where the configuration names none, in bytes.
const DefaultMemory = 64 << 20

// Stack is the guest's network.
type Stack struct {
	config Config
}

// New makes a stack. Nothing runs before the first endpoint is made.
func New(c Config) *Stack { return &Stack{config: c} }

// NIC tells the vNIC's configuration; its MAC is zero when there is none.
func (s *Stack) NIC() boot.NIC { return s.config.NIC }

// NewTCP makes a TCP endpoint.
func (s *Stack) NewTCP() *TCP { return &TCP{stack: s} }

// NewUDP makes a UDP endpoint.
func (s *Stack) NewUDP() *UDP { return &UDP{stack: s} }

// Expire does what is due. Clocks call it.
func (s *Stack) Expire() {}

// Deliver hands in one frame behind the header of package abi, as tests do and
// the pump. The frame is not kept.
func (s *Stack) Deliver(frame []byte) {}
