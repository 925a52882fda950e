package logcache

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dewpaas/dew/api/egress"
	"github.com/dewpaas/dew/api/logcache/draintest"
	"github.com/dewpaas/dew/cf"
)

const patience = time.Minute

func loopback() egress.Guard {
	return egress.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

func drainCache(t *testing.T) *Cache {
	c := New(DefaultBounds())
	c.SetGuard(loopback())
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func receive(t *testing.T, from <-chan string) string {
	t.Helper()
	select {
	case m := <-from:
		return m
	case <-time.After(patience):
		t.Fatal("no message")
		return ""
	}
}

func TestDrainOverTCPComesBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got, conns := make(chan string, 100), make(chan net.Conn, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns <- conn
			go draintest.Frames(conn, got)
		}
	}()
	c := drainCache(t)
	d := Drain{app, "org.space.app", "syslog://" + l.Addr().String()}
	c.SetDrains([]Drain{d}, time.Time{})
	say(c, "one\nline")
	want := "<14>1 1970-01-01T00:01:40Z org.space.app " + app + " [APP/PROC/WEB/0] - - one line\n"
	if m := receive(t, got); m != want {
		t.Errorf("got  %q\nwant %q", m, want)
	}
	c.Log(cf.LogLine{AppGUID: app, Time: time.Unix(101, 1000), Source: "RTR", Instance: "0", Err: true, Text: []byte("e")})
	if m := receive(t, got); !strings.HasPrefix(m, "<11>1 1970-01-01T00:01:41.000001Z ") {
		t.Errorf("an error line is %q", m)
	}
	first := <-conns
	c.SetDrains([]Drain{d}, time.Time{}) // the same: nothing is disturbed
	first.Close()
	second := <-conns // it dials again
	defer second.Close()
	say(c, "after")
	for m := ""; !strings.HasSuffix(m, " after\n"); { // what may not have arrived comes again
		if m = receive(t, got); !strings.HasSuffix(m, " after\n") && !strings.HasSuffix(m, " e\n") && !strings.HasSuffix(m, " one line\n") {
			t.Fatalf("got %q", m)
		}
	}
	if recent := strings.Join(read(t, c, ""), "|"); !strings.Contains(recent, "The syslog drain does not work, next try in 1s") {
		t.Errorf("the app is not told: %q", recent)
	}
}

func TestDrainOverTLS(t *testing.T) {
	// httptest has a certificate for 127.0.0.1 at hand.
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: s.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 10)
	go draintest.Accept(l, got)
	c := drainCache(t)
	c.guard.Roots = x509.NewCertPool()
	c.guard.Roots.AddCert(s.Certificate())
	c.SetDrains([]Drain{{app, "h", "syslog-tls://" + l.Addr().String()}}, time.Time{})
	say(c, "secret")
	if m := receive(t, got); !strings.HasSuffix(m, " secret\n") {
		t.Errorf("got %q", m)
	}
}

func TestDrainOverHTTPS(t *testing.T) {
	got := make(chan string, 10)
	s := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil || r.URL.RawQuery != "key=1" {
			text = fmt.Appendf(nil, "%v %s", err, r.URL)
		}
		got <- string(text)
	}))
	defer s.Close()
	c := drainCache(t)
	c.guard.Roots = x509.NewCertPool()
	c.guard.Roots.AddCert(s.Certificate())
	c.SetDrains([]Drain{{app, "h", s.URL + "/in?key=1"}}, time.Time{})
	say(c, "posted")
	if m := receive(t, got); !strings.HasSuffix(m, " posted\n") {
		t.Errorf("got %q", m)
	}
}

// TestSlowDrainBlocksNobody: a drain that does not read loses lines, the app
// loses none, and nobody waits.
func TestSlowDrainBlocksNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := drainCache(t)
	c.SetDrains([]Drain{{app, "h", "syslog://" + l.Addr().String()}}, time.Time{})
	conn, err := l.Accept() // and never reads
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text := strings.Repeat("x", 10_000)
	lines := 0
	for c.Figures().Undelivered == 0 {
		say(c, text)
		lines++
		if lines > 100_000 {
			t.Fatal("a drain that does not read loses nothing")
		}
	}
	say(c, "last")
	if got := read(t, c, "descending=true&limit=1"); got[0] != "last" {
		t.Errorf("the newest line is %.20q", got[0])
	}
	got := make(chan string, lines+10)
	go draintest.Frames(conn, got)
	for m := ""; !strings.Contains(m, "messages were dropped because the drain is slow"); {
		m = receive(t, got)
		say(c, "more")
	}
}

func TestBadDrainsAreSaid(t *testing.T) {
	c := drainCache(t)
	c.SetGuard(egress.Guard{})
	for drain, want := range map[string]string{"udp://h:1": `scheme "udp" is not one of`, "syslog://127.0.0.1:1": "does not connect to this address", "syslog://": "URL cannot be read"} {
		c.SetDrains([]Drain{{app, "h", drain}}, time.Time{})
		deadline := time.After(patience)
		for !strings.Contains(strings.Join(read(t, c, "limit=1000"), "|"), want) {
			select {
			case <-deadline:
				t.Fatalf("%s: nothing is said: %q", drain, read(t, c, ""))
			default:
			}
		}
	}
}

func TestMessageFieldsAreClean(t *testing.T) {
	m := string(message(Drain{App: "a b", Host: "ö\x00 " + strings.Repeat("h", 300)}, line{source: "APP/TASK/my task", text: []byte("t\r\nu")}))
	parts := strings.SplitN(m, " ", 8)
	if len(parts[2]) != 255 || parts[3] != "a-b" || parts[4] != "[APP/TASK/my-task/]" || parts[7] != "t u\n" {
		t.Errorf("got %q", m)
	}
}

// TestADrainThatDoesNotReadCostsLittle: what waits for it is bounded in bytes,
// and forgotten with it.
func TestADrainThatDoesNotReadCostsLittle(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and reads nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := drainCache(t)
	c.SetDrains([]Drain{{app, "h", "syslog://" + l.Addr().String()}}, time.Time{})
	long := strings.Repeat("x", maxLine)
	for range 2 * drainQueue {
		say(c, long)
		if n := c.drains.held.Load(); n > drainBytes+maxLine+lineBytes {
			t.Fatalf("%d bytes wait", n)
		}
	}
	if c.Figures().Undelivered == 0 {
		t.Error("nothing was dropped")
	}
	c.SetDrains(nil, time.Time{})
	if n := c.drains.held.Load(); n != 0 {
		t.Errorf("%d bytes are held for a drain that is gone", n)
	}
}

// TestDrainThatRestarts: its far end goes away in the middle, comes back at the
// same address, and has every line.
func TestDrainThatRestarts(t *testing.T) {
	got := make(chan string, 10_000)
	var address string
	serve := func() (stop func()) {
		l, err := net.Listen("tcp", cmp.Or(address, "127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		address = l.Addr().String()
		var open sync.WaitGroup
		var mu sync.Mutex
		var conns []net.Conn
		open.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				mu.Lock()
				conns = append(conns, conn)
				mu.Unlock()
				open.Go(func() { draintest.Frames(conn, got) })
			}
		})
		return func() {
			l.Close()
			mu.Lock()
			for _, c := range conns {
				c.Close()
			}
			mu.Unlock()
			open.Wait()
		}
	}
	stop := serve()
	c := drainCache(t)
	c.SetDrains([]Drain{{app, "h", "syslog://" + address}}, time.Time{})
	seen := map[string]bool{}
	collect := func(n int) {
		t.Helper()
		for len(seen) < n {
			m := receive(t, got)
			seen[strings.TrimSpace(m[strings.LastIndex(m, "n="):])] = true
		}
	}
	const n = 3000
	for i := range n {
		if i == 1000 {
			collect(500)
			stop()
		}
		if i == 2500 {
			stop = serve()
		}
		say(c, fmt.Sprint("n=", i))
	}
	defer func() { stop() }()
	collect(n)
	if f := c.Figures(); f.Undelivered != 0 {
		t.Errorf("%d lines were dropped", f.Undelivered)
	}
}

// TestDrainBeginsWithKeptLines: who takes over sends what the one before may not
// have sent.
func TestDrainBeginsWithKeptLines(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 100)
	go func() {
		if conn, err := l.Accept(); err == nil {
			draintest.Frames(conn, got)
		}
	}()
	c := drainCache(t)
	for i := range 10 {
		c.Log(cf.LogLine{AppGUID: app, Time: time.Unix(100+int64(i), 0), Source: "APP", Text: fmt.Append(nil, "n=", i)})
	}
	c.SetDrains([]Drain{{app, "h", "syslog://" + l.Addr().String()}}, time.Unix(107, 0))
	say(c, "next")
	for _, want := range []string{"n=7", "n=8", "n=9", "next"} {
		if m := receive(t, got); !strings.HasSuffix(m, want+"\n") {
			t.Errorf("got %q, want %s", m, want)
		}
	}
}

func TestQueueKeepsWhatMayNotHaveArrived(t *testing.T) {
	q, now := newQueue(), time.Unix(100, 0)
	texts := func(list []line) (s string) {
		for _, l := range list {
			s += string(l.text)
		}
		return s
	}
	for _, s := range "abcdef" {
		q.put(line{text: []byte(string(s))})
	}
	q.note(q.take(2), now)
	q.note(q.take(1), now.Add(sentFor))
	last := q.take(1)
	if got := texts(last); got != "d" {
		t.Fatalf("%q", got)
	}
	q.putBack(append(q.unsure(now.Add(sentFor+1)), last...))
	if got := texts(q.take(99)); got != "cdef" { // a and b were sent long ago
		t.Errorf("%q", got)
	}
	if q.take(1) != nil || q.unsure(now) != nil {
		t.Error("lines out of nothing")
	}
	long := line{text: make([]byte, sentBytes/4)}
	for range 100 {
		q.note([]line{long}, now)
	}
	if n := len(q.unsure(now)); n > 4 {
		t.Errorf("%d long lines are kept for a moment", n)
	}
}
