package kernel

import (
	"sync/atomic"

	"github.com/dewpaas/dew/guest/thread"
)

// SampleEvery makes the kernel send SIGPROF to the program's running threads,
// once for so many ns that a CPU has run them; 0 ends it. It is what the library
// OS calls for a CPU profile: outside, a process tender does the same. In a
// process there is no kernel of ours, and nothing happens.
func SampleEvery(ns uint64) { atomic.StoreUint64(&sampling, ns) }

// charge counts the time since this CPU was last charged towards its next
// sample, and makes SIGPROF pending for t, which ran, when it is due.
func (c *perCPU) charge(t *thread.Thread) {
	every := atomic.LoadUint64(&sampling)
	if every == 0 {
		c.since = 0
		return
	}
	at := now()
	if t != &c.idle && c.since != 0 {
		if c.ran += at - c.since; c.ran >= every {
			c.ran = 0
			t.Pending |= 1 << (thread.SIGPROF - 1)
		}
	}
	c.since = at
}

// sampleBy is when the timer must fire for a CPU that is about to run a thread:
// timer, or earlier for the next sample.
func (c *perCPU) sampleBy(timer uint64) uint64 {
	every := atomic.LoadUint64(&sampling)
	if every == 0 || c.since == 0 || c.ran >= every {
		return timer
	}
	due := c.since + every - c.ran
	if timer == 0 || due < timer {
		return due
	}
	return timer
}
