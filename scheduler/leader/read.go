package leader

import (
	"context"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/scheduler"
)

// load makes the state of what the ledger holds.
func (t *term) load(ctx context.Context) error {
	t.state, t.beats = newState(), map[string]int64{}
	now := t.now()
	return t.l.cfg.Store.View(ctx, func(tx cf.Tx) error {
		cells, err := cf.List[cf.Cell](tx, cf.Query{})
		if err != nil {
			return err
		}
		for _, c := range cells {
			// Nobody was heard by this leader yet: all get their time.
			t.state.Cells[c.GUID] = cellOf(c, now)
			t.beats[c.GUID] = c.Beat
		}
		placements, err := cf.List[cf.Placement](tx, cf.Query{})
		if err != nil {
			return err
		}
		for _, p := range placements {
			t.state.Instances[p.GUID] = instanceOf(p, now)
		}
		reports, err := cf.List[cf.Report](tx, cf.Query{})
		for _, r := range reports {
			if i := t.state.Instances[r.GUID]; i != nil && r.State != cf.InstanceEnded {
				i.Phase, i.Routable, i.Since = phases[r.State], r.Routable, earlier(r.Since, now)
			}
		}
		return err
	})
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

var phases = map[string]scheduler.Phase{cf.InstanceStarting: scheduler.Starting, cf.InstanceRunning: scheduler.Running, cf.InstanceEnded: scheduler.Ended}

func cellOf(c *cf.Cell, heard time.Time) *scheduler.Cell {
	return &scheduler.Cell{ID: c.GUID, Zone: c.Zone, MemoryMB: c.MemoryMB, DiskMB: c.DiskMB, Tenders: c.Tenders, Heard: heard, Leaving: c.Leaving}
}

// instanceOf is a placement as its new leader takes it over. The times in the ledger
// are of another leader's clock, or of this one before it was set: a wait is believed
// as far as its crashes explain it, and what waits for room gets its time anew.
func instanceOf(p *cf.Placement, now time.Time) *scheduler.Instance {
	created := earlier(p.CreatedAt, now)
	if p.TaskGUID != "" && p.CellID == "" {
		created = now
	}
	return &scheduler.Instance{GUID: p.GUID, Process: p.ProcessGUID, Version: p.Version, Index: p.Index, Task: p.TaskGUID, App: p.AppGUID,
		MemoryMB: p.MemoryMB, DiskMB: p.DiskMB, Created: created, Cell: p.CellID, Stopping: p.Stopping, Crashes: p.Crashes,
		NotBefore: earlier(p.Waits, now.Add(scheduler.Pause(p.Crashes))), Problem: p.Problem, Since: created}
}

// read makes events of what differs between the ledger and the state. done are
// the restarts that the events carry out.
func (t *term) read(ctx context.Context) (events []scheduler.Event, done []*cf.Restart, err error) {
	err = t.l.cfg.Store.View(ctx, func(tx cf.Tx) error {
		events, done, t.turned = nil, nil, nil
		for _, f := range []func(cf.Tx) ([]scheduler.Event, error){t.readCells, t.readApps, t.readDeployments, t.readTasks, t.readReports} {
			more, err := f(tx)
			if err != nil {
				return err
			}
			events = append(events, more...)
		}
		done, err = cf.List[cf.Restart](tx, cf.Query{})
		for _, r := range done {
			if i := t.state.Instances[r.GUID]; i != nil {
				events = append(events, scheduler.Restart{Process: i.Process, Index: i.Index})
			}
		}
		return err
	})
	return events, done, err
}

func (t *term) readCells(tx cf.Tx) (events []scheduler.Event, err error) {
	list, err := cf.List[cf.Cell](tx, cf.Query{})
	there := map[string]bool{}
	for _, c := range list {
		there[c.GUID] = true
		known := t.state.Cells[c.GUID]
		if known == nil || c.Beat != t.beats[c.GUID] {
			t.beats[c.GUID] = c.Beat
			events = append(events, scheduler.Heard{Cell: *cellOf(c, time.Time{})})
		} else if known.Leaving != c.Leaving { // the operator's word is no sign of life
			known.Leaving = c.Leaving
		}
	}
	for id := range t.state.Cells {
		if !there[id] {
			events = append(events, scheduler.Forget{Cell: id})
		}
	}
	return events, err
}

func (t *term) readApps(tx cf.Tx) (events []scheduler.Event, err error) {
	apps, err := t.apps.List(tx, cf.Query{})
	if err != nil {
		return nil, err
	}
	started := map[string]bool{}
	for _, a := range apps {
		started[a.GUID] = a.State == cf.Started
	}
	list, err := t.processes.List(tx, cf.Query{Order: []cf.Order{{Key: "created_at"}}})
	there := map[string]bool{}
	for _, p := range list {
		there[p.GUID] = true
		n := lrpOf(p, started[p.AppGUID])
		if old := t.state.LRPs[p.GUID]; old == nil || *old != n {
			events = append(events, scheduler.Desire{LRP: n})
		}
	}
	for guid := range t.state.LRPs {
		if !there[guid] {
			events = append(events, scheduler.Undesire{Process: guid})
		}
	}
	return events, err
}

// lrpOf is a process as it should be now. Memory and disk are those that its
// instances were started with: others hold from the next start.
func lrpOf(p *cf.Process, started bool) scheduler.LRP {
	l := scheduler.LRP{Process: p.GUID, App: p.AppGUID, Type: p.Type, Version: p.Version, Interim: p.DeploymentGUID != "",
		Stopped: !started || p.Launch == nil, Instances: p.Instances, MemoryMB: p.MemoryMB, DiskMB: p.DiskMB}
	if p.Launch != nil {
		l.MemoryMB, l.DiskMB, l.Tender = p.Launch.MemoryMB, p.Launch.DiskMB, p.Launch.Tender
	}
	return l
}

func (t *term) readDeployments(tx cf.Tx) (events []scheduler.Event, err error) {
	list, err := cf.List[cf.Deployment](tx, cf.Query{Where: []cf.Cond{cf.Is("status_value", cf.Active)}})
	there := map[string]bool{}
	for _, d := range list {
		there[d.GUID] = true
		n := deploymentOf(d)
		if old := t.state.Deployments[d.GUID]; old == nil || wishOf(*old) != wishOf(n) {
			events = append(events, scheduler.Deploy{Deployment: n})
		}
	}
	for guid := range t.state.Deployments {
		if !there[guid] {
			events = append(events, scheduler.Undeploy{GUID: guid})
		}
	}
	return events, err
}

func deploymentOf(d *cf.Deployment) scheduler.Deployment {
	n := scheduler.Deployment{GUID: d.GUID, App: d.AppGUID, New: d.ProcessGUID, Strategy: d.Strategy, Target: d.Target, Original: d.Original,
		MaxInFlight: d.MaxInFlight, Step: d.CanaryStep, Pausing: d.Pausing, Canceling: d.Reason == "CANCELING", Paused: d.Reason == "PAUSED"}
	if d.Strategy == "canary" {
		n.Canary, n.Keep = d.CanaryTarget()
	}
	return n
}

// wishOf leaves out what the scheduler writes.
func wishOf(d scheduler.Deployment) scheduler.Deployment {
	d.Paused, d.Up, d.Down = false, 0, 0
	return d
}

func (t *term) readTasks(tx cf.Tx) (events []scheduler.Event, err error) {
	list, err := cf.List[cf.Task](tx, cf.Query{Where: []cf.Cond{cf.Is("state", cf.TaskPending, cf.TaskRunning, cf.TaskCanceling)}})
	there := map[string]bool{}
	for _, k := range list {
		there[k.GUID] = true
		n := scheduler.Task{GUID: k.GUID, App: k.AppGUID, MemoryMB: k.MemoryMB, DiskMB: k.DiskMB, Tender: k.Launch.Tender, Canceling: k.State == cf.TaskCanceling}
		if old := t.state.Tasks[k.GUID]; old == nil || *old != n {
			events = append(events, scheduler.Run{Task: n})
		}
	}
	for guid := range t.state.Tasks {
		if !there[guid] {
			events = append(events, scheduler.Unrun{GUID: guid})
		}
	}
	return events, err
}

func (t *term) readReports(tx cf.Tx) (events []scheduler.Event, err error) {
	list, err := t.reports.List(tx, cf.Query{})
	for _, r := range list {
		i := t.state.Instances[r.GUID]
		if i == nil || i.Cell != r.CellID {
			continue
		}
		n := phases[r.State]
		if n == scheduler.Running && i.Phase == n && i.Routable != r.Routable && !i.Stopping {
			t.turned = append(t.turned, turn{r.GUID, i.Process, i.Index, r.Routable})
		}
		if i.Phase != n || i.Routable != r.Routable {
			events = append(events, scheduler.Status{GUID: r.GUID, Phase: n, Routable: r.Routable, Exit: scheduler.Exit{Status: r.Status, Description: r.Details}})
		}
	}
	return events, err
}
