package qemu

import (
	"strconv"
	"sync"
	"time"
)

// clock learns the frequency of the host's time stamp counter, which is the
// guest's too. A guest that is told it need not measure: that takes it 7 ms of a
// start, and the longer time between two starts tells more exactly.
type clock struct {
	began instant

	mu  sync.Mutex // guards khz
	khz uint64     // 0: not known yet
}

// newClock begins to measure.
func newClock() *clock { return &clock{began: look()} }

// shortest is a time of which the reading of two clocks, some 50 ns apart, is a
// hundred-thousandth: less than what a crystal is off.
const shortest = 5 * time.Millisecond

// frequency in kHz; 0 where this CPU has no such counter. A caller who starts the
// first guest at once waits for the rest of shortest. What was found once stays:
// over a suspended host the two clocks would differ.
func (c *clock) frequency() uint64 {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.khz == 0 && c.began.cycles != 0 {
		time.Sleep(shortest - time.Since(c.began.at))
		c.khz = between(c.began, look())
	}
	return c.khz
}

func between(a, b instant) uint64 {
	d := b.at.Sub(a.at)
	if d < shortest || b.cycles <= a.cycles {
		return 0
	}
	return uint64(float64(b.cycles-a.cycles) / float64(d) * float64(time.Millisecond))
}

// instant is one moment on both clocks.
type instant struct {
	at     time.Time
	cycles uint64
}

// look reads the clocks: of some readings the one that was interrupted least.
func look() (best instant) {
	least := time.Duration(1<<63 - 1)
	for range 8 {
		before := time.Now()
		n := cycles()
		after := time.Now()
		if d := after.Sub(before); d < least {
			least, best = d, instant{before.Add(d / 2), n}
		}
	}
	return best
}

// lapicKHz is how fast the timer of a local APIC counts in QEMU, emulated
// (hw/intc/apic_common.c: nanoseconds of virtual time) as in KVM (Linux
// arch/x86/kvm/lapic.h: APIC_BUS_CYCLE_NS).
const lapicKHz = 1_000_000

// words tell the guest on its command line what it need not measure.
func (c *clock) words() string {
	khz := c.frequency()
	if khz == 0 {
		return ""
	}
	return "dew.tsc_khz=" + strconv.FormatUint(khz, 10) + " dew.lapic_khz=" + strconv.Itoa(lapicKHz)
}
