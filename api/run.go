package api

import (
	"context"
	"sync"
	"time"

	"github.com/dewpaas/dew/cf"
)

// Run does what no request waits for, until ctx ends: it speaks with service
// brokers, watches syslog drains and takes away what is too old. Several APIs on
// one ledger may all run.
func (s *Server) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.brokers.Run(ctx) })
	wg.Go(func() { s.runDrains(ctx) })
	wg.Go(func() { s.every(ctx, sweepEvery, "sweep", s.sweep) })
}

func (s *Server) every(ctx context.Context, pause time.Duration, what string, f func(context.Context) error) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("could not "+what, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// How long things are kept that nobody deletes: CAPI's own defaults, but for
// jobs and tasks.
const (
	sweepEvery   = time.Hour
	keepJobs     = 48 * time.Hour
	keepEvents   = 31 * 24 * time.Hour
	keepTasks    = 31 * 24 * time.Hour
	keepDroplets = 5 // of an app, besides its current one
	keepPackages = 5
	keepBlobs    = 24 * time.Hour // after nothing names them any more
	sweepAtOnce  = 500            // records of one noun in one transaction
)

// sweep removes what is old enough, once the clock can be believed: what was made a
// minute ago, and the note that a session was ended, look old to one that was set.
func (s *Server) sweep(ctx context.Context) error {
	if !s.clock.Settled(s.now(), time.Now()) {
		return nil
	}
	before := func(age time.Duration) cf.Cond {
		return cf.Cond{Key: "created_at", Op: cf.Less, Values: []any{s.now().Add(-age).UnixMicro()}}
	}
	for _, f := range []func(tx cf.Tx) (int, error){
		func(tx cf.Tx) (int, error) {
			return drop[cf.Job](tx, before(keepJobs), cf.Is("state", "COMPLETE", "FAILED"))
		},
		func(tx cf.Tx) (int, error) { return drop[cf.AuditEvent](tx, before(keepEvents)) },
		func(tx cf.Tx) (int, error) { return dropUsage[cf.AppUsage](tx, before(s.keepUsage)) },
		func(tx cf.Tx) (int, error) { return dropUsage[cf.ServiceUsage](tx, before(s.keepUsage)) },
		func(tx cf.Tx) (int, error) { return drop[cf.Crash](tx, before(keepEvents)) },
		func(tx cf.Tx) (int, error) {
			return drop[cf.Task](tx, before(keepTasks), cf.Is("state", cf.TaskSucceeded, cf.TaskFailed))
		},
		func(tx cf.Tx) (int, error) {
			return drop[cf.Build](tx, before(keepEvents), cf.Is("state", "STAGED", "FAILED"))
		},
		func(tx cf.Tx) (int, error) {
			return drop[cf.Deployment](tx, before(keepEvents), cf.Is("status_value", cf.Finalized))
		},
		func(tx cf.Tx) (int, error) { return 0, expireOld(tx) },
	} {
		if err := s.inBatches(ctx, f); err != nil {
			return err
		}
	}
	if err := s.uaa.Sweep(ctx); err != nil {
		return err
	}
	return s.sweepBlobs(ctx)
}

// inBatches runs f, each time in a transaction of its own, until it finds less
// than a whole batch: nobody waits long for the ledger, and nothing piles up.
func (s *Server) inBatches(ctx context.Context, f func(tx cf.Tx) (int, error)) error {
	for {
		var n int
		err := s.store.Update(ctx, func(tx cf.Tx) (err error) { n, err = f(tx); return err })
		if err != nil || n < sweepAtOnce {
			return err
		}
	}
}

// drop deletes a batch of the records that meet the conditions, and tells how
// many it was.
func drop[T any, P interface {
	*T
	cf.Record
}](tx cf.Tx, where ...cf.Cond) (int, error) {
	list, err := cf.List[T, P](tx, cf.Query{Where: where, Limit: sweepAtOnce})
	for _, r := range list {
		if err := tx.Delete(r); err != nil {
			return 0, err
		}
	}
	return len(list), err
}

// expireOld marks packages and droplets that their apps will not need again.
// The newest stay, and the droplets that something is made from.
func expireOld(tx cf.Tx) error {
	newest := []cf.Order{{Key: "created_at", Descending: true}}
	packages, err := cf.List[cf.Package](tx, cf.Query{Where: []cf.Cond{cf.Is("state", ready)}, Order: newest})
	if err != nil {
		return err
	}
	building := map[string]bool{}
	builds, err := cf.List[cf.Build](tx, cf.Query{Where: []cf.Cond{cf.Is("state", "STAGING")}})
	if err != nil {
		return err
	}
	for _, b := range builds {
		building[b.PackageGUID] = true
	}
	n := map[string]int{}
	for _, p := range packages {
		if n[p.AppGUID]++; n[p.AppGUID] > keepPackages && !building[p.GUID] {
			p.State = expired
			if err := tx.Save(p); err != nil {
				return err
			}
		}
	}
	used, err := usedDroplets(tx)
	if err != nil {
		return err
	}
	droplets, err := cf.List[cf.Droplet](tx, cf.Query{Where: []cf.Cond{cf.Is("state", "STAGED")}, Order: newest})
	if err != nil {
		return err
	}
	clear(n)
	for _, d := range droplets {
		if used[d.GUID] {
			continue
		}
		if n[d.AppGUID]++; n[d.AppGUID] > keepDroplets {
			d.State = expired
			if err := tx.Save(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// usedDroplets are those that are current, or that instances run from.
func usedDroplets(tx cf.Tx) (map[string]bool, error) {
	used := map[string]bool{}
	apps, err := cf.List[cf.App](tx, cf.Query{})
	if err != nil {
		return nil, err
	}
	for _, a := range apps {
		used[a.DropletGUID] = true
	}
	processes, err := cf.List[cf.Process](tx, cf.Query{})
	if err != nil {
		return nil, err
	}
	for _, p := range processes {
		if p.Launch != nil {
			used[p.Launch.DropletGUID] = true
		}
	}
	tasks, err := cf.List[cf.Task](tx, cf.Query{Where: []cf.Cond{cf.Is("state", cf.TaskPending, cf.TaskRunning, cf.TaskCanceling)}})
	for _, t := range tasks {
		used[t.DropletGUID] = true
	}
	return used, err
}

// sweepBlobs removes the bytes of packages that nothing names.
func (s *Server) sweepBlobs(ctx context.Context) error {
	needed := map[string]bool{}
	before := s.now().Add(-keepBlobs)
	err := s.store.View(ctx, func(tx cf.Tx) error {
		list, err := cf.List[cf.Package](tx, cf.Query{Where: []cf.Cond{cf.Is("state", ready)}})
		for _, p := range list {
			needed[p.Checksum] = true
		}
		return err
	})
	if err != nil {
		return err
	}
	_, err = s.blobs.Sweep(before, func(sum string) bool { return needed[sum] })
	return err
}
