package identity

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func issue(t *testing.T, ca *CA, role, name string, now time.Time) string {
	t.Helper()
	text, err := ca.Issue(role, name, now, Life)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "id.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func load(t *testing.T, file string) *Identity {
	t.Helper()
	i, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func openCA(t *testing.T) *CA {
	t.Helper()
	ca, err := OpenCA(filepath.Join(t.TempDir(), "ca"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// shake is a handshake and one byte each way: TLS 1.3 tells a client only with
// the first answer that its certificate was refused.
func shake(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	refused := make(chan error, 1)
	go func() {
		a, err := l.Accept()
		if err != nil {
			refused <- err
			return
		}
		defer a.Close()
		s := tls.Server(a, server)
		if err = s.Handshake(); err == nil {
			_, err = s.Write([]byte{1})
		}
		refused <- err
	}()
	b, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	_, err = tls.Client(b, client).Read(make([]byte, 1))
	b.Close()
	return errors.Join(err, <-refused)
}

func TestWhoMayConnect(t *testing.T) {
	ca, other := openCA(t), openCA(t)
	now := time.Now()
	cell := load(t, issue(t, ca, Cell, "cell-1", now))
	router := load(t, issue(t, ca, Router, "r", now))
	stager := load(t, issue(t, ca, Stager, "s", now))
	stranger := load(t, issue(t, other, Router, "r", now))
	for name, c := range map[string]struct {
		server *tls.Config
		client *tls.Config
		want   string
	}{
		"a router to its cell":           {cell.Server(Router), router.Client(Cell, "cell-1"), ""},
		"to any cell":                    {cell.Server(Router), router.Client(Cell, ""), ""},
		"to another cell":                {cell.Server(Router), router.Client(Cell, "cell-2"), "answers where"},
		"to what should be an API":       {cell.Server(Router), router.Client(API, ""), "answers where"},
		"a role that may not":            {cell.Server(Router), stager.Client(Cell, "cell-1"), "bad certificate"},
		"a router of another foundation": {cell.Server(Router), stranger.Client(Cell, "cell-1"), "signed by unknown authority"},
		"nobody":                         {cell.Server(Router), &tls.Config{InsecureSkipVerify: true}, "certificate required"},
		"TLS 1.2":                        {cell.Server(Router), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, "protocol version"},
	} {
		err := shake(t, c.server, c.client)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestCAIsKept: what it signed before stays valid, and a half of one is not
// replaced.
func TestCAIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	now := time.Now()
	first, err := OpenCA(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	a := load(t, issue(t, first, API, "a", now))
	second, err := OpenCA(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	b := load(t, issue(t, second, API, "b", now))
	if err := shake(t, a.Server(API), b.Client(API, "a")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "ca-key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the CA's key: %v %v", info.Mode(), err)
	}
	if err := os.Remove(filepath.Join(dir, "ca-key.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCA(dir, now); err == nil {
		t.Error("a CA without its key was replaced")
	}
}

// TestRenewed: a file that is renewed is used without a restart; one that is
// broken or of somebody else is not.
func TestRenewed(t *testing.T) {
	ca := openCA(t)
	now := time.Now()
	file := issue(t, ca, Cell, "c", now)
	i := load(t, file)
	before := i.current()
	later := now.Add(time.Minute)
	write := func(text []byte, at time.Time) {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	text, err := ca.Issue(Cell, "c", now, Life)
	if err != nil {
		t.Fatal(err)
	}
	write(text, later)
	renewed := i.current()
	if renewed == before {
		t.Error("the renewed file is not used")
	}
	other, err := ca.Issue(Router, "c", now, Life)
	if err != nil {
		t.Fatal(err)
	}
	for n, text := range [][]byte{[]byte("half"), other} {
		write(text, later.Add(time.Duration(n+1)*time.Minute))
		if i.current() != renewed || i.Peer != (Peer{Cell, "c"}) {
			t.Errorf("%d: a file that is not usable is used", n)
		}
	}
}

func TestRefused(t *testing.T) {
	ca := openCA(t)
	now := time.Now()
	for _, name := range []string{"", "A", "a_b", "-a", "a.b", strings.Repeat("a", 64)} {
		if _, err := ca.Issue(Cell, name, now, Life); err == nil {
			t.Errorf("name %q was taken", name)
		}
	}
	if _, err := ca.Issue(Cell, "a", now, 2*caLife); err == nil {
		t.Error("an identity outlives its CA")
	}
	file := issue(t, ca, Cell, "a", now.Add(-2*Life))
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an identity that has ended: %v", err)
	}
	file = issue(t, ca, Cell, "a", now)
	os.Chmod(file, 0o644)
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that all may read: %v", err)
	}
}
