package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/grant/granttest"
	"github.com/dewpaas/dew/cmd/dew/identity"
)

// granted is what each role sees: by noun the GUIDs. What is not here is refused.
func granted() map[string]map[cf.Noun]string {
	return map[string]map[cf.Noun]string{
		"cell c1": {
			"cells": "c1 c2", "placements": "placement-mine placement-near", "reports": "placement-mine placement-near", "crashes": "crash-mine",
			"apps": "app-mine app-near", "spaces": "space-mine", "security_groups": "group-default group-mine", "group_bindings": "groupbinding-mine",
			"network_policies": "policy-near", "destinations": "destination-mine destination-near within-mine within-near",
			"routes": "inside-mine inside-near route-mine route-near", "domains": "domain-internal domain-mine domain-near", "settings": cf.FoundationSetting,
		},
		"router r1": {
			"placements": "placement-far placement-mine placement-near", "reports": "placement-far placement-mine placement-near",
			"destinations": "destination-far destination-mine destination-near within-far within-mine within-near",
			"routes":       "inside-far inside-mine inside-near route-far route-mine route-near",
			"domains":      "domain-far domain-internal domain-mine domain-near domain-shared", "settings": cf.FoundationSetting,
		},
		"stager s1": {
			"builds": "build-far build-mine build-near", "leases": "build-build-far build-build-mine", "packages": "package-mine", "apps": "app-mine",
			"spaces": "space-far space-mine space-near", "organizations": "org-mine", "destinations": "destination-mine within-mine",
			"routes": "inside-mine route-mine", "domains": "domain-internal domain-mine", "service_bindings": "binding-mine", "service_instances": "instance-mine",
			"service_plans": "plan", "service_offerings": "offering", "settings": cf.StagingEnv + " " + cf.FoundationSetting,
		},
		"cell c3": { // nothing is placed there
			"cells": "c1 c2", "placements": "", "reports": "", "crashes": "", "apps": "", "spaces": "", "security_groups": "group-default", "group_bindings": "",
			"network_policies": "", "destinations": "", "routes": "", "domains": "domain-internal", "settings": cf.FoundationSetting,
		},
		"stager s3": { // it has nothing to build
			"builds": "build-far build-mine build-near", "leases": "build-build-far build-build-mine", "packages": "", "apps": "",
			"spaces": "space-far space-mine space-near", "organizations": "", "destinations": "", "routes": "", "domains": "", "service_bindings": "", "service_instances": "",
			"service_plans": "", "service_offerings": "", "settings": cf.StagingEnv + " " + cf.FoundationSetting,
		},
		"scheduler sch-1": {}, "api api-1": {}, "bus nats-1": {}, "nobody x": {}, "cell ": nil,
	}
}

// TestReadsOfEveryNoun: each role sees what the table says and nothing else, of every
// noun that there is; no secret but its own is in it. Without the guard all is seen.
func TestReadsOfEveryNoun(t *testing.T) {
	db := granttest.Ledger(t)
	for who, want := range granted() {
		role, name, _ := strings.Cut(who, " ")
		if name == "" {
			continue
		}
		docs, seen := read(t, Guard(db, identity.Peer{Role: role, Name: name}))
		for _, r := range cf.Nouns() {
			guids, granted := want[r.Noun()]
			got, readable := seen[r.Noun()]
			if readable != granted || strings.Join(got, " ") != guids {
				t.Errorf("%s sees of %s: %q %v, want %q %v", who, r.Noun(), strings.Join(got, " "), readable, guids, granted)
			}
		}
		for doc := range strings.SplitSeq(docs, "\n") {
			own := strings.ReplaceAll(doc, granttest.Mine, "")
			if strings.Contains(own, granttest.Secret) && !excepted(who, doc) || who != "cell c1" && who != "stager s1" && own != doc {
				t.Errorf("%s sees a secret: %s", who, doc)
			}
		}
	}
	docs, _ := read(t, db)
	for _, secret := range []string{granttest.Mine, granttest.Near, granttest.Far, granttest.House} {
		if strings.Count(docs, secret) < 3 {
			t.Errorf("without the guard %s is not found: the test tests nothing", secret)
		}
	}
}

// excepted: what a cell wrote itself, and what was wished for its own instances; who
// asked for a build is in it once a stager has its lease.
func excepted(who, doc string) bool {
	return who == "cell c1" && strings.Contains(doc, `"cell_id":"c1"`) && !strings.Contains(doc, granttest.Far) && !strings.Contains(doc, granttest.Near) ||
		who == "stager s1" && strings.Contains(doc, `"guid":"build-mine"`)
}

// read reads everything that can be read, in each way there is.
func read(t *testing.T, s cf.Store) (docs string, seen map[cf.Noun][]string) {
	t.Helper()
	seen = map[cf.Noun][]string{}
	var all strings.Builder
	err := s.View(t.Context(), func(tx cf.Tx) error {
		for _, r := range cf.Nouns() {
			list := []string{}
			err := tx.Each(r, cf.Query{Order: []cf.Order{{Key: "guid"}}}, func(doc []byte) error {
				n := fresh(r)
				fmt.Fprintf(&all, "%s\n", doc)
				err := tx.Scan(n, doc)
				list = append(list, n.Base().GUID)
				return errors.Join(err, tx.Load(fresh(r), n.Base().GUID))
			})
			count, counted := tx.Count(r, cf.Query{})
			if cf.KindOf(err) == cf.Forbidden && cf.KindOf(counted) == cf.Forbidden && cf.KindOf(tx.Load(fresh(r), "x")) == cf.Forbidden {
				continue
			}
			if err = errors.Join(err, counted); err != nil || count != len(list) {
				return fmt.Errorf("%s: %d and %d: %w", r.Noun(), count, len(list), err)
			}
			seen[r.Noun()] = list
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String(), seen
}

// errUndo undoes what a test wrote.
var errUndo = errors.New("undone")

// tryWrite tells whether a write is let through; it is undone.
func tryWrite(s cf.Store, f func(cf.Tx) error) (ok bool, err error) {
	err = s.Update(context.Background(), func(tx cf.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return errUndo
	})
	return errors.Is(err, errUndo), err
}

// TestWritesOfEveryNoun: every record that there is, is saved as it is, deleted, and
// one like it inserted, by each role. What may be is listed here.
func TestWritesOfEveryNoun(t *testing.T) {
	db := granttest.Ledger(t)
	records := map[cf.Noun][]cf.Record{}
	if err := db.View(t.Context(), func(tx cf.Tx) error {
		for _, r := range cf.Nouns() {
			if err := tx.Each(r, cf.Query{Order: []cf.Order{{Key: "guid"}}}, func(doc []byte) error {
				n := fresh(r)
				records[r.Noun()] = append(records[r.Noun()], n)
				return tx.Scan(n, doc)
			}); err != nil {
				return err
			}
			if len(records[r.Noun()]) == 0 {
				t.Errorf("there is no record of %s: the test tests nothing", r.Noun())
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"cell c1": "delete crashes crash-mine, delete reports placement-mine, save cells c1, save reports placement-mine",
		// A droplet of the build that it has, as there is one, and that lease.
		"stager s1": "delete leases build-build-mine, save leases build-build-mine",
		"router r1": "", "cell c3": "", "stager s3": "", "scheduler sch-1": "", "api api-1": "", "nobody x": "",
	}
	for who, want := range want {
		role, name, _ := strings.Cut(who, " ")
		s := Guard(db, identity.Peer{Role: role, Name: name})
		var may []string
		for noun, list := range records {
			for _, r := range list {
				for verb, f := range writes(r) {
					if ok, err := tryWrite(s, f); ok {
						may = append(may, fmt.Sprintf("%s %s %s", verb, noun, r.Base().GUID))
					} else if k := cf.KindOf(err); k != cf.Forbidden {
						t.Errorf("%s: %s %s: %v", who, verb, r.Base().GUID, err)
					}
					if ok, err := tryWrite(db, f); !ok && verb == "save" {
						t.Errorf("without the guard: %s %s: %v", verb, r.Base().GUID, err)
					}
				}
			}
		}
		slices.Sort(may)
		if got := strings.Join(may, ", "); got != want {
			t.Errorf("%s may %s\nwant %s", who, got, want)
		}
	}
}

// writes are the ways to write a record.
func writes(r cf.Record) map[string]func(cf.Tx) error {
	return map[string]func(cf.Tx) error{
		"save":   func(tx cf.Tx) error { return tx.Save(r) },
		"delete": func(tx cf.Tx) error { return tx.Delete(r) },
		"insert": func(tx cf.Tx) error {
			n := fresh(r)
			*n.Base() = cf.Meta{GUID: "new-" + r.Base().GUID}
			return tx.Insert(n)
		},
	}
}

// TestFieldsOfWrites: what a role may write, it may not write everything into.
func TestFieldsOfWrites(t *testing.T) {
	db := granttest.Ledger(t)
	cell, stager := Guard(db, identity.Peer{Role: "cell", Name: "c1"}), Guard(db, identity.Peer{Role: "stager", Name: "s1"})
	report := func(change func(*cf.Report)) func(cf.Tx) error {
		return func(tx cf.Tx) error {
			r, err := cf.Get[cf.Report](tx, "placement-mine")
			if err != nil {
				return err
			}
			change(r)
			return tx.Save(r)
		}
	}
	own := func(change func(*cf.Cell)) func(cf.Tx) error {
		return func(tx cf.Tx) error {
			c, err := cf.Get[cf.Cell](tx, "c1")
			if err != nil {
				return err
			}
			change(c)
			return tx.Save(c)
		}
	}
	build := func(guid string, change func(*cf.Build)) func(cf.Tx) error {
		return func(tx cf.Tx) error {
			b, err := cf.Get[cf.Build](tx, guid)
			if err != nil {
				return err
			}
			b.State = "FAILED"
			change(b)
			return tx.Save(b)
		}
	}
	insert := func(r cf.Record) func(cf.Tx) error { return func(tx cf.Tx) error { return tx.Insert(r) } }
	lease := func(guid string, change func(*cf.Lease)) func(cf.Tx) error {
		return func(tx cf.Tx) error {
			l, err := cf.Get[cf.Lease](tx, guid)
			if err != nil {
				return err
			}
			change(l)
			return tx.Save(l)
		}
	}
	droplet := cf.Droplet{AppGUID: "app-mine", SpaceGUID: "space-mine", PackageGUID: "package-mine", State: "STAGED", Checksum: granttest.Digest("droplet", "mine")}
	foreign := droplet
	foreign.AppGUID = "app-far"
	event := cf.AuditEvent{Type: "audit.app.build.staged", Actor: cf.Actor{GUID: "user", Type: "user", Name: granttest.House}, Target: cf.Actor{GUID: "app-mine", Type: "app"}, SpaceGUID: "space-mine"}
	blamed, login := event, event
	blamed.Actor.GUID = "somebody"
	login.Type = "audit.user.create"
	for name, c := range map[string]struct {
		as  cf.Store
		do  func(cf.Tx) error
		may bool
	}{
		"its report":                            {cell, report(func(r *cf.Report) { r.State = cf.InstanceEnded }), true},
		"its report, elsewhere":                 {cell, report(func(r *cf.Report) { r.Address = "10.251.2.3" }), false},
		"its report, at no address":             {cell, report(func(r *cf.Report) { r.Address = "nowhere" }), false},
		"its report, with no way":               {cell, report(func(r *cf.Report) { r.Host = "" }), false},
		"its report, of another cell":           {cell, report(func(r *cf.Report) { r.CellID = "c2" }), false},
		"its report, of another app":            {cell, report(func(r *cf.Report) { r.AppGUID = "app-far" }), false},
		"its report, without an end":            {cell, report(func(r *cf.Report) { r.Details = strings.Repeat("x", maxRecord) }), false},
		"a report of nobody's":                  {cell, insert(&cf.Report{Meta: cf.Meta{GUID: "x"}, CellID: "c1", AppGUID: "app-mine"}), false},
		"itself":                                {cell, own(func(c *cf.Cell) { c.Beat++ }), true},
		"itself, as leaving":                    {cell, own(func(c *cf.Cell) { c.Leaving = true }), false},
		"itself, with labels":                   {cell, own(func(c *cf.Cell) { c.Labels = map[string]string{"a": "b"} }), false},
		"another cell":                          {cell, insert(&cf.Cell{Meta: cf.Meta{GUID: "c9"}}), false},
		"a crash of its instance":               {cell, insert(&cf.Crash{Meta: cf.Meta{GUID: "placement-mine"}, AppGUID: "app-mine", CellID: "c1"}), true},
		"a crash elsewhere":                     {cell, insert(&cf.Crash{Meta: cf.Meta{GUID: "placement-mine"}, AppGUID: "app-mine", CellID: "c2"}), false},
		"a crash of another app":                {cell, insert(&cf.Crash{Meta: cf.Meta{GUID: "placement-mine"}, AppGUID: "app-far", CellID: "c1"}), false},
		"a crash of another's instance":         {cell, insert(&cf.Crash{Meta: cf.Meta{GUID: "placement-far"}, AppGUID: "app-far", CellID: "c1"}), false},
		"its build's end":                       {stager, build("build-mine", func(*cf.Build) {}), true},
		"its build, for another app":            {stager, build("build-mine", func(b *cf.Build) { b.AppGUID = "app-far" }), false},
		"its build, for somebody":               {stager, build("build-mine", func(b *cf.Build) { b.CreatedBy.GUID = "x" }), false},
		"its build, again":                      {stager, build("build-mine", func(b *cf.Build) { b.State = "STAGING" }), false},
		"another's build":                       {stager, build("build-far", func(*cf.Build) {}), false},
		"nobody's build":                        {stager, build("build-near", func(*cf.Build) {}), false},
		"a droplet of its build":                {stager, insert(&droplet), true},
		"a droplet of another app":              {stager, insert(&foreign), false},
		"what became of its build":              {stager, insert(&event), true},
		"what became of it, in somebody's name": {stager, insert(&blamed), false},
		"another event":                         {stager, insert(&login), false},
		"a lease that nobody has":               {stager, insert(&cf.Lease{Meta: cf.Meta{GUID: cf.BuildLease("build-near")}, Holder: "s1", Token: 1}), true},
		"one for another stager":                {stager, insert(&cf.Lease{Meta: cf.Meta{GUID: cf.BuildLease("build-near")}, Holder: "s2", Token: 1}), false},
		"one of no build":                       {stager, insert(&cf.Lease{Meta: cf.Meta{GUID: cf.BuildLease("x")}, Holder: "s1", Token: 1}), false},
		"one for ever":                          {stager, insert(&cf.Lease{Meta: cf.Meta{GUID: cf.BuildLease("build-near")}, Holder: "s1", Token: 7}), false},
		"another's lease, taken":                {stager, lease("build-build-far", func(l *cf.Lease) { l.Holder = "s1"; l.Token++ }), true},
		"another's lease, in secret":            {stager, lease("build-build-far", func(l *cf.Lease) { l.Holder = "s1" }), false},
		"another's lease, prolonged":            {stager, lease("build-build-far", func(l *cf.Lease) { l.Beat++ }), false},
		"the scheduler's lease":                 {stager, insert(&cf.Lease{Meta: cf.Meta{GUID: cf.SchedulerLease}, Holder: "s1", Token: 1}), false},
	} {
		if ok, err := tryWrite(c.as, c.do); ok != c.may {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}
