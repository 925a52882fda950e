package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/store"
	"github.com/dewpaas/dew/store/storetest"
)

func TestWatchTellsWhatWasCommitted(t *testing.T) {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var told []store.Changes
	s := store.Watch(db, func(c store.Changes) { told = append(told, c) })
	org := &cf.Organization{Name: "o"}
	lease := &cf.Lease{Meta: cf.Meta{GUID: "x"}}
	failed := errors.New("failed")
	for _, step := range []func(cf.Tx) error{
		func(tx cf.Tx) error { return errors.Join(tx.Insert(org), tx.Insert(lease)) },
		func(tx cf.Tx) error { return errors.Join(tx.Delete(org), failed) },
		func(tx cf.Tx) error { return nil },
		func(tx cf.Tx) error { lease.Beat++; return tx.Save(lease) },
		func(tx cf.Tx) error { return tx.Delete(lease) },
	} {
		if err := s.Update(context.Background(), step); err != nil && !errors.Is(err, failed) {
			t.Fatal(err)
		}
	}
	want := []store.Changes{{"organizations": {org.GUID}, "leases": {"x"}}, {"leases": {"x"}}, {"leases": {"x"}}}
	if !reflect.DeepEqual(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

func TestWatchedLedgerIsALedger(t *testing.T) {
	storetest.Run(t, func(t *testing.T) cf.Store {
		db, err := Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return store.Watch(db, func(store.Changes) {})
	})
}
