package feed

import (
	"context"
	"sync"

	"github.com/dewpaas/dew/cf"
)

// Ledger is all that a router asks of the ledger: a Direct, or what brings the
// question to one on another machine. It is safe for concurrent use.
type Ledger interface {
	// Routing is what says which hosts lead where: domains, routes, destinations,
	// placements, and reports of instances that run. What those hold beside that may
	// be left out.
	Routing(ctx context.Context) (cf.Extract, error)
}

// Direct is a Ledger over the ledger itself.
type Direct struct {
	Store cf.Store

	mu           sync.Mutex // guards what the ledger said last
	reports      cf.Memo[cf.Report, *cf.Report]
	placements   cf.Memo[cf.Placement, *cf.Placement]
	destinations cf.Memo[cf.Destination, *cf.Destination]
	routes       cf.Memo[cf.Route, *cf.Route]
	domains      cf.Memo[cf.Domain, *cf.Domain]
}

var _ Ledger = (*Direct)(nil)

// Routing implements Ledger.
func (d *Direct) Routing(ctx context.Context) (e cf.Extract, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	err = d.Store.View(ctx, func(tx cf.Tx) error {
		e = cf.Extract{}
		if err := d.reports.Into(e, tx, cf.Query{Where: []cf.Cond{cf.Is("state", cf.InstanceRunning)}}); err != nil {
			return err
		}
		for _, into := range []func(cf.Extract, cf.Tx, cf.Query) error{d.placements.Into, d.destinations.Into, d.routes.Into, d.domains.Into} {
			if err := into(e, tx, cf.Query{}); err != nil {
				return err
			}
		}
		return nil
	})
	return e, err
}
