package cell

import (
	"context"
	"maps"
	"net/netip"
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
	err := r.c.cfg.Store.Update(ctx, func(tx cf.Tx) error {
		if alive {
			if err := r.c.register(tx); err != nil {
				return err
			}
		}
		for guid, s := range batch {
			if err := s.save(tx, guid); err != nil {
				return err
			}
			if err := keepCrash(tx, s.crash); err != nil {
				return err
			}
		}
		return nil
	})
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

func (s saying) save(tx cf.Tx, guid string) error {
	old, err := cf.Get[cf.Report](tx, guid)
	missing := cf.KindOf(err) == cf.NotFound
	switch {
	case err != nil && !missing:
		return err
	case s.report == nil && missing:
		return nil
	case s.report == nil:
		return tx.Delete(old)
	case missing:
		n := *s.report
		return tx.Insert(&n)
	}
	n := *s.report
	n.Meta = old.Meta
	return tx.Save(&n)
}

// register says in the ledger that the cell lives.
func (c *Cell) register(tx cf.Tx) error {
	row, err := cf.Get[cf.Cell](tx, c.cfg.ID)
	missing := cf.KindOf(err) == cf.NotFound
	if err != nil && !missing {
		return err
	}
	if missing {
		row = &cf.Cell{Meta: cf.Meta{GUID: c.cfg.ID}}
	}
	row.Zone, row.MemoryMB, row.DiskMB, row.Tenders = c.cfg.Zone, c.cfg.MemoryMB, c.cfg.DiskMB, c.cfg.Tenders
	if err := c.alone(tx); err != nil {
		return err
	}
	row.Guests = c.cfg.Guests.String()
	row.Beat++
	if missing {
		return tx.Insert(row)
	}
	return tx.Save(row)
}

// alone refuses a network of guests that another cell has too: who may talk to
// whom is told by addresses, and one's guests would be taken for the other's.
func (c *Cell) alone(tx cf.Tx) error {
	if c.cfg.Host == "" {
		return nil // there is no other cell
	}
	list, err := cf.List[cf.Cell](tx, cf.Query{})
	for _, other := range list {
		p, bad := netip.ParsePrefix(other.Guests)
		if other.GUID != c.cfg.ID && bad == nil && p.Overlaps(c.cfg.Guests) {
			return cf.Errorf("join the foundation", cf.Conflict, "cell %s has the network %s for its guests, which overlaps %s: give this cell another one (--guests)", other.GUID, p, c.cfg.Guests)
		}
	}
	return err
}
