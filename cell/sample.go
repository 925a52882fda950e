package cell

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync"
	"time"

	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/cf"
)

// sampleEvery is how old what is known of an instance's use may be.
const sampleEvery = 5 * time.Second

// sample looks from outside at what instances use. Only what their files take is
// asked of themselves: they are in the guest's memory.
func (c *Cell) sample(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	var asks sync.WaitGroup
	defer asks.Wait()
	for {
		for _, i := range c.list() {
			if i.sample() {
				asks.Go(func() { i.askDisk(ctx) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Usage is what the instances of this cell use, by their GUIDs.
func (c *Cell) Usage() map[string]cf.Usage {
	all := map[string]cf.Usage{}
	for _, i := range c.list() {
		i.mu.Lock()
		first := i.pid != 0 && i.at.IsZero()
		i.mu.Unlock()
		if first { // it has just begun
			i.sample()
		}
		i.mu.Lock()
		if i.pid != 0 {
			all[i.label.Placement.GUID] = i.usage
		}
		i.mu.Unlock()
	}
	return all
}

// LinesLimited is how many lines of guests were over a limit, since the cell began.
func (c *Cell) LinesLimited() uint64 { return c.limited.Load() }

// entitled is how much of one core an instance has a right to when all want all
// they can get: the part of the host's that its memory is of the cell's.
func (c *Cell) entitled(memoryMB int) float64 {
	return float64(runtime.NumCPU()) * float64(memoryMB) / float64(max(c.cfg.MemoryMB, 1))
}

// diskStep is how much an instance's memory must change before it is asked what its
// files take: who does nothing is not woken.
const diskStep = 32 << 10

// sample tells whether what the files take may have changed.
func (i *instance) sample() (changed bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.pid == 0 {
		return false
	}
	now := time.Now()
	u, err := i.c.groups.Usage(i.pid)
	if err != nil {
		return false // it has ended; its end is told elsewhere
	}
	if passed := now.Sub(i.at); !i.at.IsZero() && passed > 0 {
		i.usage.CPU = float64(u.CPU-i.cpu) / float64(passed)
	}
	i.cpu, i.at = u.CPU, now
	i.usage.Entitled = i.c.entitled(i.label.Placement.MemoryMB)
	i.usage.MemoryBytes, i.usage.LogRate = int64(u.Memory), i.out.perSecond(now)
	return max(i.usage.MemoryBytes, i.counted)-min(i.usage.MemoryBytes, i.counted) >= diskStep
}

// askDisk asks the guest what the files take that it changed. Its word is good for
// nothing but its owner's eyes, and cannot be more than its memory. The droplet, which
// it cannot change, is counted beside them, as in Cloud Foundry.
func (i *instance) askDisk(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sampleEvery)
	defer cancel()
	i.mu.Lock()
	memory := i.usage.MemoryBytes
	i.mu.Unlock()
	b, err := i.guest.Link().Ask(ctx, control.Disk, nil)
	if err != nil || len(b) != 8 {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.counted = memory
	i.usage.DiskBytes = i.label.Droplet + int64(min(binary.LittleEndian.Uint64(b), uint64(i.label.Placement.MemoryMB)<<20))
}
