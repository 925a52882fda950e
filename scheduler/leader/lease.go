package leader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dewpaas/dew/cf"
)

// errDeposed says that another leader took the lease.
var errDeposed = errors.New("another scheduler has taken the lease")

// acquire waits until the lease is ours and returns its token. A lease that we
// held before is ours at once: two processes never have the same holder's name.
func (l *Leader) acquire(ctx context.Context) (token int64, err error) {
	var watch cf.LeaseWatch
	for {
		taken := false
		err := l.cfg.Store.Update(ctx, func(tx cf.Tx) error {
			taken = false
			lease, err := cf.Get[cf.Lease](tx, cf.SchedulerLease)
			if cf.KindOf(err) == cf.NotFound {
				taken, token = true, 1
				return tx.Insert(&cf.Lease{Meta: cf.Meta{GUID: cf.SchedulerLease}, Holder: l.cfg.Holder, Token: 1})
			}
			if err != nil {
				return err
			}
			idle := watch.Idle(lease, time.Now())
			if lease.Holder != l.cfg.Holder && lease.Holder != "" && idle < l.cfg.Patience {
				return nil
			}
			lease.Holder = l.cfg.Holder
			lease.Token++
			taken, token = true, lease.Token
			return tx.Save(lease)
		})
		if err == nil && taken {
			return token, nil
		}
		if err != nil && ctx.Err() == nil {
			l.complain("the ledger cannot be written, nothing is scheduled", err)
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(l.cfg.Patience / 5):
		}
	}
}

// resign gives the lease back, so that another need not wait for its end.
func (l *Leader) resign(ctx context.Context, token int64) error {
	return l.cfg.Store.Update(ctx, func(tx cf.Tx) error {
		lease, err := cf.Get[cf.Lease](tx, cf.SchedulerLease)
		if err != nil || lease.Token != token {
			return err
		}
		lease.Holder = ""
		return tx.Save(lease)
	})
}

// fence lets a transaction go on only while the lease is ours, and counts.
func fence(tx cf.Tx, token int64) error {
	lease, err := cf.Get[cf.Lease](tx, cf.SchedulerLease)
	if err != nil {
		return fmt.Errorf("look at the lease: %w", err)
	}
	if lease.Token != token {
		return errDeposed
	}
	lease.Beat++
	return tx.Save(lease)
}
