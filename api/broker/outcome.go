package broker

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/dewpaas/dew/cf"
)

func everywhere() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
}

// progressOf is the last operation that a work is.
func (w *Worker) progressOf(old cf.LastOperation, work *cf.ServiceWork, state, about string) cf.LastOperation {
	kinds := map[string]string{cf.Provision: "create", cf.Bind: "create", cf.UpdateOne: "update", cf.Deprovision: "delete", cf.Unbind: "delete"}
	now := w.now().UTC()
	if old.CreatedAt.IsZero() {
		old.CreatedAt = now
	}
	return cf.LastOperation{Type: kinds[work.Verb], State: state, Description: about, CreatedAt: old.CreatedAt, UpdatedAt: now}
}

// onTarget changes the instance or the binding that the work is about, if it is
// still there.
func onTarget(tx cf.Tx, work *cf.ServiceWork, instance func(*cf.ServiceInstance) error, binding func(*cf.ServiceBinding) error) error {
	if work.Orphan {
		return nil
	}
	if work.BindingID == "" {
		i, err := cf.First[cf.ServiceInstance](tx, cf.Is("guid", work.TargetGUID))
		if err != nil || i == nil {
			return err
		}
		return instance(i)
	}
	b, err := cf.First[cf.ServiceBinding](tx, cf.Is("guid", work.TargetGUID))
	if err != nil || b == nil {
		return err
	}
	return binding(b)
}

// waits notes that the broker works on it.
func (w *Worker) waits(ctx context.Context, work *cf.ServiceWork, a answer) error {
	return w.store.Update(ctx, func(tx cf.Tx) error {
		if err := onTarget(tx, work, func(i *cf.ServiceInstance) error {
			i.Last = w.progressOf(i.Last, work, "in progress", a.Description)
			if a.Dashboard != "" {
				i.DashboardURL = a.Dashboard
			}
			return tx.Save(i)
		}, func(b *cf.ServiceBinding) error {
			b.Last = w.progressOf(b.Last, work, "in progress", a.Description)
			return tx.Save(b)
		}); err != nil {
			return err
		}
		now, err := cf.Get[cf.ServiceWork](tx, work.GUID)
		if err != nil {
			return err
		}
		now.Asked = true
		if !work.Asked {
			now.Operation = a.Operation
		}
		wait(now, min(max(a.Later, pause(work.Tries)), longestPause), w.now())
		now.Tries++
		if err := tx.Save(now); err != nil {
			return err
		}
		return onJob(tx, work, func(j *cf.Job) { j.State = "POLLING" })
	})
}

// wait puts the next try off.
func wait(work *cf.ServiceWork, pause time.Duration, now time.Time) {
	work.Due, work.Waited = now.Add(pause), work.Waited+pause
}

// late tells whether a work has waited for as long as it may.
func late(work *cf.ServiceWork) bool { return work.Waited > work.Deadline.Sub(work.CreatedAt) }

// pause is how long to wait before the n-th try: longer each time.
func pause(n int) time.Duration { return min(firstPoll<<min(n, 10), longest) }

func onJob(tx cf.Tx, work *cf.ServiceWork, change func(*cf.Job)) error {
	if work.JobGUID == "" {
		return nil
	}
	j, err := cf.First[cf.Job](tx, cf.Is("guid", work.JobGUID))
	if err != nil || j == nil {
		return err
	}
	change(j)
	return tx.Save(j)
}

// done writes that the broker did it.
func (w *Worker) done(ctx context.Context, work *cf.ServiceWork, a answer) error {
	return w.store.Update(ctx, func(tx cf.Tx) error {
		err := onTarget(tx, work, func(i *cf.ServiceInstance) error {
			if work.Verb == cf.Deprovision {
				return tx.Delete(i)
			}
			i.Last = w.progressOf(i.Last, work, "succeeded", a.Description)
			if a.Dashboard != "" {
				i.DashboardURL = a.Dashboard
			}
			if err := merge(i, work.Then); err != nil {
				return err
			}
			return tx.Save(i)
		}, func(b *cf.ServiceBinding) error {
			if work.Verb == cf.Unbind {
				return tx.Delete(b)
			}
			b.Last = w.progressOf(b.Last, work, "succeeded", a.Description)
			b.Credentials, b.SyslogDrainURL = a.Credentials, a.Drain
			return tx.Save(b)
		})
		if err != nil {
			return err
		}
		if err := tx.Delete(work); err != nil {
			return err
		}
		return settle(tx, work, nil)
	})
}

// failed writes that the broker did not do it. What it may hold all the same is
// cleaned up by new work; work that already is a clean-up is tried again.
func (w *Worker) failed(ctx context.Context, work *cf.ServiceWork, cause error) error {
	var said *Error
	if !errors.As(cause, &said) {
		said = &Error{About: "The request to the service broker failed", Uncertain: true}
		w.log.Error("a request to a broker could not be made", "verb", work.Verb, "err", cause)
	}
	return w.store.Update(ctx, func(tx cf.Tx) error {
		if work.Orphan {
			return w.again(tx, work, said)
		}
		if err := onTarget(tx, work, func(i *cf.ServiceInstance) error {
			i.Last = w.progressOf(i.Last, work, "failed", said.About)
			return tx.Save(i)
		}, func(b *cf.ServiceBinding) error {
			if work.Verb == cf.Bind {
				return tx.Delete(b) // so that it can be asked for again
			}
			b.Last = w.progressOf(b.Last, work, "failed", said.About)
			return tx.Save(b)
		}); err != nil {
			return err
		}
		if err := tx.Delete(work); err != nil {
			return err
		}
		if opposite := map[string]string{cf.Provision: cf.Deprovision, cf.Bind: cf.Unbind}[work.Verb]; said.Uncertain && opposite != "" {
			if err := tx.Insert(w.orphan(work, opposite)); err != nil {
				return err
			}
		}
		return settle(tx, work, said)
	})
}

// orphan is the work that undoes one whose outcome is uncertain.
func (w *Worker) orphan(work *cf.ServiceWork, verb string) *cf.ServiceWork {
	o := *work
	o.Meta = cf.Meta{}
	o.Verb, o.Orphan, o.Asked, o.Operation, o.Tries, o.JobGUID, o.Waited, o.Request, o.Then = verb, true, false, "", 0, "", 0, nil, nil
	o.Due, o.Deadline = w.now(), w.now().Add(cleanUpFor)
	return &o
}

// Orphan is the clean-up of an instance or a binding whose record goes now.
func Orphan(work cf.ServiceWork, now time.Time) *cf.ServiceWork {
	work.Orphan, work.Due, work.Deadline = true, now, now.Add(cleanUpFor)
	return &work
}

func (w *Worker) again(tx cf.Tx, work *cf.ServiceWork, said *Error) error {
	if late(work) {
		w.log.Warn("a broker's orphan is left behind", "broker", work.Broker.Name, "instance", work.InstanceID, "binding", work.BindingID, "err", said.About)
		return tx.Delete(work)
	}
	work.Asked, work.Operation = false, ""
	wait(work, min(longest<<min(work.Tries, 8), longestPause), w.now())
	work.Tries++
	return tx.Save(work)
}

// settle ends the job when no other work has it: a manifest may wait for several
// bindings.
func settle(tx cf.Tx, work *cf.ServiceWork, said *Error) error {
	if work.JobGUID == "" {
		return nil
	}
	all, err := cf.List[cf.ServiceWork](tx, cf.Query{})
	if err != nil {
		return err
	}
	left := false
	for _, other := range all {
		left = left || other.JobGUID == work.JobGUID
	}
	return onJob(tx, work, func(j *cf.Job) {
		if said != nil {
			j.Errors = append(j.Errors, said.job())
		}
		switch {
		case len(j.Errors) > 0:
			j.State = "FAILED"
		case !left:
			j.State = "COMPLETE"
		}
	})
}

// job is the error as CF's clients read it.
func (e *Error) job() cf.JobError {
	switch {
	case e.Word == catalogInvalid:
		return cf.JobError{Code: 270012, Title: "CF-ServiceBrokerCatalogInvalid", Detail: e.About}
	case e.Word == "AsyncRequired":
		return cf.JobError{Code: 10001, Title: "CF-AsyncRequired", Detail: e.About}
	case e.Status == 401:
		return cf.JobError{Code: 10001, Title: "CF-ServiceBrokerApiAuthenticationFailed", Detail: e.About}
	case e.Status == 409:
		return cf.JobError{Code: 10001, Title: "CF-ServiceBrokerConflict", Detail: e.About}
	case e.Status == 0 && e.Uncertain:
		return cf.JobError{Code: 10001, Title: "CF-ServiceBrokerApiTimeout", Detail: e.About}
	case e.Status == 0:
		return cf.JobError{Code: 10001, Title: "CF-ServiceBrokerApiUnreachable", Detail: e.About}
	}
	return cf.JobError{Code: 10001, Title: "CF-ServiceBrokerRequestRejected", Detail: e.About}
}
