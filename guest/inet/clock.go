package inet

import (
	"time"

	"github.com/dewpaas/dew/guest/host"
)

// hostClock is the clock of a guest: the runtime's, with one timer for the
// whole stack and one goroutine that waits for it.
type hostClock struct {
	timer *time.Timer
}

func newHostClock(s *Stack) *hostClock {
	c := &hostClock{time.NewTimer(time.Hour)}
	host.GoSystem(func() {
		for range c.timer.C {
			s.Expire()
		}
	})
	return c
}

func (c *hostClock) Now() int64 { return host.Nanotime() }

func (c *hostClock) Wake(at int64) { c.timer.Reset(time.Duration(at - host.Nanotime())) }
