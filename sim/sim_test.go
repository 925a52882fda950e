package sim

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dewpaas/dew/cf"
)

// stage is a foundation in a bubble.
type stage struct {
	*testing.T
	*Foundation
	ctx context.Context
	log *slog.Logger
}

// play runs a story on a foundation with one leader and two cells.
func play(t *testing.T, story func(*stage)) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		f, err := Open(ctx, folder)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			stop()
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}()
		s := &stage{t, f, ctx, slog.New(slog.NewTextHandler(t.Output(), nil))}
		f.AddLeader(ctx, "leader-1", s.log)
		f.AddCell(ctx, "a", "z1", 1000)
		f.AddCell(ctx, "b", "z2", 1000)
		s.pass(6 * time.Second)
		story(s)
	})
}

// pass lets time pass and everybody do what there is to do.
func (s *stage) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *stage) states(p *cf.Process, want string) {
	s.Helper()
	got, err := s.States(s.ctx, p.GUID)
	if err != nil || got != want {
		s.Errorf("%q, %v; want %q", got, err, want)
	}
}

func (s *stage) app(name string, instances int) (*cf.App, *cf.Process) {
	s.Helper()
	a, p, err := s.App(s.ctx, name, instances)
	s.must(err)
	s.pass(time.Second)
	return a, p
}

// guests is how many instances each cell runs.
func (s *stage) guests() string {
	return fmt.Sprintf("%d %d", len(s.Cells["a"].Guests()), len(s.Cells["b"].Guests()))
}

func TestLifeOfAnApp(t *testing.T) {
	play(t, func(s *stage) {
		a, p := s.app("app", 3)
		s.states(p, "0:RUNNING 1:RUNNING 2:RUNNING")
		if g := s.guests(); g != "2 1" {
			t.Error(g)
		}
		s.must(Change(s.ctx, s.Foundation, p.GUID, func(p *cf.Process) { p.Instances = 1 }))
		s.pass(time.Second)
		s.states(p, "0:RUNNING")
		before := s.Cells["a"].Guests()[0]
		s.must(s.Runtime.Stop(s.ctx, p.GUID, 0))
		s.pass(time.Second)
		s.states(p, "0:RUNNING")
		if g := append(s.Cells["a"].Guests(), s.Cells["b"].Guests()...); len(g) != 1 || g[0] == before {
			t.Errorf("%v, was %s", g, before)
		}
		if err := s.Runtime.Stop(s.ctx, p.GUID, 7); cf.KindOf(err) != cf.NotFound {
			t.Errorf("stop what is not there: %v", err)
		}
		s.must(Change(s.ctx, s.Foundation, a.GUID, func(a *cf.App) { a.State = cf.Stopped }))
		s.pass(time.Second)
		s.states(p, "")
		if g := s.guests(); g != "0 0" {
			t.Error(g)
		}
		s.empty()
	})
}

// empty checks that nothing is left in the ledger of what ran.
func (s *stage) empty() {
	s.Helper()
	s.must(s.Store.View(s.ctx, func(tx cf.Tx) error {
		for _, r := range []cf.Record{new(cf.Placement), new(cf.Report), new(cf.Restart)} {
			if n, err := tx.Count(r, cf.Query{}); err != nil || n > 0 {
				s.Errorf("%d %s are left, %v", n, r.Noun(), err)
			}
		}
		return nil
	}))
}

func TestDeletedAppEnds(t *testing.T) {
	play(t, func(s *stage) {
		a, p := s.app("app", 2)
		s.must(s.Store.Update(s.ctx, func(tx cf.Tx) error { return tx.Delete(a) }))
		s.pass(time.Second)
		s.states(p, "")
		s.empty()
	})
}

// TestCrashLoop: users see the pause, the event and the log line.
func TestCrashLoop(t *testing.T) {
	play(t, func(s *stage) {
		crash := func(*cf.Placement) Fate { return Crashes }
		s.Cells["a"].SetRule(crash)
		s.Cells["b"].SetRule(crash)
		a, p := s.app("app", 1)
		s.states(p, "0:CRASHED")
		var events []*cf.AuditEvent
		read := func() {
			s.must(s.Store.View(s.ctx, func(tx cf.Tx) (err error) {
				events, err = cf.List[cf.AuditEvent](tx, cf.Query{Where: []cf.Cond{cf.Is("type", "audit.app.process.crash")}, Order: []cf.Order{{Key: "created_at"}}})
				return err
			}))
		}
		if read(); len(events) != 4 {
			t.Fatalf("%d events", len(events))
		}
		e := slices.MaxFunc(events, func(a, b *cf.AuditEvent) int {
			return cmp.Compare(a.Data["crash_count"].(float64), b.Data["crash_count"].(float64))
		})
		if e.Target != (cf.Actor{GUID: a.GUID, Type: "app", Name: "app"}) || e.Actor.Name != "web" || e.Data["crash_count"] != 4.0 || e.Data["exit_description"] != "APP/PROC/WEB: Exited with status 1" || e.Data["reason"] != "CRASHED" {
			t.Errorf("%+v", e)
		}
		if l := s.Lines.All(); len(l) != 4 || !strings.HasPrefix(string(l[3].Text), `Process has crashed with type: "web"`) || l[3].Source != "API" {
			t.Errorf("%+v", l)
		}
		s.pass(31 * time.Second)
		if read(); len(events) != 5 {
			t.Errorf("%d events", len(events))
		}
		s.states(p, "0:CRASHED")
		s.Cells["a"].SetRule(func(*cf.Placement) Fate { return Serves })
		s.Cells["b"].SetRule(func(*cf.Placement) Fate { return Serves })
		s.pass(61 * time.Second)
		s.states(p, "0:RUNNING")
	})
}

func TestReadinessIsToldByEvents(t *testing.T) {
	play(t, func(s *stage) {
		_, p := s.app("app", 1)
		for _, fate := range []Fate{Unready, Serves} {
			for _, c := range s.Cells {
				c.SetRule(func(*cf.Placement) Fate { return fate })
			}
			s.pass(time.Second)
		}
		s.states(p, "0:RUNNING")
		var kinds []string
		s.must(s.Store.View(s.ctx, func(tx cf.Tx) error {
			list, err := cf.List[cf.AuditEvent](tx, cf.Query{Order: []cf.Order{{Key: "created_at"}}})
			for _, e := range list {
				kinds = append(kinds, e.Type)
			}
			return err
		}))
		if fmt.Sprint(kinds) != "[audit.app.process.not-ready audit.app.process.ready]" {
			t.Error(kinds)
		}
	})
}

func TestCellIsLost(t *testing.T) {
	play(t, func(s *stage) {
		_, p := s.app("app", 2)
		s.Cells["a"].Deafen(true)
		s.pass(20 * time.Second)
		if g := s.guests(); g != "1 1" {
			t.Errorf("too early: %s", g)
		}
		s.pass(20 * time.Second)
		if g := s.guests(); g != "1 2" {
			t.Errorf("the lost one's instance is not replaced: %s", g)
		}
		s.Cells["a"].Deafen(false)
		s.pass(10 * time.Second)
		if g := s.guests(); g != "0 2" {
			t.Errorf("the lost one came back: %s", g)
		}
		s.states(p, "0:RUNNING 1:RUNNING")
	})
}

func TestEvacuation(t *testing.T) {
	play(t, func(s *stage) {
		_, p := s.app("app", 4)
		s.must(Change(s.ctx, s.Foundation, "a", func(c *cf.Cell) { c.Leaving = true }))
		s.pass(time.Second)
		if g := s.guests(); g != "0 4" {
			t.Error(g)
		}
		s.states(p, "0:RUNNING 1:RUNNING 2:RUNNING 3:RUNNING")
	})
}

func TestTasks(t *testing.T) {
	play(t, func(s *stage) {
		a, _ := s.app("app", 0)
		for _, c := range s.Cells {
			c.SetRule(func(p *cf.Placement) Fate {
				return map[string]Fate{"good": Exits, "bad": Crashes, "long": Serves}[p.Type]
			})
		}
		sequence := 0
		run := func(name string, memory int) *cf.Task {
			sequence++
			k := &cf.Task{Sequence: sequence, AppGUID: a.GUID, SpaceGUID: a.SpaceGUID, Name: name, State: cf.TaskPending, MemoryMB: memory, DiskMB: 1, Launch: cf.Launch{Command: "./task"}}
			s.must(s.Store.Update(s.ctx, func(tx cf.Tx) error { return tx.Insert(k) }))
			s.pass(time.Second)
			return k
		}
		is := func(k *cf.Task, state, reason string) {
			t.Helper()
			got, err := Load[cf.Task](s.ctx, s.Foundation, k.GUID)
			if err != nil || got.State != state || got.FailureReason != reason {
				t.Errorf("task %s is %s %q, %v; want %s %q", k.Name, got.State, got.FailureReason, err, state, reason)
			}
		}
		is(run("good", 100), cf.TaskSucceeded, "")
		is(run("bad", 100), cf.TaskFailed, "APP/PROC/WEB: Exited with status 1")
		long := run("long", 100)
		is(long, cf.TaskRunning, "")
		s.must(Change(s.ctx, s.Foundation, long.GUID, func(k *cf.Task) { k.State = cf.TaskCanceling }))
		s.pass(time.Second)
		is(long, cf.TaskFailed, "task was cancelled")
		huge := run("good", 5000)
		is(huge, cf.TaskPending, "")
		s.pass(3 * time.Minute)
		is(huge, cf.TaskFailed, "insufficient resources: memory")
		s.empty()
	})
}

// deploy begins a deployment as the API does.
func (s *stage) deploy(a *cf.App, old *cf.Process, strategy string, steps ...int) (*cf.Deployment, *cf.Process) {
	s.Helper()
	d := &cf.Deployment{AppGUID: a.GUID, SpaceGUID: a.SpaceGUID, Strategy: strategy, Status: cf.Active, Reason: "DEPLOYING", DropletGUID: a.DropletGUID, PreviousDroplet: a.DropletGUID,
		Original: old.Instances, Target: old.Instances, MaxInFlight: 1, CanarySteps: steps}
	if strategy == "canary" {
		d.Pausing, d.CanaryStep = true, 1
	}
	d.GUID = cf.NewGUID()
	p := s.Process(a, "web", 1)
	p.GUID, p.DeploymentGUID = cf.NewGUID(), d.GUID
	d.ProcessGUID = p.GUID
	s.must(s.Store.Update(s.ctx, func(tx cf.Tx) error {
		if err := tx.Insert(d); err != nil {
			return err
		}
		return tx.Insert(p)
	}))
	return d, p
}

func (s *stage) deployment(d *cf.Deployment, want string) *cf.Deployment {
	s.Helper()
	got, err := Load[cf.Deployment](s.ctx, s.Foundation, d.GUID)
	s.must(err)
	if is := got.Status + " " + got.Reason; is != want {
		s.Errorf("%s, want %s", is, want)
	}
	return got
}

func TestRollingDeployment(t *testing.T) {
	play(t, func(s *stage) {
		a, old := s.app("app", 3)
		worker := s.Process(a, "worker", 1)
		s.must(s.Store.Update(s.ctx, func(tx cf.Tx) error { return tx.Insert(worker) }))
		s.pass(time.Second)
		d, p := s.deploy(a, old, "rolling")
		s.pass(5 * time.Second)
		s.deployment(d, "FINALIZED DEPLOYED")
		s.states(p, "0:RUNNING 1:RUNNING 2:RUNNING")
		s.states(worker, "0:RUNNING")
		if _, err := Load[cf.Process](s.ctx, s.Foundation, old.GUID); cf.KindOf(err) != cf.NotFound {
			t.Errorf("the old process: %v", err)
		}
		now, err := Load[cf.Process](s.ctx, s.Foundation, p.GUID)
		if err != nil || now.DeploymentGUID != "" || now.Instances != 3 {
			t.Errorf("%+v, %v", now, err)
		}
		renewed, err := Load[cf.Process](s.ctx, s.Foundation, worker.GUID)
		if err != nil || renewed.Version == worker.Version || renewed.Launch.Command != "./app work" {
			t.Errorf("%+v, %v", renewed, err)
		}
	})
}

func TestDeploymentOfWhatCrashes(t *testing.T) {
	play(t, func(s *stage) {
		a, old := s.app("app", 2)
		d, p := s.deploy(a, old, "rolling")
		for _, c := range s.Cells {
			c.SetRule(func(n *cf.Placement) Fate {
				if n.ProcessGUID == p.GUID {
					return Crashes
				}
				return Serves
			})
		}
		s.pass(5 * time.Minute)
		if got := s.deployment(d, "ACTIVE DEPLOYING"); got.Error == "" {
			t.Error("the deployment does not tell that its instances crash")
		}
		s.states(old, "0:RUNNING 1:RUNNING")
		s.must(Change(s.ctx, s.Foundation, d.GUID, func(d *cf.Deployment) { d.Reason = "CANCELING" }))
		s.pass(time.Second)
		s.deployment(d, "FINALIZED CANCELED")
		s.states(old, "0:RUNNING 1:RUNNING")
		if _, err := Load[cf.Process](s.ctx, s.Foundation, p.GUID); cf.KindOf(err) != cf.NotFound {
			t.Errorf("the new process: %v", err)
		}
	})
}

func TestCanary(t *testing.T) {
	play(t, func(s *stage) {
		a, old := s.app("app", 4)
		d, p := s.deploy(a, old, "canary", 25, 50)
		s.pass(5 * time.Second)
		s.deployment(d, "ACTIVE PAUSED")
		s.states(p, "0:RUNNING")
		s.states(old, "0:RUNNING 1:RUNNING 2:RUNNING 3:RUNNING")
		next := func(d *cf.Deployment) {
			d.Reason = "DEPLOYING"
			if d.CanaryStep < len(d.CanarySteps) {
				d.CanaryStep++
			} else {
				d.Pausing = false
			}
		}
		s.must(Change(s.ctx, s.Foundation, d.GUID, next))
		s.pass(5 * time.Second)
		s.deployment(d, "ACTIVE PAUSED")
		s.states(p, "0:RUNNING 1:RUNNING")
		s.states(old, "0:RUNNING 1:RUNNING 2:RUNNING")
		s.must(Change(s.ctx, s.Foundation, d.GUID, next))
		s.pass(5 * time.Second)
		s.deployment(d, "FINALIZED DEPLOYED")
		s.states(p, "0:RUNNING 1:RUNNING 2:RUNNING 3:RUNNING")
	})
}

// TestLeaderIsKilled: another takes over when the lease has stood still, and what
// the first still writes is refused.
func TestLeaderIsKilled(t *testing.T) {
	play(t, func(s *stage) {
		second := s.AddLeader(s.ctx, "leader-2", s.log)
		_, p := s.app("app", 1)
		s.Leaders[0].Kill()
		s.must(Change(s.ctx, s.Foundation, p.GUID, func(p *cf.Process) { p.Instances = 2 }))
		s.pass(10 * time.Second)
		s.states(p, "0:RUNNING")
		s.pass(10 * time.Second)
		s.states(p, "0:RUNNING 1:RUNNING")
		lease, err := Load[cf.Lease](s.ctx, s.Foundation, cf.SchedulerLease)
		if err != nil || lease.Holder != "leader-2" || lease.Token != 2 {
			t.Errorf("%+v, %v", lease, err)
		}
		second.Kill()
		// One with the name of the last holder need not wait, nor one who comes
		// after a leader that ended in order.
		third := s.AddLeader(s.ctx, "leader-2", s.log)
		s.must(Change(s.ctx, s.Foundation, p.GUID, func(p *cf.Process) { p.Instances = 1 }))
		s.pass(time.Second)
		s.states(p, "0:RUNNING")
		third.Stop()
		s.AddLeader(s.ctx, "leader-4", s.log)
		s.must(Change(s.ctx, s.Foundation, p.GUID, func(p *cf.Process) { p.Instances = 2 }))
		s.pass(5 * time.Second)
		s.states(p, "0:RUNNING 1:RUNNING")
	})
}

// TestLeaderThatWasAway: a leader that stood still while another took over finds
// out before it changes anything.
func TestLeaderThatWasAway(t *testing.T) {
	play(t, func(s *stage) {
		_, p := s.app("app", 1)
		s.must(Change(s.ctx, s.Foundation, cf.SchedulerLease, func(l *cf.Lease) { l.Holder, l.Token = "usurper", l.Token+1 }))
		s.must(Change(s.ctx, s.Foundation, p.GUID, func(p *cf.Process) { p.Instances = 3 }))
		s.pass(10 * time.Second)
		s.states(p, "0:RUNNING") // the usurper does nothing, and nobody else may
		s.pass(10 * time.Second) // it does not count either, so its lease ends
		s.states(p, "0:RUNNING 1:RUNNING 2:RUNNING")
	})
}

var seeds = flag.Uint64("seeds", 4, "seeds of TestRandomTrouble")

// TestRandomTrouble: whatever leaders, cells and users do, in the end everything
// that is wanted runs once.
func TestRandomTrouble(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { play(t, func(s *stage) { trouble(s, rand.New(rand.NewPCG(seed, 5))) }) })
	}
}

func trouble(s *stage, r *rand.Rand) {
	var processes []*cf.Process
	for n := range 3 {
		_, p := s.app(fmt.Sprint("app", n), 1+r.IntN(3))
		processes = append(processes, p)
	}
	cells := []string{"a", "b"}
	for range 60 {
		switch p := processes[r.IntN(len(processes))]; r.IntN(7) {
		case 0:
			s.Cells[cells[r.IntN(2)]].Deafen(r.IntN(2) == 0)
		case 1:
			id, fate := cells[r.IntN(2)], []Fate{Serves, Serves, Crashes, Unready, Hangs}[r.IntN(5)]
			s.Cells[id].SetRule(func(*cf.Placement) Fate { return fate })
		case 2:
			n := r.IntN(4)
			s.must(Change(s.ctx, s.Foundation, p.GUID, func(p *cf.Process) { p.Instances = n }))
		case 3:
			s.must(Change(s.ctx, s.Foundation, p.GUID, func(p *cf.Process) { p.Version = cf.NewGUID() }))
		case 4:
			s.Leaders[len(s.Leaders)-1].Stop()
			s.AddLeader(s.ctx, "leader-1", s.log)
		case 5:
			s.must(Change(s.ctx, s.Foundation, p.AppGUID, func(a *cf.App) { a.State = []string{cf.Started, cf.Stopped}[r.IntN(2)] }))
		case 6:
			s.setClock(r)
		}
		s.pass(time.Duration(r.IntN(20)) * time.Second)
	}
	for _, c := range s.Cells {
		c.Deafen(false)
		c.SetRule(func(*cf.Placement) Fate { return Serves })
	}
	for waited := time.Duration(0); waited < 40*time.Minute && !s.settled(processes); waited += 30 * time.Second { // the longest pause after crashes, twice
		s.pass(30 * time.Second)
	}
	want := 0
	for _, p := range processes {
		states := s.wanted(p)
		want += len(states)
		s.states(p, strings.Join(states, " "))
	}
	if n := len(s.Cells["a"].Guests()) + len(s.Cells["b"].Guests()); n != want {
		s.Errorf("%d guests run, %d are wanted", n, want)
	}
}

// wanted is what a process's instances should be in the end.
func (s *stage) wanted(p *cf.Process) (states []string) {
	s.Helper()
	a, err := Load[cf.App](s.ctx, s.Foundation, p.AppGUID)
	s.must(err)
	now, err := Load[cf.Process](s.ctx, s.Foundation, p.GUID)
	s.must(err)
	for i := 0; a.State == cf.Started && i < now.Instances; i++ {
		states = append(states, fmt.Sprintf("%d:RUNNING", i))
	}
	return states
}

func (s *stage) settled(list []*cf.Process) bool {
	guests := len(s.Cells["a"].Guests()) + len(s.Cells["b"].Guests())
	for _, p := range list {
		got, err := s.States(s.ctx, p.GUID)
		want := s.wanted(p)
		guests -= len(want)
		if err != nil || got != strings.Join(want, " ") {
			return false
		}
	}
	return guests == 0
}
