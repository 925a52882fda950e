package cell

import (
	"context"
	"time"

	"github.com/dewpaas/dew/cf"
)

// sampleEvery is how old what is known of an instance's use may be.
const sampleEvery = 5 * time.Second

// sample looks from outside at what instances use.
func (c *Cell) sample(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		for _, i := range c.list() {
			i.sample()
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

func (i *instance) sample() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.pid == 0 {
		return
	}
	now := time.Now()
	u, err := i.c.groups.Usage(i.pid)
	if err != nil {
		return // it has ended; its end is told elsewhere
	}
	if passed := now.Sub(i.at); !i.at.IsZero() && passed > 0 {
		i.usage.CPU = float64(u.CPU-i.cpu) / float64(passed)
	}
	i.cpu, i.at = u.CPU, now
	i.usage.MemoryBytes, i.usage.LogRate = int64(u.Memory), i.out.perSecond(now)
}
