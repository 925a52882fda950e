package leader

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/dewpaas/dew/cf"
)

// Runtime tells the API what instances there are and takes its wishes.
type Runtime struct {
	Store cf.Store
	// Sync returns when what the ledger says now was scheduled; nil where
	// nobody here leads.
	Sync func(context.Context) error
	// Rewire returns when who may talk to whom is in force as the ledger says
	// now; nil where no cell is near.
	Rewire func(context.Context) error
	// Usage is what instances use, by their GUIDs, as far as it is known here.
	Usage func() map[string]cf.Usage
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// patience bounds how long the API waits for what only makes its answer fresh.
const patience = 3 * time.Second

// Changed lets what the ledger says become true. What does not happen in time
// happens later: the ledger is the truth, not this call.
func (r *Runtime) Changed(ctx context.Context, appGUID string) error {
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, f := range []func(context.Context) error{r.Sync, r.Rewire} {
		if f != nil {
			f(soon)
		}
	}
	return ctx.Err()
}

// Stop has one instance ended and its place filled again.
func (r *Runtime) Stop(ctx context.Context, processGUID string, index int) error {
	err := r.Store.Update(ctx, func(tx cf.Tx) error {
		list, err := cf.List[cf.Placement](tx, cf.Query{Where: []cf.Cond{cf.Is("process_guid", processGUID)}})
		if err != nil {
			return err
		}
		for _, p := range list {
			if p.Index != index || p.Stopping {
				continue
			}
			if old, err := cf.First[cf.Restart](tx, cf.Is("guid", p.GUID)); err != nil || old != nil {
				return err
			}
			return tx.Insert(&cf.Restart{Meta: cf.Meta{GUID: p.GUID}})
		}
		return cf.Errorf("restart instance", cf.NotFound, "process %s has no instance %d", processGUID, index)
	})
	if err != nil {
		return err
	}
	return r.Changed(ctx, "")
}

// Instances tells what the instances of a process are, one for each index.
func (r *Runtime) Instances(ctx context.Context, processGUID string) ([]cf.ActualLRP, error) {
	var list []cf.ActualLRP
	now := time.Now()
	if r.Now != nil {
		now = r.Now()
	}
	err := r.Store.View(ctx, func(tx cf.Tx) error {
		list = nil
		placements, err := cf.List[cf.Placement](tx, cf.Query{Where: []cf.Cond{cf.Is("process_guid", processGUID)}})
		if err != nil {
			return err
		}
		for _, p := range placements {
			report, err := cf.First[cf.Report](tx, cf.Is("guid", p.GUID))
			if err != nil {
				return err
			}
			list = append(list, actual(p, report, now))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Of two that have one place the better is shown: the other is leaving it.
	slices.SortStableFunc(list, func(a, b cf.ActualLRP) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(rank(b), rank(a)), b.Since.Compare(a.Since))
	})
	list = slices.CompactFunc(list, func(a, b cf.ActualLRP) bool { return a.Index == b.Index })
	r.measure(list)
	return list, nil
}

func (r *Runtime) measure(list []cf.ActualLRP) {
	if r.Usage == nil {
		return
	}
	usage := r.Usage()
	for i := range list {
		u := usage[list[i].InstanceGUID]
		list[i].CPU, list[i].Entitled, list[i].MemoryBytes, list[i].DiskBytes, list[i].LogRate = u.CPU, u.Entitled, u.MemoryBytes, u.DiskBytes, u.LogRate
	}
}

func rank(l cf.ActualLRP) int {
	return slices.Index([]string{cf.InstanceStopping, cf.InstanceCrashed, cf.InstanceDown, cf.InstanceStarting, cf.InstanceRunning}, l.State)
}

// actual puts placement and report together.
func actual(p *cf.Placement, r *cf.Report, now time.Time) cf.ActualLRP {
	l := cf.ActualLRP{ProcessGUID: p.ProcessGUID, Version: p.Version, InstanceGUID: p.GUID, Index: p.Index, CellID: p.CellID, Since: p.CreatedAt, Details: p.Problem}
	if r != nil {
		l.Address = r.Address
	}
	switch {
	case p.Stopping:
		l.State, l.Since = cf.InstanceStopping, p.UpdatedAt
	case p.CellID == "" && p.Crashes > 0 && p.Waits.After(now):
		l.State = cf.InstanceCrashed
	case p.CellID == "":
		l.State = cf.InstanceDown
	case r == nil:
		l.State, l.Since = cf.InstanceStarting, p.UpdatedAt
	case r.State == cf.InstanceEnded:
		l.State, l.Since, l.Details = cf.InstanceCrashed, r.Since, r.Details
	default:
		l.State, l.Since, l.Details, l.Routable = r.State, r.Since, r.Details, r.Routable
	}
	return l
}
