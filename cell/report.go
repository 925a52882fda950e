package cell

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/dewpaas/dew/cf"
)

// reporter writes to the ledger what the cell has to say, everything that came
// together in one transaction. What cannot be written waits, newest only.
type reporter struct {
	c    *Cell
	wake chan struct{}

	mu      sync.Mutex // guards all below
	pending map[string]saying
	alive   bool // a sign of life is due
}

// saying is one report to write, or, without one, to take away.
type saying struct {
	report  *cf.Report
	crash   *cf.Crash // to be kept with it; nil: none
	written func()    // nil: nobody waits
}

func newReporter(c *Cell) *reporter {
	return &reporter{c: c, wake: make(chan struct{}, 1), pending: map[string]saying{}, alive: true}
}

// put writes a report soon, and what is kept of a crash, then calls written. A report that is put before the
// last one was written takes its place.
func (r *reporter) put(report *cf.Report, crash *cf.Crash, written func()) {
	r.add(report.GUID, saying{report, crash, written})
}

// remove takes a report away.
func (r *reporter) remove(guid string) { r.add(guid, saying{}) }

// withdraw does the same, then calls written.
func (r *reporter) withdraw(guid string, written func()) { r.add(guid, saying{written: written}) }

func (r *reporter) add(guid string, s saying) {
	r.mu.Lock()
	r.pending[guid] = s
	r.mu.Unlock()
	r.poke()
}

// beat gives a sign of life.
func (r *reporter) beat() {
	r.mu.Lock()
	r.alive = true
	r.mu.Unlock()
	r.poke()
}

func (r *reporter) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

const longPause = 5 * time.Second

func (r *reporter) run(ctx context.Context) {
	pause := time.Duration(0)
	for {
		if err := r.write(ctx); err != nil && ctx.Err() == nil {
			if pause == 0 {
				r.c.cfg.Log.Error("cell: the ledger cannot be written, guests go on as they are", "err", err)
			}
			pause = min(max(2*pause, 100*time.Millisecond), longPause)
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
				continue
			}
		} else if err == nil && pause > 0 {
			r.c.cfg.Log.Info("cell: the ledger can be written again")
		}
		pause = 0
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
	}
}

// write writes all that is pending. On failure it is pending again, but for
// what newer news has overtaken.
func (r *reporter) write(ctx context.Context) error {
	r.mu.Lock()
	batch, alive := r.pending, r.alive
	r.pending, r.alive = map[string]saying{}, false
	r.mu.Unlock()
	if len(batch) == 0 && !alive {
		return nil
	}
	err := r.c.cfg.Ledger.Tell(ctx, r.c.news(batch, alive))
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		maps.Copy(batch, r.pending)
		r.pending, r.alive = batch, r.alive || alive
		return err
	}
	for _, s := range batch {
		if s.written != nil {
			s.written()
		}
	}
	return nil
}

// news is what a batch says.
func (c *Cell) news(batch map[string]saying, alive bool) (n News) {
	if alive {
		n.Cell = c.row()
	}
	for guid, s := range batch {
		if s.report == nil {
			n.Gone = append(n.Gone, guid)
		} else {
			n.Reports = append(n.Reports, s.report)
		}
		if s.crash != nil {
			n.Crashes = append(n.Crashes, s.crash)
		}
	}
	return n
}

// row is what the cell says of itself.
func (c *Cell) row() *cf.Cell {
	return &cf.Cell{Meta: cf.Meta{GUID: c.cfg.ID}, Zone: c.cfg.Zone, MemoryMB: c.cfg.MemoryMB, DiskMB: c.cfg.DiskMB, Tenders: c.cfg.Tenders, Guests: c.cfg.Guests.String()}
}
