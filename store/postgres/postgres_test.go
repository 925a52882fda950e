package postgres

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/store/postgres/pgtest"
	"github.com/dewpaas/dew/store/storetest"
)

func TestSuite(t *testing.T) {
	admin := pgtest.Server(t)
	n := 0
	storetest.Run(t, func(t *testing.T) cf.Store {
		n++
		name := fmt.Sprintf("dewtest_%d_%d", os.Getpid(), n)
		run(t, "psql", admin, "-qc", "CREATE DATABASE "+name)
		db, err := Open(context.Background(), admin+" dbname="+name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			db.Close()
			run(t, "psql", admin, "-qc", "DROP DATABASE "+name)
		})
		return db
	})
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// TestKinds: a server that is not there comes back, a database that is missing
// does not.
func TestKinds(t *testing.T) {
	if _, err := Open(context.Background(), "postgres://127.0.0.1:1/dew"); cf.KindOf(err) != cf.Unavailable {
		t.Errorf("nobody listens: %v", err)
	}
	if _, err := Open(context.Background(), pgtest.Server(t)+" dbname=missing"); err == nil || cf.KindOf(err) == cf.Unavailable {
		t.Errorf("no such database: %v", err)
	}
}
