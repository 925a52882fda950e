package desk

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/identity"
)

// Bounds of a line, and of how many come at once. A cell cuts lines at 60 KiB.
const (
	maxText  = 64 << 10
	maxWord  = 300
	maxBatch = 10_000
)

// How long a peer may write lines of an app after it was found to be its own: what
// is said last comes when the ledger has forgotten already. A build may be long.
const (
	linesAfter = time.Minute
	linesBuild = time.Hour
)

// lines takes those that the peer may write and leaves the others out.
func (d *Desk) lines(ctx context.Context, p *peer, list []cf.LogLine) error {
	if len(list) > maxBatch {
		return cf.Errorf("take lines", cf.Invalid, "%d lines are more than %d", len(list), maxBatch)
	}
	var bad error
	list = slices.DeleteFunc(list, func(l cf.LogLine) bool {
		if bad != nil || !speaks(p.Role, l.Source) || len(l.Text) > maxText || len(l.Source) > maxWord || len(l.Instance) > maxWord || len(l.AppGUID) > maxWord {
			return true
		}
		ok, err := d.mayLog(ctx, p, l.AppGUID)
		bad = err
		return !ok
	})
	if bad != nil {
		return fmt.Errorf("take lines: %w", bad)
	}
	if len(list) > 0 {
		d.cfg.Lines(list)
	}
	return nil
}

// speaks tells whether a role writes lines of that source.
func speaks(role, source string) bool {
	switch role {
	case identity.Cell:
		return source == "CELL" || source == "HEALTH" || strings.HasPrefix(source, "APP/")
	case identity.Router:
		return source == "RTR"
	case identity.Stager:
		return source == "STG"
	}
	return false
}

// mayLog tells whether an app is the peer's to write lines of.
func (d *Desk) mayLog(ctx context.Context, p *peer, app string) (bool, error) {
	now := time.Now()
	p.mu.Lock()
	until := p.apps[app]
	p.mu.Unlock()
	if now.Before(until) {
		return true, nil
	}
	ok, err := d.owns(ctx, p, app)
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok {
		p.apps[app] = now.Add(linesAfter)
	} else {
		delete(p.apps, app)
	}
	return ok, err
}

// owns asks the ledger.
func (d *Desk) owns(ctx context.Context, p *peer, app string) (ok bool, err error) {
	err = d.cfg.Ledger(p.Peer).View(ctx, func(tx cf.Tx) error {
		switch p.Role {
		case identity.Cell: // an instance of it is placed there
			r, err := cf.First[cf.Placement](tx, cf.Is("app_guid", app), cf.Is("cell_id", p.Name))
			ok = r != nil
			return err
		case identity.Router: // a route leads to it
			r, err := cf.First[cf.Destination](tx, cf.Is("app_guid", app))
			ok = r != nil
			return err
		}
		r, err := cf.First[cf.App](tx, cf.Is("guid", app)) // a stager sees those that it builds
		ok = r != nil
		return err
	})
	return ok, err
}

// admit lets a stager write lines of the app that it begins to build.
func (d *Desk) admit(ctx context.Context, p *peer, build string) error {
	var b *cf.Build
	err := d.cfg.Ledger(p.Peer).View(ctx, func(tx cf.Tx) (err error) { b, err = cf.First[cf.Build](tx, cf.Is("guid", build)); return err })
	if err != nil || b == nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apps[b.AppGUID] = time.Now().Add(linesBuild)
	return nil
}
