package cell

import (
	"context"

	"github.com/dewpaas/dew/cf"
)

// Ledger is all that a cell asks of the ledger and tells it: a Direct, or what
// brings the questions to one on another machine. Each call sees or makes one state
// of the ledger. It is safe for concurrent use.
type Ledger interface {
	// Join tells which cell this is, and returns the reports that it has written
	// before. It fails as Conflict when another cell has an overlapping network for
	// its guests.
	Join(ctx context.Context, c *cf.Cell) ([]*cf.Report, error)
	// Placed are the placements of this cell.
	Placed(ctx context.Context) ([]*cf.Placement, error)
	// Around is what says who may talk to whom: apps, spaces, security groups and
	// their bindings, network policies, domains, routes and destinations, reports
	// and placements of other cells' instances, and the foundation's own setting.
	Around(ctx context.Context) (cf.Extract, error)
	// Tell writes all of the news, or fails and writes nothing. What is said of
	// instances that are not placed on this cell is left out.
	Tell(ctx context.Context, n News) error
}

// News is what a cell has to say at one time.
type News struct {
	// Cell is a sign of life; nil: none is due.
	Cell *cf.Cell `json:"cell,omitempty"`
	// Reports take the place of those that are there, by GUID.
	Reports []*cf.Report `json:"reports,omitempty"`
	// Gone are the GUIDs of reports to take away.
	Gone []string `json:"gone,omitempty"`
	// Crashes are kept, a few of each app.
	Crashes []*cf.Crash `json:"crashes,omitempty"`
}
