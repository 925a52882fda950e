package inet

import (
	"time"

	"github.com/dewpaas/dew/guest/host"
)

// hostClock is the clock of a guest: the runtime's, with one timer for the
// whole stack and one goroutine that waits for it. Both come with the first
// time that is asked for: a timer set for nothing would hide from the runtime
// that a program is deadlocked.
type hostClock struct {
	stack *Stack
	timer *time.Timer
}

func newHostClock(s *Stack) *hostClock { return &hostClock{stack: s} }

func (c *hostClock) Now() int64 { return host.Nanotime() }

// Wake implements Clock. The stack's timers call it with their lock held.
func (c *hostClock) Wake(at int64) {
	after := time.Duration(at - host.Nanotime())
	if c.timer != nil {
		c.timer.Reset(after)
		return
	}
	c.timer = time.NewTimer(after)
	host.GoSystem(c.run)
}

func (c *hostClock) run() {
	for range c.timer.C {
		c.stack.Expire()
	}
}
