package cell

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dewpaas/dew/cf"
)

// findings are what real checks find: an answer, none, a wrong one, a refusal.
func findings(t *testing.T) map[byte]string {
	t.Helper()
	dial := func(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
		if err != nil {
			return nil, err
		}
		return c.(*net.TCPConn), nil
	}
	leave := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			io.Copy(io.Discard, r.Body)
			<-leave
		case "/wrong":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(app.Close)
	t.Cleanup(func() { close(leave) })
	at := netip.MustParseAddrPort(app.Listener.Addr().String())
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := netip.MustParseAddrPort(closed.Addr().String())
	closed.Close()
	check := func(kind, path string, patience int, to netip.AddrPort) string {
		return newCheck(cf.HealthCheck{Type: kind, Endpoint: path, InvocationTimeout: patience}).do(t.Context(), dial, to)
	}
	return map[byte]string{'.': check("http", "/", 60, at), 's': check("http", "/silent", 1, at), 'w': check("http", "/wrong", 60, at), 'r': check("port", "", 60, nobody)}
}

// TestSilences: a guest that was healthy ends at the third check in a row that gets no
// answer, and at the first that gets a wrong one or a refusal.
func TestSilences(t *testing.T) {
	found := findings(t)
	for letter, want := range map[byte]string{'.': "", 's': ": timed out", 'w': "received status code 503", 'r': "connection refused"} {
		got := found[letter]
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Fatalf("%c: %q, want %q", letter, got, want)
		}
	}
	const every = 30 * time.Second
	for checks, want := range map[string]int{ // how many checks until the guest must end; -1: it goes on
		"....": -1, "s.s.ss.ss..": -1, "ss.sss": 6, "sss": 3, "w": 1, ".r": 2, "ssw": 3, "s.r": 3, "sssss": 3,
	} {
		w := &watch{health: check{kind: "http", interval: every}}
		now := time.Now()
		ended := slices.IndexFunc([]byte(checks), func(letter byte) bool {
			w.problem = found[letter]
			if w.ill(now) {
				return true
			}
			pause := every
			if letter == 's' {
				pause = silence // whether it was the host is known sooner
			}
			if got := w.nextHealth.Sub(now); got != pause {
				t.Errorf("%s: the next check after %c is due in %v, want %v", checks, letter, got, pause)
			}
			now = w.nextHealth
			return false
		})
		if ended >= 0 {
			ended++
		}
		if ended != want {
			t.Errorf("%s: ends at check %d, want %d", checks, ended, want)
		}
	}
}
