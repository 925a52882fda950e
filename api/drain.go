package api

import (
	"context"
	"sync"
	"time"

	"github.com/dewpaas/dew/api/logcache"
	"github.com/dewpaas/dew/cf"
)

// All APIs of a foundation have all lines, and one of them sends them to syslog
// drains: the one that holds a lease. Who takes it over begins with the lines since
// the last sign of the one before, so a line may come twice then, but not get lost.

// drainsLease is the guid of the lease.
const drainsLease = "drains"

const (
	// drainsEvery is how soon another API's change of bindings is seen by one that
	// has the ledger for itself.
	drainsEvery = 30 * time.Second
	// drainsBeat is how often a lease is looked at, and drainsPatience how long one
	// that does not move is respected.
	drainsBeat     = 5 * time.Second
	drainsPatience = 15 * time.Second
)

// duty is whether it is this API that sends.
type duty struct {
	mu    sync.Mutex // guards what follows, and who tells the log cache
	held  bool       // from the beginning where there is no other API
	watch cf.LeaseWatch
}

// runDrains keeps the drains as the ledger has them, until ctx ends.
func (s *Server) runDrains(ctx context.Context) {
	if s.holder == "" {
		s.every(ctx, drainsEvery, "refresh the syslog drains", s.refreshDrains)
		return
	}
	s.every(ctx, drainsBeat, "refresh the syslog drains", func(ctx context.Context) error { return s.watchDrains(ctx, time.Now()) })
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainsBeat)
	defer cancel()
	if err := s.yieldDrains(last); err != nil {
		s.log.Warn("the lease on syslog drains was not given back, others wait for its end", "err", err)
	}
}

// watchDrains takes or keeps the lease if it may. An API that does not reach the
// ledger goes on as it did.
func (s *Server) watchDrains(ctx context.Context, now time.Time) error {
	s.duty.mu.Lock()
	defer s.duty.mu.Unlock()
	var held bool
	var missed time.Duration // since the last sign of who held it before; 0: nobody did
	err := s.store.Update(ctx, func(tx cf.Tx) error {
		held, missed = true, 0
		l, err := cf.Get[cf.Lease](tx, drainsLease)
		if cf.KindOf(err) == cf.NotFound {
			return tx.Insert(&cf.Lease{Meta: cf.Meta{GUID: drainsLease}, Holder: s.holder, Token: 1})
		}
		if err != nil {
			return err
		}
		if l.Holder == s.holder {
			l.Beat++
			return tx.Save(l)
		}
		idle := s.duty.watch.Idle(l, now)
		if held = l.Holder == "" || idle >= drainsPatience; !held {
			return nil
		}
		l.Holder, missed = s.holder, idle+drainsBeat
		l.Token++
		return tx.Save(l)
	})
	if err != nil {
		return err
	}
	s.duty.held = held
	if missed == 0 {
		return s.tellDrains(ctx, time.Time{})
	}
	return s.tellDrains(ctx, s.now().Add(-missed))
}

// yieldDrains gives the lease back, so that another need not wait for its end.
func (s *Server) yieldDrains(ctx context.Context) error {
	s.duty.mu.Lock()
	defer s.duty.mu.Unlock()
	s.duty.held = false
	s.logs.SetDrains(nil, time.Time{})
	return s.store.Update(ctx, func(tx cf.Tx) error {
		l, err := cf.Get[cf.Lease](tx, drainsLease)
		if err != nil || l.Holder != s.holder {
			return err
		}
		l.Holder = ""
		return tx.Save(l)
	})
}

// refreshDrains follows a change of bindings at once, where it is this API that sends.
func (s *Server) refreshDrains(ctx context.Context) error {
	s.duty.mu.Lock()
	defer s.duty.mu.Unlock()
	return s.tellDrains(ctx, time.Time{})
}

// tellDrains tells the log cache where lines go. Drains that are new to it begin
// with the lines since then, or with the next. The caller holds duty.mu.
func (s *Server) tellDrains(ctx context.Context, since time.Time) error {
	if !s.duty.held {
		s.logs.SetDrains(nil, time.Time{})
		return nil
	}
	drains, err := s.drains(ctx)
	if err == nil {
		s.logs.SetDrains(drains, since)
	}
	return err
}

// drains are those of all apps, as the ledger has them now.
func (s *Server) drains(ctx context.Context) ([]logcache.Drain, error) {
	var drains []logcache.Drain
	err := s.store.View(ctx, func(tx cf.Tx) error {
		drains = nil
		bindings, err := cf.List[cf.ServiceBinding](tx, cf.Query{Where: []cf.Cond{cf.Is("type", "app")}})
		if err != nil {
			return err
		}
		instances := map[string]*cf.ServiceInstance{}
		for _, b := range bindings {
			i := instances[b.InstanceGUID]
			if i == nil {
				if i, err = cf.Get[cf.ServiceInstance](tx, b.InstanceGUID); err != nil {
					return err
				}
				instances[b.InstanceGUID] = i
			}
			url := cf.Bound{Binding: b, Instance: i}.Drain()
			if url == "" {
				continue
			}
			a, err := cf.Get[cf.App](tx, b.AppGUID)
			if err != nil {
				return err
			}
			p, err := cf.PlaceOf(tx, s.url, a)
			if err != nil {
				return err
			}
			drains = append(drains, logcache.Drain{App: a.GUID, Host: p.Org.Name + "." + p.Space.Name + "." + a.Name, URL: url})
		}
		return nil
	})
	return drains, err
}
