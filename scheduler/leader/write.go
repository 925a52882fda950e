package leader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/scheduler"
)

// errStale says that the ledger has moved on since it was read: the next round
// knows better.
var errStale = errors.New("the ledger has changed meanwhile")

// write carries actions out in one transaction, under the lease.
func (t *term) write(ctx context.Context, actions []scheduler.Action, done []*cf.Restart) error {
	var said []cf.LogLine
	err := t.l.cfg.Store.Update(ctx, func(tx cf.Tx) error {
		said = nil
		if err := fence(tx, t.token); err != nil {
			return err
		}
		for _, a := range actions {
			lines, err := t.do(tx, a)
			if err != nil {
				return fmt.Errorf("%s: %w", a, err)
			}
			said = append(said, lines...)
		}
		for _, turn := range t.turned {
			if err := t.note(tx, turn); err != nil {
				return err
			}
		}
		for _, r := range done {
			if err := tx.Delete(r); err != nil && cf.KindOf(err) != cf.NotFound {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.wrote = time.Now()
	for _, line := range said {
		t.l.cfg.Logs.Log(line)
	}
	for _, a := range actions {
		t.l.cfg.Log.Debug("scheduler: " + a.String())
	}
	return nil
}

// do carries one action out. The lines are for the app's log, once all is done.
func (t *term) do(tx cf.Tx, a scheduler.Action) (lines []cf.LogLine, err error) {
	switch a := a.(type) {
	case scheduler.Put:
		return nil, t.put(tx, &a.Instance)
	case scheduler.Drop:
		err := tx.Delete(&cf.Placement{Meta: cf.Meta{GUID: a.Instance.GUID}})
		if cf.KindOf(err) == cf.NotFound {
			err = nil
		}
		return nil, err
	case scheduler.Crashed:
		return t.crashed(tx, a)
	case scheduler.Scale:
		p, err := cf.Get[cf.Process](tx, a.Process)
		if err != nil {
			return nil, stale(err)
		}
		p.Instances = a.Instances
		return nil, tx.Save(p)
	case scheduler.Rolled:
		return nil, t.rolled(tx, a.Deployment)
	case scheduler.Finished:
		return nil, t.finished(tx, a)
	case scheduler.TaskRuns:
		return nil, t.task(tx, a.GUID, cf.TaskRunning, "")
	case scheduler.TaskEnded:
		if a.Failure != "" {
			return nil, t.task(tx, a.GUID, cf.TaskFailed, a.Failure)
		}
		return nil, t.task(tx, a.GUID, cf.TaskSucceeded, "")
	}
	return nil, nil
}

// stale turns "not there" into the ledger having moved on.
func stale(err error) error {
	if cf.KindOf(err) == cf.NotFound {
		return errStale
	}
	return err
}

// put writes an instance. What it is started from is fixed when it is placed.
func (t *term) put(tx cf.Tx, i *scheduler.Instance) error {
	p, err := cf.Get[cf.Placement](tx, i.GUID)
	missing := cf.KindOf(err) == cf.NotFound
	if err != nil && !missing {
		return err
	}
	if missing {
		p = &cf.Placement{Meta: cf.Meta{GUID: i.GUID}, ProcessGUID: i.Process, Version: i.Version, Index: i.Index, TaskGUID: i.Task, AppGUID: i.App,
			MemoryMB: i.MemoryMB, DiskMB: i.DiskMB}
		p.CreatedAt = i.Created.Truncate(time.Microsecond)
	}
	p.CellID, p.Stopping, p.Crashes, p.Waits, p.Problem = i.Cell, i.Stopping, i.Crashes, i.NotBefore, i.Problem
	if p.CellID != "" && p.Launch == nil && !p.Stopping {
		if err := launch(tx, p); err != nil {
			return stale(err)
		}
	}
	if missing {
		return tx.Insert(p)
	}
	return tx.Save(p)
}

func launch(tx cf.Tx, p *cf.Placement) error {
	if p.TaskGUID != "" {
		k, err := cf.Get[cf.Task](tx, p.TaskGUID)
		if err == nil {
			p.Launch, p.Type, p.SpaceGUID = &k.Launch, k.Name, k.SpaceGUID
		}
		return err
	}
	process, err := cf.Get[cf.Process](tx, p.ProcessGUID)
	if err != nil {
		return err
	}
	if process.Version != p.Version || process.Launch == nil {
		return errStale
	}
	p.Launch, p.Type, p.SpaceGUID = process.Launch, process.Type, process.SpaceGUID
	return nil
}

// crashed writes the event that `cf events` shows.
func (t *term) crashed(tx cf.Tx, c scheduler.Crashed) ([]cf.LogLine, error) {
	i := &c.Instance
	data := map[string]any{"instance": i.GUID, "index": i.Index, "cell_id": i.Cell,
		"exit_description": c.Exit.Description, "exit_status": c.Exit.Status, "reason": "CRASHED", "crash_count": c.Count,
		"crash_timestamp": i.Since.UnixNano(), "version": i.Version}
	p, err := t.event(tx, "audit.app.process.crash", i.Process, data)
	if err != nil || p == nil {
		return nil, err
	}
	if _, err := t.event(tx, "app.crash", i.Process, data); err != nil { // its older name, which tools look for
		return nil, err
	}
	return []cf.LogLine{{AppGUID: p.AppGUID, Time: t.l.cfg.Wall(), Source: "API", Instance: "0",
		Text: fmt.Appendf(nil, "Process has crashed with type: %q: instance %d: %s", p.Type, i.Index, c.Exit.Description)}}, nil
}

// note writes the event of an instance that became ready, or ceased to be.
func (t *term) note(tx cf.Tx, n turn) error {
	kind := "audit.app.process.not-ready"
	if n.ready {
		kind = "audit.app.process.ready"
	}
	_, err := t.event(tx, kind, n.process, map[string]any{"instance": n.instance, "index": n.index})
	return err
}

// event writes what happened to a process. It returns the process, or nil when
// the app is gone and with it whoever would read of it.
func (t *term) event(tx cf.Tx, kind, process string, data map[string]any) (*cf.Process, error) {
	p, err := cf.First[cf.Process](tx, cf.Is("guid", process))
	if err != nil || p == nil {
		return nil, err
	}
	a, err := cf.Get[cf.App](tx, p.AppGUID)
	if err != nil {
		return nil, err
	}
	s, err := cf.Get[cf.Space](tx, a.SpaceGUID)
	if err != nil {
		return nil, err
	}
	return p, tx.Insert(&cf.AuditEvent{Type: kind, Actor: cf.Actor{GUID: p.GUID, Type: "process", Name: p.Type},
		Target: cf.Actor{GUID: a.GUID, Type: "app", Name: a.Name}, SpaceGUID: s.GUID, OrgGUID: s.OrgGUID, Data: data})
}

// rolled notes how far a deployment is.
func (t *term) rolled(tx cf.Tx, d scheduler.Deployment) error {
	row, err := cf.Get[cf.Deployment](tx, d.GUID)
	if err != nil {
		return stale(err)
	}
	if row.Status != cf.Active || (row.Reason == "CANCELING") != d.Canceling || row.CanaryStep != d.Step || row.Pausing != d.Pausing {
		return errStale
	}
	reason, problem := row.Reason, ""
	if !d.Canceling {
		reason = "DEPLOYING"
		if d.Paused {
			reason = "PAUSED"
		}
	}
	if d.Down > 0 {
		problem = fmt.Sprintf("%d of the new instances crashed", d.Down)
	}
	if reason == row.Reason && problem == row.Error {
		return nil
	}
	if reason != row.Reason {
		row.ChangedAt = t.l.cfg.Wall().UTC()
	}
	row.Reason, row.Error = reason, problem
	return tx.Save(row)
}

// finished ends a deployment: its own process takes the place of the others, or
// the other way round.
func (t *term) finished(tx cf.Tx, f scheduler.Finished) error {
	row, err := cf.Get[cf.Deployment](tx, f.Deployment.GUID)
	if err != nil {
		return stale(err)
	}
	if row.Status != cf.Active || (row.Reason == "CANCELING") != f.Deployment.Canceling {
		return errStale
	}
	webs, err := cf.List[cf.Process](tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", row.AppGUID), cf.Is("type", "web")}})
	if err != nil {
		return err
	}
	var stays *cf.Process
	for _, p := range webs {
		if f.Deployment.Canceling && p.DeploymentGUID == "" || !f.Deployment.Canceling && p.GUID == row.ProcessGUID {
			stays = p
			continue
		}
		if err := tx.Delete(p); err != nil {
			return err
		}
	}
	if stays != nil && stays.DeploymentGUID != "" {
		stays.DeploymentGUID = ""
		if err := tx.Save(stays); err != nil {
			return err
		}
	}
	row.Status, row.Reason, row.Error, row.ChangedAt = cf.Finalized, f.Reason, "", t.l.cfg.Wall().UTC()
	if err := tx.Save(row); err != nil {
		return err
	}
	if f.Deployment.Canceling {
		return nil
	}
	return t.renew(tx, row)
}

// renew starts the app's other processes anew, from what the deployment brought.
func (t *term) renew(tx cf.Tx, d *cf.Deployment) error {
	a, err := cf.Get[cf.App](tx, d.AppGUID)
	if err != nil {
		return stale(err)
	}
	list, err := cf.List[cf.Process](tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", a.GUID), {Key: "type", Op: cf.NotIn, Values: []any{"web"}}}})
	if err != nil {
		return err
	}
	for _, p := range list {
		l, err := cf.Prepare(tx, t.l.cfg.API, a, p)
		switch cf.KindOf(err) {
		case cf.Conflict, cf.Invalid: // the droplet no longer has the type: nothing of it runs
			l, err = nil, nil
		}
		if err != nil {
			return err
		}
		if l != nil {
			l.RevisionGUID = d.RevisionGUID
		}
		p.Launch, p.Version = l, cf.NewGUID()
		if err := tx.Save(p); err != nil {
			return err
		}
	}
	return nil
}

// task moves a task on. One that has ended stays so.
func (t *term) task(tx cf.Tx, guid, state, failure string) error {
	k, err := cf.First[cf.Task](tx, cf.Is("guid", guid))
	if err != nil || k == nil || k.State == cf.TaskSucceeded || k.State == cf.TaskFailed {
		return err
	}
	if state == cf.TaskRunning && k.State != cf.TaskPending {
		return nil
	}
	k.State, k.FailureReason = state, failure
	return tx.Save(k)
}
