package passage

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dewpaas/dew/cmd/dew/identity"
)

// patience bounds every wait; a passing run never needs it.
const patience = 2 * time.Minute

// land is a cell with one instance, i-1, whose port 80 is somewhere.
type land struct {
	*testing.T
	cell, router *identity.Identity
	gate         *Gate
	end          func()
	at           string
	app          net.Listener
	drained      func(context.Context, string) error
}

func newLand(t *testing.T) *land {
	t.Helper()
	now := time.Now()
	ca, err := identity.OpenCA(t.TempDir(), now)
	if err != nil {
		t.Fatal(err)
	}
	l := &land{T: t, drained: func(context.Context, string) error { return nil }}
	for role, i := range map[string]**identity.Identity{identity.Cell: &l.cell, identity.Router: &l.router} {
		text, err := ca.Issue(role, role+"-1", now, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "id")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if *i, err = identity.Load(file); err != nil {
			t.Fatal(err)
		}
	}
	if l.app, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.app.Close() })
	l.open("127.0.0.1:0")
	return l
}

// open opens the gate, and leaves how to close it in end.
func (l *land) open(at string) {
	l.Helper()
	listener, err := net.Listen("tcp", at)
	if err != nil {
		l.Fatal(err)
	}
	l.at = listener.Addr().String()
	l.gate = NewGate(GateConfig{TLS: l.cell.Server(identity.Router), Log: slog.New(slog.DiscardHandler),
		Router: func(s tls.ConnectionState) (string, error) {
			p, err := l.cell.Of(s)
			return p.Name, err
		},
		Dial: func(ctx context.Context, instance string, port uint16) (net.Conn, error) {
			if instance != "i-1" || port != 80 {
				return nil, fmt.Errorf("no instance %s with port %d", instance, port)
			}
			return new(net.Dialer).DialContext(ctx, "tcp", l.app.Addr().String())
		}})
	gate := l.gate
	go gate.Serve(listener)
	l.end = func() {
		listener.Close()
		gate.Close()
	}
	l.Cleanup(l.end)
}

func (l *land) dialer() *Dialer {
	d := NewDialer(DialerConfig{TLS: func(cell string) *tls.Config { return l.router.Client(identity.Cell, cell) }, Log: slog.New(slog.DiscardHandler),
		Drained: func(ctx context.Context, instance string) error { return l.drained(ctx, instance) }})
	l.Cleanup(func() { d.Close() })
	return d
}

func (l *land) dial(d *Dialer, cell, instance string, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(l.Context(), patience)
	defer cancel()
	c, err := d.Dial(ctx, l.at, cell, instance, port)
	if err == nil {
		l.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
	}
	return c, err
}

// TestBytes pass both ways, and each direction ends by itself.
func TestBytes(t *testing.T) {
	l := newLand(t)
	go func() {
		c, err := l.app.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		all, _ := io.ReadAll(c) // to the end of the client's side
		fmt.Fprintf(c, "%d bytes", len(all))
	}()
	c, err := l.dial(l.dialer(), "cell-1", "i-1", 80)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := c.(*tls.Conn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(c); err != nil || string(all) != "1048576 bytes" {
		t.Errorf("%q %v", all, err)
	}
}

// TestBroken: an app that breaks off is not mistaken for one that is done.
func TestBroken(t *testing.T) {
	l := newLand(t)
	begun := make(chan struct{})
	go func() {
		c, err := l.app.Accept()
		if err != nil {
			return
		}
		io.WriteString(c, "half")
		<-begun
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}()
	c, err := l.dial(l.dialer(), "cell-1", "i-1", 80)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	close(begun)
	if n, err := io.Copy(io.Discard, c); err == nil {
		t.Errorf("an orderly end after %d more bytes", n)
	}
}

func TestRefusals(t *testing.T) {
	l := newLand(t)
	d := l.dialer()
	for name, c := range map[string]struct {
		cell, instance string
		port           uint16
		want           string
	}{
		"an instance that is not here": {"cell-1", "i-2", 80, "no instance i-2"},
		"a port that is not served":    {"cell-1", "i-1", 81, "port 81"},
		"another cell":                 {"cell-2", "i-1", 80, "answers where"},
		"no GUID":                      {"cell-1", "../x", 80, "no question"},
	} {
		conn, err := l.dial(d, c.cell, c.instance, c.port)
		if err == nil {
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	// A router that holds no session is one that could not be asked to stop.
	raw, err := tls.Dial("tcp", l.at, l.router.Client(identity.Cell, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	d.Close()
	l.until("the session ended", func() bool { return !l.gate.known("router-1") })
	io.WriteString(raw, ask{"i-1", 80}.String())
	if line, err := readLine(raw); err != nil || line != "- there is no session" {
		t.Errorf("%q %v", line, err)
	}
}

func (l *land) until(what string, ok func() bool) {
	l.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			l.Fatal("not in time: " + what)
		}
	}
}

// TestDrain waits for every router, but for none that is gone.
func TestDrain(t *testing.T) {
	l := newLand(t)
	asked, release := make(chan string, 1), make(chan struct{})
	l.drained = func(_ context.Context, instance string) error {
		asked <- instance
		<-release
		return nil
	}
	l.accept()
	if _, err := l.dial(l.dialer(), "cell-1", "i-1", 80); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.gate.Drain(t.Context(), "i-1") }()
	if got := <-asked; got != "i-1" {
		t.Errorf("asked to drain %s", got)
	}
	select {
	case err := <-done:
		t.Errorf("drained while a request is under way: %v", err)
	default:
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}

	// A router that never answers holds nobody up for longer than the context.
	l.drained = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := l.gate.Drain(short, "i-1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a router that does not answer: %v", err)
	}
}

// accept takes connections to the app and leaves them open.
func (l *land) accept() {
	go func() {
		for {
			c, err := l.app.Accept()
			if err != nil {
				return
			}
			l.Cleanup(func() { c.Close() })
		}
	}()
}

// TestRouterGoes: one that dies while it is asked is not waited for.
func TestRouterGoes(t *testing.T) {
	l := newLand(t)
	l.accept()
	asked := make(chan struct{})
	l.drained = func(ctx context.Context, _ string) error { close(asked); <-ctx.Done(); return ctx.Err() }
	d := l.dialer()
	if _, err := l.dial(d, "cell-1", "i-1", 80); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.gate.Drain(t.Context(), "i-1") }()
	<-asked
	d.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestGateComesBack: a cell that starts again has its session again, and is asked
// to stop sending over it.
func TestGateComesBack(t *testing.T) {
	l := newLand(t)
	l.accept()
	asked := make(chan string, 1)
	l.drained = func(_ context.Context, instance string) error { asked <- instance; return nil }
	d := l.dialer()
	if _, err := l.dial(d, "cell-1", "i-1", 80); err != nil {
		t.Fatal(err)
	}
	l.end()
	l.until("the dialer notices", func() bool { _, err := l.dial(d, "cell-1", "i-1", 80); return err != nil })
	l.open(l.at)
	l.until("there is a way again", func() bool { _, err := l.dial(d, "cell-1", "i-1", 80); return err == nil })
	if err := l.gate.Drain(t.Context(), "i-1"); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != "i-1" {
		t.Errorf("asked to drain %s", got)
	}
}

// FuzzAsk: what is understood means one thing.
func FuzzAsk(f *testing.F) {
	for _, s := range []string{"dew/1 session", "dew/1 instance 0f3c-1 8080", "dew/1 instance a 0", "dew/1 instance a 08", "dew/2 session", "", "GET / HTTP/1.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		a, err := parseAsk(line)
		if err == nil && a.String() != line+"\n" {
			t.Errorf("%q was read as %q", line, a)
		}
	})
}
