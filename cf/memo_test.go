package cf_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/store/sqlite"
)

// TestMemo: what has not changed is the same record, what has is another, what is gone
// is forgotten.
func TestMemo(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var m cf.Memo[cf.Organization, *cf.Organization]
	list := func() (by map[string]*cf.Organization) {
		t.Helper()
		by = map[string]*cf.Organization{}
		err := db.View(context.Background(), func(tx cf.Tx) error {
			all, err := m.List(tx, cf.Query{Order: []cf.Order{{Key: "name"}}})
			for _, o := range all {
				by[o.GUID] = o
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return by
	}
	change := func(f func(cf.Tx) error) {
		t.Helper()
		if err := db.Update(context.Background(), f); err != nil {
			t.Fatal(err)
		}
	}
	a, b := &cf.Organization{Name: "a"}, &cf.Organization{Name: "b"}
	change(func(tx cf.Tx) error { return tx.Insert(a) })
	change(func(tx cf.Tx) error { return tx.Insert(b) })
	first := list()
	again := list()
	if len(first) != 2 || first[a.GUID] != again[a.GUID] || first[a.GUID].Name != "a" {
		t.Errorf("%v, then %v", first, again)
	}
	change(func(tx cf.Tx) error { a.Name = "c"; return tx.Save(a) })
	changed := list()
	if changed[a.GUID].Name != "c" || changed[b.GUID] != first[b.GUID] || first[a.GUID].Name != "a" {
		t.Errorf("%v, then %v", first, changed)
	}
	change(func(tx cf.Tx) error { return tx.Delete(a) })
	if left := list(); len(left) != 1 || left[b.GUID] == nil {
		t.Errorf("%v", left)
	}
}
