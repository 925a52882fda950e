package api

import (
	"testing"
	"time"

	"github.com/dewpaas/dew/cf"
)

// TestSweep: what is old goes, what is young or needed stays; and while the clock was
// set lately, nothing goes that looks old.
func TestSweep(t *testing.T) {
	f := newFoundation(t)
	_, _, space, app := f.tenant(f.login("admin", "pw"), "ann")
	now := time.Now()
	f.write(func(tx cf.Tx) error {
		for n := range keepPackages + 2 { // the newest first
			made := cf.Meta{GUID: []string{"p0", "p1", "p2", "p3", "p4", "p5", "p6"}[n], CreatedAt: now.Add(-time.Duration(n+1) * time.Hour)}
			if err := tx.Insert(&cf.Package{Meta: made, AppGUID: app, SpaceGUID: space, State: ready, Checksum: "c"}); err != nil {
				return err
			}
		}
		if err := tx.Insert(&cf.Build{Meta: cf.Meta{GUID: "b"}, AppGUID: app, SpaceGUID: space, PackageGUID: "p6", State: "STAGING"}); err != nil {
			return err
		}
		for name, age := range map[string]time.Duration{"young": keepEvents - time.Hour, "old": keepEvents + time.Hour} {
			if err := tx.Insert(&cf.AuditEvent{Meta: cf.Meta{GUID: name, CreatedAt: now.Add(-age)}, Type: "test"}); err != nil {
				return err
			}
		}
		return tx.Insert(&cf.Revocation{Meta: cf.Meta{GUID: "ended", CreatedAt: now}})
	})
	is := func(when string, want map[string]bool) {
		t.Helper()
		got := map[string]bool{}
		if err := f.store.View(t.Context(), func(tx cf.Tx) error {
			for _, r := range []cf.Record{new(cf.AuditEvent), new(cf.Revocation)} {
				for _, guid := range []string{"young", "old", "ended"} {
					if err := tx.Load(r, guid); err == nil {
						got[guid] = true
					}
				}
			}
			list, err := cf.List[cf.Package](tx, cf.Query{Where: []cf.Cond{cf.Is("state", ready)}})
			for _, p := range list {
				got[p.GUID] = true
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"young", "old", "ended", "p0", "p4", "p5", "p6"} {
			if got[name] != want[name] {
				t.Errorf("%s: %s is there: %v", when, name, got[name])
			}
		}
	}
	sweep := func() {
		t.Helper()
		if err := f.api.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]bool{"young": true, "old": true, "ended": true, "p0": true, "p4": true, "p5": true, "p6": true}
	sweep()
	is("just started", all)
	f.api.now = func() time.Time { return time.Now().AddDate(3, 0, 0) }
	sweep()
	is("set ahead", all)
	f.api.now = time.Now
	sweep()
	is("set right", all)
	f.settle()
	sweep()
	is("left alone", map[string]bool{"young": true, "ended": true, "p0": true, "p4": true, "p6": true})
}

// settle makes the API believe its clock, as after some time in which nobody set it.
func (f *foundation) settle() {
	long := time.Now().Add(-2 * cf.ClockSettles)
	f.api.clock = cf.ClockWatch{}
	f.api.clock.Settled(long, long)
}

// TestOldDeploymentsAreSwept: those that have ended, and only those.
func TestOldDeploymentsAreSwept(t *testing.T) {
	f := newFoundation(t)
	f.settle()
	_, _, space, app := f.tenant(f.login("admin", "pw"), "ann")
	old := cf.Meta{CreatedAt: time.Now().Add(-2 * keepEvents)}
	all := map[string]*cf.Deployment{"old": {Meta: old, Status: cf.Finalized}, "old and under way": {Meta: old, Status: cf.Active}, "young": {Status: cf.Finalized}}
	f.write(func(tx cf.Tx) error {
		for _, d := range all {
			d.AppGUID, d.SpaceGUID = app, space
			if err := tx.Insert(d); err != nil {
				return err
			}
		}
		return nil
	})
	if err := f.api.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for say, d := range all {
		want := 200
		if say == "old" {
			want = 404
		}
		f.do(want, f.login("admin", "pw"), "GET", "/v3/deployments/"+d.GUID, "")
	}
}

func (f *foundation) write(change func(cf.Tx) error) {
	f.t.Helper()
	if err := f.store.Update(f.t.Context(), change); err != nil {
		f.t.Fatal(err)
	}
}
