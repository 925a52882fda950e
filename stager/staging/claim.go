package staging

import (
	"context"
	"errors"
	"time"

	"github.com/dewpaas/dew/cf"
)

// free are the builds that are to be done and that nobody does, oldest first.
// Ours from before are among them: there are never two of our name.
// Beside them are the leases that they have.
func (s *Stager) free(ctx context.Context) (list []*cf.Build, leases map[string]*cf.Lease, err error) {
	if list, leases, err = s.c.Ledger.Waiting(ctx); err != nil {
		return nil, nil, err
	}
	now := time.Now()
	free := list[:0]
	for _, b := range list {
		l := leases[cf.BuildLease(b.GUID)]
		if l == nil || l.Holder == s.c.Holder || s.watch.Idle(l, now) >= s.c.Patience {
			free = append(free, b)
		}
	}
	s.watch.Keep(func(guid string) bool { return leases[guid] != nil })
	return free, leases, nil
}

// claimed does a build under its lease, unless another stager was quicker than
// we after we saw the lease before, nil for none. The context that do gets ends
// when the lease is lost.
func (s *Stager) claimed(ctx context.Context, b *cf.Build, before *cf.Lease, do func(ctx context.Context, token int64)) {
	token, err := s.c.Ledger.Claim(ctx, b.GUID, before)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, ErrTaken) && cf.KindOf(err) != cf.NotFound {
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
		if errors.Is(s.c.Ledger.Beat(ctx, b.GUID, token), ErrTaken) {
			lose(ErrTaken)
			return
		}
	}
}
