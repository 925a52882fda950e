package store

import (
	"fmt"
	"time"

	"github.com/dewpaas/dew/cf"
)

// The ledger records usage itself, so that no writer can forget to, and what a
// transaction changed and the event of it are on disk together or not at all.
// Records that the database deletes with others are looked for before they go.

// metered is an empty record of the noun of r if changes of it may be usage.
func metered(r cf.Record) cf.Record {
	switch r.(type) {
	case *cf.Organization:
		return new(cf.Organization)
	case *cf.Space:
		return new(cf.Space)
	case *cf.App:
		return new(cf.App)
	case *cf.Process:
		return new(cf.Process)
	case *cf.Task:
		return new(cf.Task)
	case *cf.Build:
		return new(cf.Build)
	case *cf.ServiceInstance:
		return new(cf.ServiceInstance)
	}
	return nil
}

// before is the metered record as it is in the ledger, or nil.
func (t *tx) before(r cf.Record) (cf.Record, error) {
	old := metered(r)
	if old == nil {
		return nil, nil
	}
	err := t.Load(old, r.Base().GUID)
	if cf.KindOf(err) == cf.NotFound {
		return nil, nil // whoever asked is told by the statement that follows
	}
	return old, err
}

// came records the usage of a new record.
func (t *tx) came(r cf.Record) error {
	switch r := r.(type) {
	case *cf.Process:
		a, err := cf.Get[cf.App](t, r.AppGUID)
		if err != nil {
			return err
		}
		return t.process(a, r, cf.Meter{}, cf.MeterOf(a.State, r))
	case *cf.Task:
		return t.task(r, "")
	case *cf.Build:
		if r.State == "STAGING" {
			return t.build(r, cf.StagingStarted, r.State)
		}
	case *cf.ServiceInstance:
		return t.instance(r, cf.UsageCreated)
	}
	return nil
}

// became records the usage of a record that was old.
func (t *tx) became(old, r cf.Record) error {
	switch r := r.(type) {
	case *cf.App:
		return t.app(r, old.(*cf.App).State, func(p *cf.Process) cf.Meter { return cf.MeterOf(r.State, p) })
	case *cf.Process:
		a, err := cf.Get[cf.App](t, r.AppGUID)
		if err != nil {
			return err
		}
		return t.process(a, r, cf.MeterOf(a.State, old.(*cf.Process)), cf.MeterOf(a.State, r))
	case *cf.Task:
		return t.task(r, old.(*cf.Task).State)
	case *cf.Build:
		return t.staged(r, old.(*cf.Build).State)
	case *cf.ServiceInstance:
		if was := old.(*cf.ServiceInstance); was.Name != r.Name || was.PlanGUID != r.PlanGUID {
			return t.instance(r, cf.UsageUpdated)
		}
	}
	return nil
}

// goes records the usage of a record that is about to be deleted, and of those
// that go with it.
func (t *tx) goes(old cf.Record) error {
	switch old := old.(type) {
	case *cf.Organization:
		return each(t, cf.Is("organization_guid", old.GUID), func(s *cf.Space) error { return t.goes(s) })
	case *cf.Space:
		if err := each(t, cf.Is("space_guid", old.GUID), func(a *cf.App) error { return t.goes(a) }); err != nil {
			return err
		}
		return each(t, cf.Is("space_guid", old.GUID), func(i *cf.ServiceInstance) error { return t.goes(i) })
	case *cf.App:
		if err := t.app(old, old.State, func(p *cf.Process) cf.Meter { return cf.MeterOf(old.State, p).Gone() }); err != nil {
			return err
		}
		in := cf.Is("app_guid", old.GUID)
		if err := each(t, in, func(k *cf.Task) error { return t.goes(k) }, cf.Is("state", cf.TaskRunning, cf.TaskCanceling)); err != nil {
			return err
		}
		return each(t, in, func(b *cf.Build) error { return t.goes(b) }, cf.Is("state", "STAGING"))
	case *cf.Process:
		a, err := cf.Get[cf.App](t, old.AppGUID)
		if err != nil {
			return err
		}
		m := cf.MeterOf(a.State, old)
		return t.process(a, old, m, m.Gone())
	case *cf.Task:
		gone := *old
		gone.State = cf.TaskFailed // as far as it ran
		return t.task(&gone, old.State)
	case *cf.Build:
		if old.State == "STAGING" {
			return t.build(old, cf.StagingStopped, old.State)
		}
	case *cf.ServiceInstance:
		return t.instance(old, cf.UsageDeleted)
	}
	return nil
}

func each[T any, P interface {
	*T
	cf.Record
}](t *tx, where cf.Cond, f func(P) error, more ...cf.Cond) error {
	list, err := cf.List[T, P](t, cf.Query{Where: append(more, where), Order: []cf.Order{{Key: "created_at"}}})
	if err != nil {
		return err
	}
	for _, r := range list {
		if err := f(r); err != nil {
			return err
		}
	}
	return nil
}

// app records what its state, which was before, makes of its processes.
func (t *tx) app(a *cf.App, before string, to func(*cf.Process) cf.Meter) error {
	if before != cf.Started && a.State != cf.Started {
		return nil
	}
	return each(t, cf.Is("app_guid", a.GUID), func(p *cf.Process) error { return t.process(a, p, cf.MeterOf(before, p), to(p)) })
}

func (t *tx) process(a *cf.App, p *cf.Process, from, to cf.Meter) error {
	if !from.Turns(to) {
		return nil
	}
	u, err := cf.ProcessUsage(t, a, p, from, to)
	if err != nil {
		return err
	}
	return t.insert(u)
}

// task records that a task began, and that it ended if it had begun. One that
// succeeded ran, even if nobody saw it run.
func (t *tx) task(k *cf.Task, before string) error {
	ended := func(state string) bool { return state == cf.TaskSucceeded || state == cf.TaskFailed }
	if k.State == before || ended(before) || k.State != cf.TaskRunning && !ended(k.State) {
		return nil
	}
	began := before == cf.TaskRunning
	if !began {
		n, err := t.Count(new(cf.AppUsage), cf.Query{Where: []cf.Cond{cf.Is("task_guid", k.GUID)}})
		if err != nil {
			return err
		}
		began = n > 0
	}
	if !began && k.State != cf.TaskFailed {
		if err := t.taskEvent(k, cf.TaskStarted, before); err != nil {
			return err
		}
		began = true
	}
	if !began || !ended(k.State) {
		return nil
	}
	return t.taskEvent(k, cf.TaskStopped, before)
}

func (t *tx) taskEvent(k *cf.Task, state, before string) error {
	u, err := cf.TaskUsage(t, k, state, before)
	if err != nil {
		return err
	}
	return t.insert(u)
}

// staged records that a build has ended, and what it made.
func (t *tx) staged(b *cf.Build, before string) error {
	if before != "STAGING" || b.State == before {
		return nil
	}
	if err := t.build(b, cf.StagingStopped, before); err != nil || b.State != "STAGED" {
		return err
	}
	return t.build(b, cf.BuildpackSet, b.State)
}

func (t *tx) build(b *cf.Build, state, before string) error {
	u, err := cf.BuildUsage(t, b, state, before)
	if err != nil {
		return err
	}
	return t.insert(u)
}

func (t *tx) instance(i *cf.ServiceInstance, state string) error {
	u, err := cf.InstanceUsage(t, i, state)
	if err != nil {
		return err
	}
	return t.insert(u)
}

// instant is when a new record is made, in microseconds: what its column keeps,
// so that memory and disk agree. Instants of usage events only rise, whatever the
// clocks of several machines say: who reads on after the newest event that he has
// seen misses none, because updates are serializable.
func (t *tx) instant(r cf.Record) (time.Time, error) {
	now := t.db.now().UTC().Truncate(time.Microsecond)
	switch r.(type) {
	case *cf.AppUsage, *cf.ServiceUsage:
	default:
		return now, nil
	}
	var last *int64
	err := t.sql.QueryRowContext(t.ctx, fmt.Sprintf("SELECT MAX(created_at) FROM %s", r.Noun())).Scan(&last)
	if err != nil {
		return now, t.db.fail("newest of "+string(r.Noun()), err)
	}
	if last != nil && *last >= now.UnixMicro() {
		now = time.UnixMicro(*last + 1).UTC()
	}
	return now, nil
}
