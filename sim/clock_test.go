package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dewpaas/dew/cf"
)

const year = 365 * 24 * time.Hour

// TestClocksApart: leaders whose clocks are years apart take over from each other.
// What runs is left alone, and what waits after a crash waits for no longer than its
// crashes explain.
func TestClocksApart(t *testing.T) {
	play(t, func(s *stage) {
		s.Cells["a"].Clock.Set(time.Hour)
		s.Cells["b"].Clock.Set(-time.Hour)
		s.app("app", 4)
		_, bad := s.app("bad", 0)
		for _, c := range s.Cells {
			c.SetRule(func(n *cf.Placement) Fate {
				if n.ProcessGUID == bad.GUID {
					return Crashes
				}
				return Serves
			})
		}
		s.must(Change(s.ctx, s.Foundation, bad.GUID, func(p *cf.Process) { p.Instances = 1 }))
		s.pass(time.Second)
		before := s.running()
		for n, off := range []time.Duration{3 * year, -2 * year, 10 * time.Minute, 5 * year} {
			crashes := s.crashes()
			s.usurp(off)
			if now := s.running(); !slices.Equal(now, before) {
				t.Errorf("a leader that is off by %v: %v run, not %v", off, now, before)
			}
			s.pass(30*time.Second<<n + 5*time.Second) // the pause grows with each crash
			if s.crashes() == crashes {
				t.Errorf("a leader that is off by %v: what waits after %d crashes is not tried again", off, crashes)
			}
		}
	})
}

// usurp kills the leader; another one, whose clock is off, follows.
func (s *stage) usurp(off time.Duration) {
	s.Leaders[len(s.Leaders)-1].Kill()
	s.AddLeader(s.ctx, fmt.Sprint("leader-", len(s.Leaders)+1), s.log).Clock.Set(off)
	s.pass(20 * time.Second) // the dead one's lease, and a round
}

// TestTaskWaits: a task that waits for room has its time, whatever the clocks of the
// leaders that see it say.
func TestTaskWaits(t *testing.T) {
	play(t, func(s *stage) {
		for _, c := range s.Cells {
			c.SetRule(func(n *cf.Placement) Fate {
				if n.TaskGUID != "" {
					return Exits
				}
				return Serves
			})
		}
		_, p := s.app("app", 4)
		task := &cf.Task{Sequence: 1, AppGUID: p.AppGUID, SpaceGUID: p.SpaceGUID, Name: "t", State: cf.TaskPending, MemoryMB: 900, DiskMB: 1, Launch: cf.Launch{Command: "./t"}}
		s.must(s.Store.Update(s.ctx, func(tx cf.Tx) error { return tx.Insert(task) }))
		s.pass(time.Second)
		for _, off := range []time.Duration{-2 * year, 3 * year, -time.Hour} {
			s.usurp(off)
			if k, err := Load[cf.Task](s.ctx, s.Foundation, task.GUID); err != nil || k.State != cf.TaskPending {
				t.Errorf("a leader that is off by %v: the task is %s %q, %v", off, k.State, k.FailureReason, err)
			}
		}
		s.must(Change(s.ctx, s.Foundation, p.GUID, func(p *cf.Process) { p.Instances = 0 }))
		s.pass(10 * time.Second)
		if k, err := Load[cf.Task](s.ctx, s.Foundation, task.GUID); err != nil || k.State != cf.TaskSucceeded {
			t.Errorf("there is room, and the task is %s %q, %v", k.State, k.FailureReason, err)
		}
	})
}

// TestClocksAreSet: whoever sets clocks, by minutes or by years, stops nothing and
// starts nothing twice; cells that are lost meanwhile are found to be.
func TestClocksAreSet(t *testing.T) {
	play(t, func(s *stage) {
		r := rand.New(rand.NewPCG(7, 7))
		second := s.AddLeader(s.ctx, "leader-2", s.log)
		_, p := s.app("app", 5)
		before := s.running()
		for range 60 {
			s.setClock(r)
			s.pass(time.Duration(1+r.IntN(20)) * time.Second)
			if now := s.running(); !slices.Equal(now, before) {
				t.Fatalf("%v run, not %v", now, before)
			}
		}
		if lease, err := Load[cf.Lease](s.ctx, s.Foundation, cf.SchedulerLease); err != nil || lease.Token != 1 {
			t.Errorf("the lease went from hand to hand: %+v, %v", lease, err)
		}
		s.Leaders[0].Kill()
		s.Cells["a"].Deafen(true)
		second.Clock.Set(-4 * year)
		s.pass(20 * time.Second)
		second.Clock.Set(4 * year) // it leads by now, and has waited for the cell for moments
		s.pass(20 * time.Second)
		if now := s.running(); !slices.Equal(now, before) {
			t.Errorf("too early: %v run, not %v", now, before)
		}
		s.pass(20 * time.Second)
		s.states(p, "0:RUNNING 1:RUNNING 2:RUNNING 3:RUNNING 4:RUNNING")
		if n := len(s.Cells["b"].Guests()); n != 5 {
			t.Errorf("a cell is lost, and the other has %d guests", n)
		}
	})
}

// setClock sets the clock of one machine.
func (s *stage) setClock(r *rand.Rand) {
	off := time.Duration(r.NormFloat64() * float64([]time.Duration{time.Minute, time.Hour, 2 * year}[r.IntN(3)]))
	if n := r.IntN(len(s.Leaders) + 2); n < len(s.Leaders) {
		s.Leaders[n].Clock.Set(off)
	} else {
		s.Cells[[]string{"a", "b"}[n-len(s.Leaders)]].Clock.Set(off)
	}
}

// running are the guests of all cells.
func (s *stage) running() []string {
	list := append(s.Cells["a"].Guests(), s.Cells["b"].Guests()...)
	slices.Sort(list)
	return list
}

func (s *stage) crashes() (n int) {
	s.must(s.Store.View(s.ctx, func(tx cf.Tx) (err error) {
		n, err = tx.Count(new(cf.AuditEvent), cf.Query{Where: []cf.Cond{cf.Is("type", "audit.app.process.crash")}})
		return err
	}))
	return n
}
