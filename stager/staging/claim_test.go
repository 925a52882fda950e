package staging

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dewpaas/dew/cf"
)

// second is another stager on the ledger of the first.
func (f *foundation) second() *Stager {
	c := f.c
	c.Holder, c.Ledger = "b", &Direct{Store: f.ledger, Holder: "b"}
	return New(c)
}

func (f *foundation) lease(b *cf.Build) (l *cf.Lease) {
	f.t.Helper()
	f.update(func(tx cf.Tx) (err error) {
		l, err = cf.First[cf.Lease](tx, cf.Is("guid", cf.BuildLease(b.GUID)))
		return err
	})
	return l
}

// TestOneStagerABuild: what one does the other leaves alone, until it does not
// move any more; then its end counts for nothing.
func TestOneStagerABuild(t *testing.T) {
	f := found(t)
	a, b := f.Stager, f.second()
	job := f.push("app", map[string]string{"go.mod": mod}, nil)
	free := func(s *Stager) bool {
		t.Helper()
		list, _, err := s.free(t.Context())
		check(t, err)
		return len(list) == 1
	}
	if !free(a) || !free(b) {
		t.Fatal("nobody sees the build")
	}
	first, err := a.c.Ledger.Claim(t.Context(), job.GUID, nil)
	check(t, err)
	if _, err := b.c.Ledger.Claim(t.Context(), job.GUID, nil); !errors.Is(err, ErrTaken) {
		t.Errorf("claimed by both: %v", err)
	}
	if free(b) || !free(a) {
		t.Error("a build that is done is free for another, or not for its own stager after a restart")
	}
	b.c.Patience = time.Nanosecond
	seen := f.lease(job)
	if !free(b) {
		t.Error("a build that does not move is never free")
	}
	check(t, a.c.Ledger.Beat(t.Context(), job.GUID, first)) // a lives, and says so at the last moment
	if _, err := b.c.Ledger.Claim(t.Context(), job.GUID, seen); !errors.Is(err, ErrTaken) {
		t.Errorf("taken from a stager that lives: %v", err)
	}
	second, err := b.c.Ledger.Claim(t.Context(), job.GUID, f.lease(job))
	check(t, err)
	staged := Outcome{Digest: "d"}
	a.end(t.Context(), job, first, staged)
	if f.lease(job) == nil {
		t.Error("the end of a stager that was given up is written")
	}
	b.end(t.Context(), job, second, staged)
	if f.lease(job) != nil || free(a) {
		t.Error("the end is not written")
	}
}

// TestLostBuildIsLeft: a stager notices that another has its build.
func TestLostBuildIsLeft(t *testing.T) {
	f := found(t)
	f.c.Patience = 50 * time.Millisecond
	job := f.push("app", map[string]string{"go.mod": mod}, nil)
	f.claimed(t.Context(), job, nil, func(ctx context.Context, _ int64) {
		for { // between two beats
			_, err := f.second().c.Ledger.Claim(t.Context(), job.GUID, f.lease(job))
			if err == nil {
				break
			}
			if !errors.Is(err, ErrTaken) {
				t.Error(err)
				return
			}
		}
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), ErrTaken) {
			t.Error(context.Cause(ctx))
		}
	})
}

// TestDeadStagersBuild is taken up and ended by another.
func TestDeadStagersBuild(t *testing.T) {
	f := found(t)
	f.c.Patience = 100 * time.Millisecond
	job := f.push("app", map[string]string{"go.mod": mod, "main.go": program}, nil)
	f.update(func(tx cf.Tx) error {
		return tx.Insert(&cf.Lease{Meta: cf.Meta{GUID: cf.BuildLease(job.GUID)}, Holder: "dead", Token: 1, Beat: 7})
	})
	f.run()
	if b := f.ended(job); b.State != "STAGED" {
		t.Errorf("%s: %s", b.State, b.Error)
	}
}

// TestTriesAreBounded: a package on which stagers die does not kill them for ever.
func TestTriesAreBounded(t *testing.T) {
	f := found(t)
	job := f.push("app", map[string]string{"go.mod": mod, "main.go": program}, nil)
	f.update(func(tx cf.Tx) error {
		return tx.Insert(&cf.Lease{Meta: cf.Meta{GUID: cf.BuildLease(job.GUID)}, Holder: "a", Token: maxTries})
	})
	f.run()
	if b := f.ended(job); b.State != "FAILED" || b.Error != "StagingError - "+errTries.Error() {
		t.Errorf("%s: %s", b.State, b.Error)
	}
	f.update(func(tx cf.Tx) error {
		return tx.Insert(&cf.Lease{Meta: cf.Meta{GUID: cf.BuildLease("gone")}, Holder: "a", Token: 1})
	})
	if left, err := f.c.Ledger.Tidy(t.Context(), []string{"gone", f.space.GUID}); err != nil || len(left) != 1 || left[0] != f.space.GUID {
		t.Error(left, err)
	}
	if f.lease(&cf.Build{Meta: cf.Meta{GUID: "gone"}}) != nil {
		t.Error("the lease of a build that is gone stays")
	}
}
