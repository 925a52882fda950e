package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dewpaas/dew/cf"
)

// Run runs the suite. open returns an empty ledger each time it is called.
func Run(t *testing.T, open func(t *testing.T) cf.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, cf.Store)
	}{
		{"records come back as they went", roundTrip},
		{"every noun has a table with its keys", everyNoun},
		{"filters, order and pages", filters},
		{"label selectors", labels},
		{"unknown keys are refused", unknownKeys},
		{"names are taken once", unique},
		{"references hold and cascade", references},
		{"a failed update leaves nothing", atomic},
		{"concurrent updates are serializable", counter},
		{"a view writes nothing", readOnly},
		{"usage of processes", processUsage},
		{"usage of tasks and builds", onceUsage},
		{"usage of what goes with its owner", goneUsage},
		{"usage of service instances", serviceUsage},
		{"usage is recorded with its change", usageIsAtomic},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func update(t *testing.T, s cf.Store, f func(cf.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, s cf.Store, f func(cf.Tx) error) {
	t.Helper()
	if err := s.View(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

func insert(t *testing.T, s cf.Store, records ...cf.Record) {
	t.Helper()
	update(t, s, func(tx cf.Tx) error {
		for _, r := range records {
			if err := tx.Insert(r); err != nil {
				return err
			}
		}
		return nil
	})
}

func wantKind(t *testing.T, err error, kind cf.Kind) {
	t.Helper()
	if cf.KindOf(err) != kind || err == nil {
		t.Errorf("got %v (%v), want an error of kind %v", err, cf.KindOf(err), kind)
	}
}

func roundTrip(t *testing.T, s cf.Store) {
	org := &cf.Organization{Name: "o", Meta: cf.Meta{Labels: map[string]string{"a": "b"}}}
	insert(t, s, org)
	if org.GUID == "" || org.CreatedAt.IsZero() {
		t.Fatalf("insert gave no guid or time: %+v", org)
	}
	view(t, s, func(tx cf.Tx) error {
		got, err := cf.Get[cf.Organization](tx, org.GUID)
		if err == nil && (got.Name != "o" || got.Labels["a"] != "b" || !got.CreatedAt.Equal(org.CreatedAt)) {
			t.Errorf("got %+v, want %+v", got, org)
		}
		return err
	})
	update(t, s, func(tx cf.Tx) error { org.Name = "p"; return tx.Save(org) })
	update(t, s, func(tx cf.Tx) error { return tx.Delete(org) })
	for _, f := range []func(cf.Tx) error{
		func(tx cf.Tx) error { return tx.Save(org) },
		func(tx cf.Tx) error { return tx.Delete(org) },
		func(tx cf.Tx) error { return tx.Load(new(cf.Organization), org.GUID) },
	} {
		wantKind(t, s.Update(context.Background(), f), cf.NotFound)
	}
}

func everyNoun(t *testing.T, s cf.Store) {
	view(t, s, func(tx cf.Tx) error {
		for _, r := range cf.Nouns() {
			q := cf.Query{}
			for key := range r.Keys() {
				q.Order = append(q.Order, cf.Order{Key: key})
				q.Where = append(q.Where, cf.Cond{Key: key, Op: cf.Absent})
			}
			if err := tx.Each(r, q, func([]byte) error { return nil }); err != nil {
				t.Errorf("%s: %v", r.Noun(), err)
			}
		}
		return nil
	})
}

func orgs(t *testing.T, s cf.Store, q cf.Query) []string {
	t.Helper()
	names := []string{}
	view(t, s, func(tx cf.Tx) error {
		list, err := cf.List[cf.Organization](tx, q)
		for _, o := range list {
			names = append(names, o.Name)
		}
		return err
	})
	return names
}

func filters(t *testing.T, s cf.Store) {
	quota := &cf.Quota{Name: "q"}
	insert(t, s, quota)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, name := range []string{"b", "a", "d", "c"} {
		o := &cf.Organization{Name: name, Meta: cf.Meta{CreatedAt: start.Add(time.Duration(i) * time.Second)}}
		if name > "b" {
			o.QuotaGUID = quota.GUID
		}
		insert(t, s, o)
	}
	byName := []cf.Order{{Key: "name"}}
	for _, c := range []struct {
		say  string
		q    cf.Query
		want []string
	}{
		{"by name", cf.Query{Order: byName}, []string{"a", "b", "c", "d"}},
		{"newest first", cf.Query{Order: []cf.Order{{Key: "created_at", Descending: true}}}, []string{"c", "d", "a", "b"}},
		{"second page", cf.Query{Order: byName, Limit: 3, Offset: 3}, []string{"d"}},
		{"page beyond the end", cf.Query{Order: byName, Limit: 3, Offset: 9}, []string{}},
		{"in", cf.Query{Where: []cf.Cond{cf.Is("name", "a", "d", "x")}, Order: byName}, []string{"a", "d"}},
		{"in nothing", cf.Query{Where: []cf.Cond{cf.Is[string]("name")}}, []string{}},
		{"not in", cf.Query{Where: []cf.Cond{{Key: "name", Op: cf.NotIn, Values: []any{"a"}}}, Order: byName}, []string{"b", "c", "d"}},
		{"absent", cf.Query{Where: []cf.Cond{{Key: "quota_guid", Op: cf.Absent}}, Order: byName}, []string{"a", "b"}},
		{"after", cf.Query{Where: []cf.Cond{{Key: "created_at", Op: cf.Greater, Values: []any{start.Add(time.Second).UnixMicro()}}}, Order: byName}, []string{"c", "d"}},
		{"any of", cf.Query{AnyOf: [][]cf.Cond{{cf.Is("name", "a"), cf.Is("quota_guid", quota.GUID)}}, Order: byName}, []string{"a", "c", "d"}},
		{"containing", cf.Query{Where: []cf.Cond{{Key: "name", Op: cf.Containing, Values: []any{"B", "x"}}}}, []string{"b"}},
		{"a percent sign is no pattern", cf.Query{Where: []cf.Cond{{Key: "name", Op: cf.Containing, Values: []any{"%"}}}}, []string{}},
		{"a quote is no code", cf.Query{Where: []cf.Cond{cf.Is("name", "' OR 1=1 --")}}, []string{}},
	} {
		if got := orgs(t, s, c.q); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.say, got, c.want)
		}
	}
}

func labels(t *testing.T, s cf.Store) {
	for name, l := range map[string]map[string]string{"x": {"env": "prod", "dew.io/tier": "1"}, "y": {"env": "dev"}, "z": nil} {
		insert(t, s, &cf.Organization{Name: name, Meta: cf.Meta{Labels: l}})
	}
	for _, c := range []struct {
		cond cf.LabelCond
		want []string
	}{
		{cf.LabelCond{Key: "env", Op: cf.LabelIn, Values: []string{"prod", "qa"}}, []string{"x"}},
		{cf.LabelCond{Key: "env", Op: cf.LabelNotIn, Values: []string{"prod"}}, []string{"y", "z"}},
		{cf.LabelCond{Key: "dew.io/tier", Op: cf.LabelExists}, []string{"x"}},
		{cf.LabelCond{Key: "env", Op: cf.LabelAbsent}, []string{"z"}},
		{cf.LabelCond{Key: `"') OR 1=1`, Op: cf.LabelExists}, []string{}},
	} {
		got := orgs(t, s, cf.Query{Labels: []cf.LabelCond{c.cond}, Order: []cf.Order{{Key: "name"}}})
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %v, want %v", c.cond, got, c.want)
		}
	}
}

func unknownKeys(t *testing.T, s cf.Store) {
	for _, q := range []cf.Query{
		{Where: []cf.Cond{cf.Is("colour", "red")}},
		{AnyOf: [][]cf.Cond{{cf.Is("colour", "red")}}},
		{Order: []cf.Order{{Key: "name; DROP TABLE organizations"}}},
	} {
		wantKind(t, s.View(context.Background(), func(tx cf.Tx) error {
			_, err := cf.List[cf.Organization](tx, q)
			return err
		}), cf.Invalid)
	}
}

func unique(t *testing.T, s cf.Store) {
	org := &cf.Organization{Name: "o"}
	user := &cf.User{Username: "u", Origin: "uaa"}
	insert(t, s, org, user)
	insert(t, s, &cf.Role{Type: cf.OrgUser, UserGUID: user.GUID, OrgGUID: org.GUID})
	for _, r := range []cf.Record{
		&cf.Organization{Name: "o"},
		&cf.Role{Type: cf.OrgUser, UserGUID: user.GUID, OrgGUID: org.GUID},
	} {
		wantKind(t, s.Update(context.Background(), func(tx cf.Tx) error { return tx.Insert(r) }), cf.Exists)
	}
}

func references(t *testing.T, s cf.Store) {
	quota := &cf.Quota{Name: "q"}
	insert(t, s, quota)
	org := &cf.Organization{Name: "o", QuotaGUID: quota.GUID}
	insert(t, s, org)
	space := &cf.Space{Name: "s", OrgGUID: org.GUID}
	insert(t, s, space)
	app := &cf.App{Name: "a", SpaceGUID: space.GUID, State: cf.Stopped}
	insert(t, s, app)
	insert(t, s, &cf.Process{AppGUID: app.GUID, SpaceGUID: space.GUID, Type: "web"})
	policy := cf.NetworkPolicy{SourceGUID: app.GUID, DestinationGUID: app.GUID, Protocol: cf.TCP, StartPort: 8080, EndPort: 8090}
	insert(t, s, &policy)
	wantKind(t, s.Update(context.Background(), func(tx cf.Tx) error {
		again := policy
		again.Meta = cf.Meta{}
		return tx.Insert(&again)
	}), cf.Exists)
	wantKind(t, s.Update(context.Background(), func(tx cf.Tx) error {
		return tx.Insert(&cf.Space{Name: "t", OrgGUID: "none"})
	}), cf.Conflict)
	wantKind(t, s.Update(context.Background(), func(tx cf.Tx) error { return tx.Delete(quota) }), cf.Conflict)
	update(t, s, func(tx cf.Tx) error { return tx.Delete(org) })
	view(t, s, func(tx cf.Tx) error {
		n, err := tx.Count(new(cf.Process), cf.Query{})
		if n != 0 {
			t.Errorf("%d processes outlived their organization", n)
		}
		if err != nil {
			return err
		}
		n, err = tx.Count(new(cf.NetworkPolicy), cf.Query{})
		if n != 0 {
			t.Errorf("%d network policies outlived their apps", n)
		}
		return err
	})
}

func atomic(t *testing.T, s cf.Store) {
	cause := errors.New("changed my mind")
	err := s.Update(context.Background(), func(tx cf.Tx) error {
		if err := tx.Insert(&cf.Organization{Name: "o"}); err != nil {
			return err
		}
		return cause
	})
	if !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
	if got := orgs(t, s, cf.Query{}); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func counter(t *testing.T, s cf.Store) {
	q := &cf.Quota{Name: "q", Limits: cf.Limits{Routes: new(int64)}}
	insert(t, s, q)
	const writers = 4
	errs := make(chan error, writers)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			errs <- s.Update(context.Background(), func(tx cf.Tx) error {
				q, err := cf.Get[cf.Quota](tx, q.GUID)
				if err != nil {
					return err
				}
				*q.Limits.Routes++
				return tx.Save(q)
			})
		})
	}
	wg.Wait()
	for range writers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	view(t, s, func(tx cf.Tx) error {
		q, err := cf.Get[cf.Quota](tx, q.GUID)
		if err == nil && *q.Limits.Routes != writers {
			err = fmt.Errorf("%d of %d increments kept", *q.Limits.Routes, writers)
		}
		return err
	})
}

func readOnly(t *testing.T, s cf.Store) {
	err := s.View(context.Background(), func(tx cf.Tx) error { return tx.Insert(&cf.Organization{Name: "o"}) })
	if err == nil {
		t.Error("a view inserted a record")
	}
}
