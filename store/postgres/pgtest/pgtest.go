package pgtest

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// find looks where Debian keeps the server's programs, and on PATH.
func find(t testing.TB, program string) string {
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program); len(found) > 0 {
		return found[len(found)-1]
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("needs a PostgreSQL server (apt-get install postgresql): %v", err)
	}
	return path
}

// Server is a connection string (without a database of one's own) of a server
// whose user may do everything: DEW_POSTGRES if that names one, else a server of
// the test's own, on a Unix socket and a port of loopback, which ends with the
// test. Without PostgreSQL the test is skipped.
func Server(t testing.TB) string {
	t.Helper()
	if admin := os.Getenv("DEW_POSTGRES"); admin != "" {
		return admin
	}
	return server(t, "127.0.0.1")
}

// ServerAt is a server of the test's own on an address of the calling thread's
// network namespace, which everybody reaches who has the password. The port is
// that of the connection string.
func ServerAt(t testing.TB, address string) string {
	t.Helper()
	return server(t, address)
}

// server starts one. It refuses to run as root, so root runs it as nobody.
func server(t testing.TB, address string) string {
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
	init := exec.Command(initdb, "-D", data, "-U", "dew", "--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile="+password(t, dir), "--no-sync", "--locale=C", "-E", "UTF8")
	init.SysProcAttr, init.Dir = as, dir
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	if err := admit(data); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	port := freePort(t, address)
	serve := exec.Command(postgres, "-D", data, "-k", dir, "-c", "listen_addresses="+address, "-c", "port="+port, "-c", "fsync=off")
	serve.SysProcAttr, serve.Dir, serve.Stderr = as, dir, &log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		serve.Process.Signal(os.Interrupt) // fast shutdown
		serve.Wait()                       // its status says only that it was interrupted
	})
	ready(t, dir, port, &log)
	return "host=" + dir + " port=" + port + " user=dew dbname=postgres"
}

// admit lets in who comes over the network: initdb knows loopback only.
func admit(data string) error {
	f, err := os.OpenFile(filepath.Join(data, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString("host all all 0.0.0.0/0 scram-sha-256\n")
	return err
}

// Password is that of the user who may do everything.
const Password = "dew"

func password(t testing.TB, dir string) string {
	name := filepath.Join(dir, "password")
	if err := os.WriteFile(name, []byte(Password+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// freePort is one that nobody listens on now. PostgreSQL takes no listener that is
// open already.
func freePort(t testing.TB, address string) string {
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func ready(t testing.TB, dir, port string, log *bytes.Buffer) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	isready := find(t, "pg_isready")
	for {
		if exec.CommandContext(ctx, isready, "-q", "-h", dir, "-p", port, "-t", "1").Run() == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("PostgreSQL does not come up:\n%s", log)
		case <-tick.C:
		}
	}
}
