package postgres

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/store/storetest"
)

// TestSuite runs against DEW_POSTGRES when it names an empty database server,
// else against a server of its own on a Unix socket, else not at all.
func TestSuite(t *testing.T) {
	admin := os.Getenv("DEW_POSTGRES")
	if admin == "" {
		admin = server(t)
	}
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

// find looks where Debian keeps the server's programs, and on PATH.
func find(t *testing.T, program string) string {
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program); len(found) > 0 {
		return found[len(found)-1]
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("needs a PostgreSQL server (apt-get install postgresql): %v", err)
	}
	return path
}

// server starts a PostgreSQL of the test's own and returns its address. The
// server refuses to run as root, so root runs it as nobody.
func server(t *testing.T) string {
	initdb, postgres := find(t, "initdb"), find(t, "postgres")
	find(t, "psql")
	dir, err := os.MkdirTemp("", "dew-pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	as := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		const nobody = 65534
		as.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	init := exec.Command(initdb, "-D", data, "-U", "dew", "--auth=trust", "--no-sync", "--locale=C", "-E", "UTF8")
	init.SysProcAttr, init.Dir = as, dir
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	var log bytes.Buffer
	serve := exec.Command(postgres, "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off")
	serve.SysProcAttr, serve.Dir, serve.Stderr = as, dir, &log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		serve.Process.Signal(os.Interrupt) // fast shutdown
		serve.Wait()                       // its status says only that it was interrupted
	})
	url := "host=" + dir + " user=dew"
	ready(t, dir, &log)
	return url + " dbname=postgres"
}

func ready(t *testing.T, dir string, log *bytes.Buffer) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	isready := find(t, "pg_isready")
	for {
		if exec.CommandContext(ctx, isready, "-q", "-h", dir, "-t", strconv.Itoa(1)).Run() == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("PostgreSQL does not come up:\n%s", log)
		case <-tick.C:
		}
	}
}
