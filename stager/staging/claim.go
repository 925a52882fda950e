package staging

import (
	"context"
	"errors"
	"time"

	"github.com/dewpaas/dew/cf"
)

// errTaken says that another stager does the build.
var errTaken = errors.New("another stager has taken the build")

// free are the builds that are to be done and that nobody does, oldest first.
// Ours from before are among them: there are never two of our name.
// Beside them are the leases that they have.
func (s *Stager) free(ctx context.Context) (list []*cf.Build, leases map[string]*cf.Lease, err error) {
	leases = map[string]*cf.Lease{}
	err = s.c.Store.View(ctx, func(tx cf.Tx) (err error) {
		if list, err = cf.List[cf.Build](tx, cf.Query{Where: []cf.Cond{cf.Is("state", "STAGING")}, Order: []cf.Order{{Key: "created_at"}}}); err != nil {
			return err
		}
		for _, b := range list {
			l, err := cf.First[cf.Lease](tx, cf.Is("guid", cf.BuildLease(b.GUID)))
			if err != nil {
				return err
			}
			if l != nil {
				leases[l.GUID] = l
			}
		}
		return nil
	})
	now := time.Now()
	free := list[:0]
	for _, b := range list {
		l := leases[cf.BuildLease(b.GUID)]
		if l == nil || l.Holder == s.c.Holder || s.watch.Idle(l, now) >= s.c.Patience {
			free = append(free, b)
		}
	}
	s.watch.Keep(func(guid string) bool { return leases[guid] != nil })
	return free, leases, err
}

// claimed does a build under its lease, unless another stager was quicker than
// we after we saw the lease before, nil for none. The context that do gets ends
// when the lease is lost.
func (s *Stager) claimed(ctx context.Context, b *cf.Build, before *cf.Lease, do func(ctx context.Context, token int64)) {
	token, err := s.claim(ctx, b, before)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, errTaken) && cf.KindOf(err) != cf.NotFound {
			s.c.Log.Error("claim a build", "build", b.GUID, "err", err)
		}
		return
	}
	ctx, lose := context.WithCancelCause(ctx)
	beaten := make(chan struct{})
	go func() {
		defer close(beaten)
		s.beat(ctx, b, token, lose)
	}()
	do(ctx, token)
	lose(nil)
	<-beaten
}

// claim takes the lease, if it is as it was seen.
func (s *Stager) claim(ctx context.Context, b *cf.Build, before *cf.Lease) (token int64, err error) {
	err = s.c.Store.Update(ctx, func(tx cf.Tx) error {
		if now, err := cf.Get[cf.Build](tx, b.GUID); err != nil || now.State != "STAGING" {
			return errors.Join(err, errTaken)
		}
		l, err := cf.First[cf.Lease](tx, cf.Is("guid", cf.BuildLease(b.GUID)))
		switch {
		case err != nil:
			return err
		case l == nil && before == nil:
			token = 1
			return tx.Insert(&cf.Lease{Meta: cf.Meta{GUID: cf.BuildLease(b.GUID)}, Holder: s.c.Holder, Token: token})
		case l == nil || before == nil || l.Token != before.Token || l.Beat != before.Beat:
			return errTaken
		}
		l.Holder = s.c.Holder
		l.Token++
		token = l.Token
		return tx.Save(l)
	})
	if cf.KindOf(err) == cf.Exists {
		err = errTaken
	}
	return token, err
}

// beat says that the build goes on, until ctx ends or another stager has it. A
// ledger that does not answer is no reason to stop: the end is written under the
// lease or not at all.
func (s *Stager) beat(ctx context.Context, b *cf.Build, token int64, lose func(error)) {
	tick := time.NewTicker(s.c.Patience / 5)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.c.Store.Update(ctx, func(tx cf.Tx) error {
			l, err := held(tx, b, token)
			if err != nil {
				return err
			}
			l.Beat++
			return tx.Save(l)
		})
		if errors.Is(err, errTaken) {
			lose(errTaken)
			return
		}
	}
}

// held finds the lease of a build, if it is still ours.
func held(tx cf.Tx, b *cf.Build, token int64) (*cf.Lease, error) {
	l, err := cf.First[cf.Lease](tx, cf.Is("guid", cf.BuildLease(b.GUID)))
	if err == nil && (l == nil || l.Token != token) {
		err = errTaken
	}
	return l, err
}

// release gives the lease back with the end of its build.
func release(tx cf.Tx, b *cf.Build, token int64) error {
	l, err := held(tx, b, token)
	if err != nil {
		return err
	}
	return tx.Delete(l)
}

// sweepLeases removes those of builds that are gone.
func sweepLeases(tx cf.Tx) error {
	list, err := cf.List[cf.Lease](tx, cf.Query{})
	if err != nil {
		return err
	}
	for _, l := range list {
		guid := cf.LeasedBuild(l.GUID)
		if guid == "" {
			continue
		}
		b, err := cf.First[cf.Build](tx, cf.Is("guid", guid))
		if err != nil {
			return err
		}
		if b == nil || b.State != "STAGING" {
			if err := tx.Delete(l); err != nil {
				return err
			}
		}
	}
	return nil
}
