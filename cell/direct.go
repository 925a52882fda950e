package cell

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"github.com/dewpaas/dew/cf"
)

// Direct is a Ledger over the ledger itself.
type Direct struct {
	Store cf.Store
	ID    string // of the cell
	// Alone: there is no other cell, whose network could overlap.
	Alone bool

	placing sync.Mutex // guards placed
	placed  cf.Memo[cf.Placement, *cf.Placement]
	looking sync.Mutex // guards around
	around  around
}

var _ Ledger = (*Direct)(nil)

// around is what the ledger said last about who may talk to whom.
type around struct {
	apps         cf.Memo[cf.App, *cf.App]
	spaces       cf.Memo[cf.Space, *cf.Space]
	groups       cf.Memo[cf.SecurityGroup, *cf.SecurityGroup]
	bindings     cf.Memo[cf.GroupBinding, *cf.GroupBinding]
	policies     cf.Memo[cf.NetworkPolicy, *cf.NetworkPolicy]
	domains      cf.Memo[cf.Domain, *cf.Domain]
	routes       cf.Memo[cf.Route, *cf.Route]
	destinations cf.Memo[cf.Destination, *cf.Destination]
	reports      cf.Memo[cf.Report, *cf.Report]
	placements   cf.Memo[cf.Placement, *cf.Placement]
	settings     cf.Memo[cf.Setting, *cf.Setting]
}

// Join implements Ledger.
func (d *Direct) Join(ctx context.Context, c *cf.Cell) (list []*cf.Report, err error) {
	err = d.Store.View(ctx, func(tx cf.Tx) error {
		if err := d.alone(tx, c); err != nil {
			return err
		}
		list, err = cf.List[cf.Report](tx, cf.Query{Where: []cf.Cond{cf.Is("cell_id", d.ID)}})
		return err
	})
	return list, err
}

// Placed implements Ledger.
func (d *Direct) Placed(ctx context.Context) (list []*cf.Placement, err error) {
	d.placing.Lock()
	defer d.placing.Unlock()
	err = d.Store.View(ctx, func(tx cf.Tx) error {
		list, err = d.placed.List(tx, cf.Query{Where: []cf.Cond{cf.Is("cell_id", d.ID)}})
		return err
	})
	return list, err
}

// Around implements Ledger.
func (d *Direct) Around(ctx context.Context) (cf.Extract, error) {
	d.looking.Lock()
	defer d.looking.Unlock()
	var e cf.Extract
	a := &d.around
	err := d.Store.View(ctx, func(tx cf.Tx) error {
		e = cf.Extract{}
		for _, into := range []func(cf.Extract, cf.Tx, cf.Query) error{a.apps.Into, a.spaces.Into, a.groups.Into, a.bindings.Into, a.policies.Into,
			a.domains.Into, a.routes.Into, a.destinations.Into} {
			if err := into(e, tx, cf.Query{}); err != nil {
				return err
			}
		}
		if err := a.settings.Into(e, tx, cf.Query{Where: []cf.Cond{cf.Is("guid", cf.FoundationSetting)}}); err != nil {
			return err
		}
		return a.others(e, tx, d.ID)
	})
	return e, err
}

// others are the instances of other cells, as far as anybody here may have to know
// them.
func (a *around) others(e cf.Extract, tx cf.Tx, cell string) error {
	if err := a.reports.Into(e, tx, cf.Query{Where: []cf.Cond{{Key: "cell_id", Op: cf.NotIn, Values: []any{cell}}}}); err != nil {
		return err
	}
	var guids []string
	for _, r := range cf.Of[cf.Report](e) {
		guids = append(guids, r.GUID)
	}
	q := cf.Query{}
	if len(guids) <= cf.MaxValues {
		q.Where = []cf.Cond{cf.Is("guid", guids...)}
	}
	return a.placements.Into(e, tx, q)
}

// Tell implements Ledger.
func (d *Direct) Tell(ctx context.Context, n News) error {
	if slices.Contains(n.Reports, nil) || slices.Contains(n.Crashes, nil) {
		return cf.Errorf("take news", cf.Invalid, "there is nothing in the place of a report or a crash")
	}
	return d.Store.Update(ctx, func(tx cf.Tx) error {
		if n.Cell != nil {
			if err := d.register(tx, n.Cell); err != nil {
				return err
			}
		}
		for _, r := range n.Reports {
			if err := d.report(tx, r); err != nil {
				return err
			}
		}
		for _, guid := range n.Gone {
			if err := d.gone(tx, guid); err != nil {
				return err
			}
		}
		for _, c := range n.Crashes {
			if err := d.keepCrash(tx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// ours is the placement of an instance on this cell, nil if it has none.
func (d *Direct) ours(tx cf.Tx, guid string) (*cf.Placement, error) {
	return cf.First[cf.Placement](tx, cf.Is("guid", guid), cf.Is("cell_id", d.ID))
}

func (d *Direct) report(tx cf.Tx, r *cf.Report) error {
	p, err := d.ours(tx, r.GUID)
	if err != nil || p == nil {
		return err // what has no placement any more, nobody asks for
	}
	n := *r
	n.CellID, n.AppGUID = d.ID, p.AppGUID
	old, err := cf.First[cf.Report](tx, cf.Is("guid", r.GUID))
	if err != nil {
		return err
	}
	if old == nil {
		n.Meta = cf.Meta{GUID: r.GUID}
		return tx.Insert(&n)
	}
	n.Meta = old.Meta
	return tx.Save(&n)
}

func (d *Direct) gone(tx cf.Tx, guid string) error {
	old, err := cf.First[cf.Report](tx, cf.Is("guid", guid), cf.Is("cell_id", d.ID))
	if err != nil || old == nil {
		return err
	}
	return tx.Delete(old)
}

// register says in the ledger that the cell lives.
func (d *Direct) register(tx cf.Tx, c *cf.Cell) error {
	if err := d.alone(tx, c); err != nil {
		return err
	}
	row, err := cf.First[cf.Cell](tx, cf.Is("guid", d.ID))
	if err != nil {
		return err
	}
	missing := row == nil
	if missing {
		row = &cf.Cell{Meta: cf.Meta{GUID: d.ID}}
	}
	row.Zone, row.MemoryMB, row.DiskMB, row.Tenders, row.Guests = c.Zone, c.MemoryMB, c.DiskMB, c.Tenders, c.Guests
	row.Beat++
	if missing {
		return tx.Insert(row)
	}
	return tx.Save(row)
}

// alone refuses a network of guests that another cell has too: who may talk to
// whom is told by addresses, and one's guests would be taken for the other's.
func (d *Direct) alone(tx cf.Tx, c *cf.Cell) error {
	if d.Alone {
		return nil
	}
	own, err := netip.ParsePrefix(c.Guests)
	if err != nil {
		return cf.Errorf("join the foundation", cf.Invalid, "%q is no network for guests", c.Guests)
	}
	list, err := cf.List[cf.Cell](tx, cf.Query{})
	for _, other := range list {
		p, bad := netip.ParsePrefix(other.Guests)
		if other.GUID != d.ID && bad == nil && p.Overlaps(own) {
			return cf.Errorf("join the foundation", cf.Conflict, "cell %s has the network %s for its guests, which overlaps %s: give this cell another one (--guests)", other.GUID, p, own)
		}
	}
	return err
}

// keptCrashes is how many crashes of one app are kept.
const keptCrashes = 5

// keepCrash writes what is kept of a crash, in the place of the app's oldest.
func (d *Direct) keepCrash(tx cf.Tx, c *cf.Crash) error {
	if p, err := d.ours(tx, c.GUID); err != nil || p == nil || p.AppGUID != c.AppGUID {
		return err
	}
	app, err := cf.First[cf.App](tx, cf.Is("guid", c.AppGUID))
	if err != nil || app == nil { // deleted meanwhile
		return err
	}
	if old, err := cf.First[cf.Crash](tx, cf.Is("guid", c.GUID)); err != nil || old != nil {
		return err
	}
	kept := *c
	kept.Meta, kept.CellID = cf.Meta{GUID: c.GUID}, d.ID
	if err := tx.Insert(&kept); err != nil {
		return err
	}
	old, err := cf.List[cf.Crash](tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", c.AppGUID)}, Order: []cf.Order{{Key: "created_at", Descending: true}}, Offset: keptCrashes, Limit: 100})
	for _, o := range old {
		if err := tx.Delete(o); err != nil {
			return err
		}
	}
	return err
}
