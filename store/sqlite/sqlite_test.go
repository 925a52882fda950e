package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/store/storetest"
)

func TestSuite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) cf.Store {
		db, err := Open(context.Background(), filepath.Join(t.TempDir(), "a ledger?.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	})
}

func TestReopenKeepsAndHides(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	for range 2 {
		db, err := Open(context.Background(), path)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(context.Background(), func(tx cf.Tx) error {
			n, err := tx.Count(new(cf.Organization), cf.Query{})
			if err != nil || n == 1 {
				return err
			}
			return tx.Insert(&cf.Organization{Name: "o"})
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: want 0600", info.Mode(), err)
	}
}
